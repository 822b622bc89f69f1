//! Whether this worker drains by the master's word, or by its own.
//!
//! A service manager that stops a cluster sends SIGTERM to all of its processes, and a worker may drain before the
//! master has refused newcomers at the sockets that all workers share. If all workers left those at once, whoever
//! connects in between would be reset. So one that drains by a signal alone stays there for a moment.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub(super) struct Word {
    is_given: AtomicBool,
    /// When it was first missed.
    since: OnceLock<Instant>,
}

impl Word {
    pub(super) fn new(is_given: bool) -> Self {
        Self { is_given: AtomicBool::new(is_given), since: OnceLock::new() }
    }

    /// Nobody else stops, or newcomers are refused by now.
    pub(super) fn give(&self) {
        self.is_given.store(true, Ordering::Relaxed);
    }

    /// Of a worker that drains: how much longer the master may stop, too. `None`: no longer.
    pub(super) fn awaited(&self) -> Option<Duration> {
        if self.is_given.load(Ordering::Relaxed) {
            return None;
        }
        let since = self.since.get_or_init(Instant::now);
        LONGEST.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
    }
}

/// The master has the same signal, and needs one turn. A worker whose SIGTERM was meant for it alone is this much later.
const LONGEST: Duration = Duration::from_millis(50);
