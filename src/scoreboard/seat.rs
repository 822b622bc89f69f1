//! Seats: the master's supply of them, and the page of one process as both sides of the fork use it.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    ADDRESSES, Scoreboard, USER_CELLS,
    closes::Reason,
    now,
    table::{
        ACCEPTED, ADOPTED, BORROWED_LOOKS, BUSY_SINCE, CLOSED, CLOSES, DOOR_ACCEPTED, DOZE, FLAGS, FRAMES, FULL,
        Holder, NO_ROOM, PAUSED, REQUESTS, TURNS, Table, UNTOLD, USER, listens_bit, looks,
    },
    watch::{self, Wake},
};
use crate::{
    event::{Address, Cause, ExitStatus},
    id::{Slot, WorkerId},
    sys::signal::{DRAIN_AWARE, DRAINING, TERM_ASKS},
};

/// All seats, in the master.
pub(crate) struct Seats {
    board: Scoreboard,
    free: Vec<usize>,
    wake: Wake,
}

impl Seats {
    /// `processes`: as many as there can be at one time.
    pub(crate) fn new(slots: usize, processes: usize, addresses: &[Address]) -> io::Result<Self> {
        let board = Scoreboard::new(Table::new(slots, processes, addresses.len().max(ADDRESSES))?, addresses);
        // The lowest first, so that few pages are ever touched.
        Ok(Self { board, free: (0..processes).rev().collect(), wake: watch::wake()? })
    }

    /// A seat with all words 0 for a process that is about to be forked; `None` if all are taken.
    pub(crate) fn take(&mut self, slot: Slot, id: WorkerId) -> Option<Seat> {
        let index = self.free.pop()?;
        self.board.table().seat_down(index, slot, id);
        Some(Seat { table: Arc::clone(self.board.table()), index, slot, wake: Some(Arc::clone(&self.wake)) })
    }

    /// The seat's process is gone, or never was: what it counted goes to its slot.
    pub(crate) fn give_back(&mut self, seat: Seat) {
        self.board.settle(seat.slot, seat.index);
        self.free.push(seat.index);
    }

    /// A process of this slot has ended so.
    pub(crate) fn add_end(&self, slot: Slot, status: ExitStatus, cause: Cause) {
        self.board.add_end(slot, status, cause);
    }

    /// So many clients waited at a door of this slot when it was given up.
    pub(crate) fn add_reset(&self, slot: Slot, clients: u32) {
        self.board.add_reset(slot, clients.into());
    }

    /// How many addresses there can ever be.
    pub(crate) fn room_for_addresses(&self) -> usize {
        self.board.table().addresses()
    }

    /// At the next place.
    pub(crate) fn add_address(&self, address: Address) {
        self.board.add_address(address);
    }

    pub(crate) fn remove_address(&self, place: usize) {
        self.board.remove_address(place);
    }

    pub(crate) fn scoreboard(&self) -> Scoreboard {
        self.board.clone()
    }

    pub(super) fn wake(&self) -> &Wake {
        &self.wake
    }
}

/// One process's page.
pub(crate) struct Seat {
    table: Arc<Table>,
    index: usize,
    slot: Slot,
    /// `None`: nobody watches.
    wake: Option<Wake>,
}

impl Seat {
    /// A seat of its own, in a process without a master.
    pub(crate) fn alone(slot: Slot, id: WorkerId, addresses: usize) -> io::Result<Self> {
        let table = Arc::new(Table::new(slot.index() + 1, 1, addresses)?);
        table.lend();
        table.seat_down(0, slot, id);
        let seat = Self { table, index: 0, slot, wake: None };
        seat.has_pid(std::process::id());
        Ok(seat)
    }

    /// The same page, for the other side of the fork.
    pub(crate) fn share(&self) -> Seat {
        Seat { table: Arc::clone(&self.table), index: self.index, slot: self.slot, wake: self.wake.clone() }
    }

    /// The process is there; said by the master, whose number counts.
    pub(crate) fn has_pid(&self, pid: u32) {
        self.table.pid(self.index).store(pid.into(), Ordering::Release);
    }

    /// In the child, before anything of the program runs: it can write nothing of any scoreboard but its own page and
    /// the doors.
    pub(crate) fn occupy(&self) -> io::Result<()> {
        self.table.guard(self.index)
    }

