//! What the master's watch sees of a worker, and what wakes it.
//!
//! While nothing happens the watch sleeps, so that an idle cluster causes no wake-up. Before, it sets a word in each
//! seat, which the worker reads when a turn of its loop begins: one load. A worker that finds it set clears it and
//! writes to an eventfd that all of them have from birth: one system call when a quiet cluster becomes busy. The word
//! is the worker's own, so a broken one leaves itself unseen and nobody else.
//!
//! Race: a worker that has just found the word clear begins its turn unheard. Its seat said so before it read the word,
//! so the watch, after it has set the word, looks once more before it sleeps, and some milliseconds later, for the two
//! sides order nothing.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::{Arc, atomic::Ordering},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{
    Seat, Seats,
    table::{
        ACCEPTED, BORROWED_LOOKS, BUSY_SINCE, CLOSED, DOZE, FULL, NO_ROOM, PAUSED, REQUESTS, TURNS, UNTOLD, looks,
    },
};
use crate::sys::owned::Owned;

/// The eventfd.
pub(super) type Wake = Arc<Owned<EventFd>>;

/// What a worker says of itself at one look. It is not trusted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Pulse {
    /// 0: it never tells.
    pub(crate) turns: u64,
    /// In the nanoseconds of [`now`](super::now); 0 while it waits.
    pub(crate) busy_since: u64,
    /// Connections.
    pub(crate) open: u64,
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
    /// Changes with each look into the queues of the doors that were lent to it.
    pub(crate) borrowed_looks: u64,
    /// It has as many connections as it may.
    pub(crate) full: bool,
    /// It has no descriptor or no memory for one more.
    pub(crate) paused: bool,
}

pub(super) fn wake() -> io::Result<Wake> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    Ok(Arc::new(Owned::make(|| EventFd::from_value_and_flags(0, flags), AsFd::as_fd)?))
}

impl Seats {
    /// Readable once a worker has begun a turn while the watch dozed, until it is read.
    pub(crate) fn watch(&self) -> &Owned<EventFd> {
        self.wake()
    }
}

impl Seat {
    /// For the master: from now on the worker wakes the watch, once, or no longer.
    pub(crate) fn doze(&self, doze: bool) {
        self.word(DOZE).store(doze.into(), Ordering::Relaxed);
    }

    pub(crate) fn pulse(&self) -> Pulse {
        let load = |word| self.word(word).load(Ordering::Relaxed);
        Pulse {
            turns: load(TURNS),
            busy_since: load(BUSY_SINCE),
            open: load(ACCEPTED).saturating_sub(load(CLOSED)),
            accepted: load(ACCEPTED),
            requests: load(REQUESTS),
            borrowed_looks: load(BORROWED_LOOKS),
            full: load(NO_ROOM) & FULL != 0,
            paused: load(NO_ROOM) & PAUSED != 0,
        }
    }

    /// Grows with each look of the worker into the queue of its own door there. `None`: nobody can say, as its program
    /// accepts by itself.
    pub(crate) fn looks(&self, address: usize) -> Option<u64> {
        Some(self.word(looks(address)).load(Ordering::Relaxed)).filter(|looks| *looks != UNTOLD)
    }

    /// What the worker needs open of its parent's.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.wake().map(|wake| wake.as_raw_fd())
    }

    /// A turn has begun and the word was set.
    #[cold]
    pub(super) fn wake_watch(&self) {
        // A process that the worker has forked writes to the same seat, but has closed the eventfd.
        let Some(wake) = self.wake().filter(|wake| wake.is_ours()) else { return };
        // The worker's threads may come here together.
        if self.word(DOZE).swap(0, Ordering::Relaxed) != 0 {
            // It can only be full, and then it is readable.
            let _ = wake.write(1);
        }
    }
}
