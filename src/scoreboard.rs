//! The scoreboard: one page of shared memory per live worker process, its seat.
//!
//! Atomics only, made before the first fork. A seat belongs to a process, not to a slot: it is taken and
//! cleared before the fork and given back after the reap, so a new process never finds what an old one left.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::sys::{
    mapping::Mapping,
    signal::{DRAIN_AWARE, DRAINING},
};

/// All seats, in the master.
pub(crate) struct Seats {
    table: Arc<Mapping>,
    free: Vec<usize>,
}

impl Seats {
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        Ok(Self { table: Arc::new(Mapping::new(count)?), free: (0..count).rev().collect() })
    }

    /// A seat with all words 0; `None` if all are taken.
    pub(crate) fn take(&mut self) -> Option<Seat> {
        let index = self.free.pop()?;
        let seat = Seat { table: Arc::clone(&self.table), index };
        seat.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Some(seat)
    }

    /// The seat's process is gone.
    pub(crate) fn give_back(&mut self, seat: Seat) {
        self.free.push(seat.index);
    }
}

/// One process's page.
pub(crate) struct Seat {
    table: Arc<Mapping>,
    index: usize,
}

impl Seat {
    /// The same page, for the other side of the fork.
    pub(crate) fn share(&self) -> Seat {
        Seat { table: Arc::clone(&self.table), index: self.index }
    }

    /// The word that the worker's SIGTERM handler works on. Leaks a count: the mapping then lives as long as the
    /// process.
    pub(crate) fn flags_for_ever(&self) -> &'static AtomicU64 {
        let table: &'static Arc<Mapping> = Box::leak(Box::new(Arc::clone(&self.table)));
        &table.page(self.index)[FLAGS]
    }

    /// The worker looks whether it is to leave, so it can be asked.
    pub(crate) fn hears(&self) {
        if !self.is_aware() {
            self.flags().fetch_or(DRAIN_AWARE, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_aware(&self) -> bool {
        self.flags().load(Ordering::Relaxed) & DRAIN_AWARE != 0
    }

    pub(crate) fn drain(&self) {
        self.flags().fetch_or(DRAINING, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.flags().load(Ordering::Relaxed) & DRAINING != 0
    }

    /// One more frame is about to be sent to the worker; called before the send, or the worker could wake and not look.
    pub(crate) fn add_frame(&self) {
        self.words()[FRAMES].fetch_add(1, Ordering::Release);
    }

    /// The frame could not be sent after all.
    pub(crate) fn take_frame_back(&self) {
        self.words()[FRAMES].fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn frames_sent(&self) -> u64 {
        self.words()[FRAMES].load(Ordering::Relaxed)
    }

    fn flags(&self) -> &AtomicU64 {
        &self.words()[FLAGS]
    }

    fn words(&self) -> &[AtomicU64] {
        self.table.page(self.index)
    }
}

/// The layout of a seat; both sides of the channel say it in their first packet.
pub(crate) const LAYOUT: u16 = 1;
const FLAGS: usize = 0;
/// Frames that the master has sent or is just sending.
const FRAMES: usize = 1;