    /// The word that the worker's SIGTERM handler works on. Leaks a count: the mapping then lives as long as the
    /// process.
    pub(crate) fn flags_for_ever(&self) -> &'static AtomicU64 {
        let table: &'static Arc<Table> = Box::leak(Box::new(Arc::clone(&self.table)));
        &table.seat(self.index)[FLAGS]
    }

    /// The worker looks whether it is to leave, so it can be asked.
    pub(crate) fn hears(&self) {
        if !self.is_aware() {
            self.word(FLAGS).fetch_or(DRAIN_AWARE, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_aware(&self) -> bool {
        self.word(FLAGS).load(Ordering::Relaxed) & DRAIN_AWARE != 0
    }

    pub(crate) fn drain(&self) {
        self.word(FLAGS).fetch_or(DRAINING, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.word(FLAGS).load(Ordering::Relaxed) & DRAINING != 0
    }

    /// Whether the master's next TERM asks, or means now. Said before it is sent.
    pub(crate) fn term_asks(&self, asks: bool) {
        if asks {
            self.word(FLAGS).fetch_or(TERM_ASKS, Ordering::Release);
        } else {
            self.word(FLAGS).fetch_and(!TERM_ASKS, Ordering::Release);
        }
    }

    /// One more frame is about to be sent to the worker; called before the send, or the worker could wake and not look.
    pub(crate) fn add_frame(&self) {
        self.word(FRAMES).fetch_add(1, Ordering::Release);
    }

    /// The frame could not be sent after all.
    pub(crate) fn take_frame_back(&self) {
        self.word(FRAMES).fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn frames_sent(&self) -> u64 {
        self.word(FRAMES).load(Ordering::Relaxed)
    }

    /// A turn of the worker's loop begins; returns when, in the nanoseconds of [`now`].
    pub(crate) fn busy(&self) -> u64 {
        let now = now();
        self.word(BUSY_SINCE).store(now, Ordering::Relaxed);
        self.word(TURNS).fetch_add(1, Ordering::Relaxed);
        if self.word(DOZE).load(Ordering::Relaxed) != 0 {
            self.wake_watch();
        }
        now
    }

    /// The turn is over: the worker is about to wait. What it has done before it waits for the first time counts as one,
    /// too, so that from then on it is known to turn.
    pub(crate) fn idle(&self) {
        self.word(BUSY_SINCE).store(0, Ordering::Relaxed);
        if self.word(TURNS).load(Ordering::Relaxed) == 0 {
            self.word(TURNS).store(1, Ordering::Relaxed);
        }
    }

    /// The worker listens at the address of this number.
    pub(crate) fn listens_at(&self, address: u16) {
        self.listens(address).fetch_or(listens_bit(address.into()), Ordering::Relaxed);
    }

    /// It does no more.
    pub(crate) fn leaves(&self, address: u16) {
        self.listens(address).fetch_and(!listens_bit(address.into()), Ordering::Relaxed);
    }

    /// One more connection, counted for the worker and for the door.
    pub(crate) fn accepted_at(&self, address: u16) {
        self.door(address)[DOOR_ACCEPTED].fetch_add(1, Ordering::Relaxed);
        self.accepted();
    }

    /// As `accepted_at`, at the door of another slot. Panics like a slice if there is no such slot.
    pub(crate) fn adopted_at(&self, slot: Slot, address: u16) {
        self.table.door(slot, address.into())[DOOR_ACCEPTED].fetch_add(1, Ordering::Relaxed);
        self.word(ADOPTED).fetch_add(1, Ordering::Relaxed);
        self.accepted();
    }

    /// There is a door of this slot.
    pub(crate) fn knows(&self, slot: Slot) -> bool {
        self.table.has_slot(slot)
    }

    /// The worker has looked into the queue of its own door there: somebody was accepted, or nobody waited. One of
    /// several threads that look at once may count for all.
    pub(crate) fn looked(&self, address: u16) {
        let looks = self.word(looks(address.into()));
        looks.store(looks.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The program accepts there by itself from now on.
    pub(crate) fn looks_untold(&self, address: u16) {
        self.word(looks(address.into())).store(UNTOLD, Ordering::Relaxed);
    }

    /// As `looked`, into the queues of all other slots' doors that were lent to it.
    pub(crate) fn swept(&self) {
        let looks = self.word(BORROWED_LOOKS);
        looks.store(looks.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn accepted(&self) {
        self.word(ACCEPTED).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.word(CLOSED).fetch_add(1, Ordering::Relaxed);
    }

    /// So many connections more have ended for this reason; they are counted as closed, too.
    pub(crate) fn closed_because(&self, reason: Reason, count: u64) {
        self.word(CLOSES + reason as usize).fetch_add(count, Ordering::Relaxed);
        self.word(CLOSED).fetch_add(count, Ordering::Relaxed);
    }

    /// Whether the worker has as many connections as it may, and so accepts nobody.
    pub(crate) fn set_full(&self, full: bool) {
        self.set_no_room(FULL, full);
    }

    /// Whether it accepts nobody for want of descriptors or memory.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.set_no_room(PAUSED, paused);
    }

    fn set_no_room(&self, why: u64, on: bool) {
        let word = self.word(NO_ROOM);
        let is_on = word.load(Ordering::Relaxed) & why != 0;
        if on && !is_on {
            word.fetch_or(why, Ordering::Relaxed);
        } else if is_on && !on {
            word.fetch_and(!why, Ordering::Relaxed);
        }
    }

    pub(super) fn requests(&self, count: u64) {
        self.word(REQUESTS).fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn user(&self) -> &[AtomicU64] {
        &self.table.seat(self.index)[USER..][..USER_CELLS]
    }

    pub(super) fn holder(&self) -> Option<Holder> {
        self.table.read(self.index).map(|(holder, _)| holder)
    }

    pub(super) fn wake(&self) -> Option<&Wake> {
        self.wake.as_ref()
    }

    fn listens(&self, address: u16) -> &AtomicU64 {
        self.table.listens(self.index, address.into())
    }

    fn door(&self, address: u16) -> &[AtomicU64] {
        self.table.door(self.slot, address.into())
    }

    pub(super) fn word(&self, word: usize) -> &AtomicU64 {
        &self.table.seat(self.index)[word]
    }
}

/// Whose it is, for the log.
impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holder() {
            Some(holder) => write!(f, "worker {} (slot {})", holder.id, holder.slot),
            None => f.write_str("a worker"),
        }
    }
}
