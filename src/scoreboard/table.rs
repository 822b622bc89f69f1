//! The layout: which word of the shared memory means what.
//!
//! | pages | hold | written by |
//! |---|---|---|
//! | as many as needed | the roster: per seat who has it | the master |
//! | one per seat | the seat | its worker; the first line also by the master |
//! | as many as needed | the doors: per address and slot a line | the workers |
//!
//! Pages that are never used are never touched, reading included, so they cost address space only.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use super::{
    USER_CELLS,
    closes::{Closes, REASONS},
};
use crate::{
    id::{Slot, WorkerId},
    sys::{
        mapping::{self, Mapping},
        signal::DRAINING,
    },
};

pub(super) struct Table {
    mapping: Mapping,
    /// Page of the first seat, and of the first door.
    seats: usize,
    doors: usize,
    pages: usize,
    slots: usize,
    addresses: usize,
}

/// Who has a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Holder {
    pub(super) slot: Slot,
    pub(super) id: WorkerId,
    pub(super) pid: u32,
}

/// What a seat's process says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) draining: bool,
    pub(super) full: bool,
    pub(super) paused: bool,
    /// 0 while it waits.
    pub(super) busy_since: u64,
    pub(super) turns: u64,
    pub(super) accepted: u64,
    pub(super) adopted: u64,
    pub(super) closed: u64,
    pub(super) closes: Closes,
    pub(super) requests: u64,
    pub(super) user: [u64; USER_CELLS],
}

impl Table {
    /// `processes`: how many of them there can be at one time; in a rollout a slot has two.
    pub(super) fn new(slots: usize, processes: usize, addresses: usize) -> io::Result<Self> {
        let page_words = mapping::page_words()?;
        let seats = (processes * HOLDER_WORDS).div_ceil(page_words);
        let doors = seats + processes;
        let pages = doors + (slots * addresses * DOOR_WORDS).div_ceil(page_words);
        Ok(Self { mapping: Mapping::new(pages)?, seats, doors, pages, slots, addresses })
    }

    pub(super) fn seats(&self) -> usize {
        self.doors - self.seats
    }

    pub(super) fn has_slot(&self, slot: Slot) -> bool {
        slot.index() < self.slots
    }

    /// How many there is room for.
    pub(super) fn addresses(&self) -> usize {
        self.addresses
    }

    pub(super) fn seat(&self, index: usize) -> &[AtomicU64] {
        self.mapping.pages(self.page_of(index))
    }

    /// Panics like a slice if there is no such slot.
    pub(super) fn door(&self, slot: Slot, address: usize) -> &[AtomicU64] {
        // Those of one address together: an address that nobody listens at costs no memory.
        let line = address * self.slots + slot.index();
        &self.mapping.pages(self.doors..self.pages)[line * DOOR_WORDS..][..DOOR_WORDS]
    }

    /// Gives the seat to a process that is about to be forked.
    pub(super) fn seat_down(&self, index: usize, slot: Slot, id: WorkerId) {
        let words = self.roster(index);
        words[SLOT].store(slot.index() as u64, Ordering::Relaxed);
        words[ID].store(id.as_u64(), Ordering::Release);
    }

    pub(super) fn pid(&self, index: usize) -> &AtomicU64 {
        &self.roster(index)[PID]
    }

