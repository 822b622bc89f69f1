//! What the master has said of this worker's leaving, and how long it is waited for.
//!
//! A service manager that stops a cluster sends SIGTERM to all of its processes, and a worker may hear of it before the
//! master does. Then it does not know yet what becomes of the sockets that it accepts on: whether everybody leaves, so
//! that newcomers are to be refused, or whether the signal was meant for it alone, and the sockets are its
//! replacement's. So a worker that was asked by a signal goes on as before, for a moment, until the master has spoken.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use crate::wire::Leave;

pub(super) struct Word {
    /// `SILENT`, `HAND_OVER` or `SHUT`; only rises.
    given: AtomicU8,
    /// The worker's sockets are its own affair: nobody else has them.
    keeps_own: bool,
    /// When it was first missed.
    since: OnceLock<Instant>,
}

impl Word {
    pub(super) fn new(keeps_own: bool) -> Self {
        Self { given: AtomicU8::new(SILENT), keeps_own, since: OnceLock::new() }
    }

    /// By the master; or there is none.
    pub(super) fn give(&self, leave: Leave) {
        let given = match leave {
            Leave::HandOver => HAND_OVER,
            Leave::Shut => SHUT,
        };
        self.given.fetch_max(given, Ordering::Relaxed);
    }

    /// Of a worker that is to leave: how much longer it goes on as before. `None`: no longer.
    pub(super) fn awaited(&self) -> Option<Duration> {
        if self.given.load(Ordering::Relaxed) != SILENT {
            return None;
        }
        let since = self.since.get_or_init(Instant::now);
        LONGEST.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
    }

    /// The worker shuts those of its sockets that it does not share with its siblings.
    pub(super) fn shuts(&self) -> bool {
        self.keeps_own || self.given.load(Ordering::Relaxed) == SHUT
    }
}

const SILENT: u8 = 0;
const HAND_OVER: u8 = 1;
const SHUT: u8 = 2;

/// The master has the same signal and needs one turn, but a machine that is overloaded may let it wait for some tenths
/// of a second. A worker whose SIGTERM was meant for it alone goes on for that much longer.
const LONGEST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_for_good_is_not_taken_back() {
        let word = Word::new(false);
        assert!(word.awaited().is_some() && !word.shuts());
        for (leave, shuts) in [(Leave::HandOver, false), (Leave::Shut, true), (Leave::HandOver, true)] {
            word.give(leave);
            assert_eq!((word.awaited(), word.shuts()), (None, shuts), "{leave:?}");
        }
        assert!(Word::new(true).shuts());
    }
}