    /// Empties the seat: first for the readers.
    pub(super) fn clear(&self, index: usize) {
        let words = self.roster(index);
        words[ID].store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        words[PID].store(0, Ordering::Relaxed);
        let seat = self.seat(index);
        let used = &seat[..LISTENS + self.addresses.div_ceil(64)];
        used.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// A process of this slot listens there.
    pub(super) fn is_listening(&self, slot: Slot, address: usize) -> bool {
        let listens = |seat: usize| self.listens(seat, address).load(Ordering::Relaxed) & listens_bit(address) != 0;
        (0..self.seats()).any(|seat| self.holder(seat).is_some_and(|holder| holder.slot == slot) && listens(seat))
    }

    /// The word with the bit of this address.
    pub(super) fn listens(&self, seat: usize, address: usize) -> &AtomicU64 {
        &self.seat(seat)[LISTENS + address / 64]
    }

    /// `None`: nobody sits there, or somebody who is just coming or going.
    pub(super) fn read(&self, index: usize) -> Option<(Holder, Counts)> {
        let holder = self.holder(index)?;
        let counts = self.counts(index);
        // As in a seqlock: if the seat was cleared meanwhile, its holder is another one now.
        fence(Ordering::Acquire);
        (self.holder(index) == Some(holder)).then_some((holder, counts))
    }

    pub(super) fn counts(&self, index: usize) -> Counts {
        let words = self.seat(index);
        let load = |word: usize| words[word].load(Ordering::Relaxed);
        Counts {
            draining: load(FLAGS) & DRAINING != 0,
            full: load(NO_ROOM) & FULL != 0,
            paused: load(NO_ROOM) & PAUSED != 0,
            busy_since: load(BUSY_SINCE),
            turns: load(TURNS),
            accepted: load(ACCEPTED),
            adopted: load(ADOPTED),
            closed: load(CLOSED),
            closes: Closes::from_words(std::array::from_fn(|reason| load(CLOSES + reason))),
            requests: load(REQUESTS),
            user: std::array::from_fn(|cell| load(USER + cell)),
        }
    }

    /// In the child that has this seat: everything else of this process's scoreboards becomes read-only, but for the
    /// doors of this one.
    pub(super) fn guard(&self, index: usize) -> io::Result<()> {
        self.mapping.keep_writable(&[self.page_of(index), self.doors..self.pages])
    }

    /// In a process whose program writes all of it: children may go on doing so.
    pub(super) fn lend(&self) {
        self.mapping.lend();
    }

    /// The loads are relaxed, for these pages are read-only in a worker (see the documentation of `std::sync::atomic`);
    /// the fence makes them acquire.
    fn holder(&self, index: usize) -> Option<Holder> {
        let words = self.roster(index);
        let id = words[ID].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let pid = words[PID].load(Ordering::Relaxed);
        if id == 0 || pid == 0 {
            return None;
        }
        let slot = Slot::from_index(usize::try_from(words[SLOT].load(Ordering::Relaxed)).ok()?);
        Some(Holder { slot, id: WorkerId::from_raw(id), pid: u32::try_from(pid).ok()? })
    }

    fn roster(&self, index: usize) -> &[AtomicU64] {
        &self.mapping.pages(0..self.seats)[index * HOLDER_WORDS..][..HOLDER_WORDS]
    }

    fn page_of(&self, seat: usize) -> Range<usize> {
        self.seats + seat..self.seats + seat + 1
    }
}

/// A row of the roster. One more word is kept for later.
const HOLDER_WORDS: usize = 4;
const SLOT: usize = 0;
/// 0: the seat is free.
const ID: usize = 1;
/// 0: not forked yet.
const PID: usize = 2;

/// A seat. What the master and the worker's requests of it write stands apart by 128 bytes, two cache lines (the
/// prefetcher takes pairs), from what the worker writes every turn, and that from the program's own cells.
pub(super) const FLAGS: usize = 0;
/// Frames that the master has sent or is just sending.
pub(super) const FRAMES: usize = 1;
/// Not 0: the watch dozes, and the worker is to wake it.
pub(super) const DOZE: usize = 2;
pub(super) const BUSY_SINCE: usize = 16;
pub(super) const TURNS: usize = 17;
pub(super) const ACCEPTED: usize = 18;
pub(super) const CLOSED: usize = 19;
pub(super) const REQUESTS: usize = 20;
/// Why the worker accepts nobody: the bits below.
pub(super) const NO_ROOM: usize = 21;
/// Of those in `CLOSED`, by reason.
pub(super) const CLOSES: usize = 22;
/// Looks into the queues of other slots' doors.
pub(super) const BORROWED_LOOKS: usize = 30;
/// Of those in `ACCEPTED`, from such doors.
pub(super) const ADOPTED: usize = 31;
pub(super) const USER: usize = 32;
const _: () = assert!(CLOSES + REASONS <= BORROWED_LOOKS);

/// It has as many connections as it may.
pub(super) const FULL: u64 = 1;
/// It has no descriptor or no memory for one more.
pub(super) const PAUSED: u64 = 2;

/// Looks into the queues of the slot's own doors, a word per address; beyond 64 of them several share one.
const LOOKS: usize = 64;
const LOOKS_WORDS: usize = 64;
/// In place of looks that nobody counts.
pub(super) const UNTOLD: u64 = u64::MAX;
const _: () = assert!(USER + USER_CELLS <= LOOKS);

pub(super) fn looks(address: usize) -> usize {
    LOOKS + address % LOOKS_WORDS
}

/// A bit per address at which the worker listens, from here to the end of the page at most.
const LISTENS: usize = LOOKS + LOOKS_WORDS;

pub(super) fn listens_bit(address: usize) -> u64 {
    1 << (address % 64)
}

/// A door: one cache line. Word 2 is kept for the connections that the kernel was told to put there.
const DOOR_WORDS: usize = 8;
pub(super) const DOOR_ACCEPTED: usize = 0;
