//! What wakes the loop at its next deadline.

use std::{io, os::fd::AsRawFd};

use mio::{Interest, Registry, unix::SourceFd};

use super::{connection::NEVER, table::Target, turn::Clock};
use crate::sys::alarm::Alarm;

/// Not a timeout of each wait: that costs 3 % of a request's CPU time where few requests come at once (raw_epoll.c of
/// `scripts/bench` with a timeout of a minute and without one, in turn every 20 ms). Here most deadlines only move
/// later, and the alarm is left as it is. So it may ring for nothing, but only once: whoever is idle has no deadline,
/// and is woken by nothing.
pub(super) struct NextDeadline {
    alarm: Alarm,
    /// When it rings; `NEVER` if it is off.
    at: u64,
}

impl NextDeadline {
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        let alarm = Alarm::new()?;
        registry.register(&mut SourceFd(&alarm.as_raw_fd()), Target::Alarm.token(), Interest::READABLE)?;
        Ok(Self { alarm, at: NEVER })
    }

    /// Rings at `when`, or before that.
    #[inline]
    pub(super) fn is(&mut self, when: u64, clock: &Clock) -> io::Result<()> {
        if when >= self.at {
            return Ok(());
        }
        self.at = when;
        self.alarm.set(clock.until(when))
    }

    /// Whether there may be something that is due; also if it is off, as nobody has said then that there is not.
    pub(super) fn is_due(&self, now: u64) -> bool {
        now >= self.at || self.at == NEVER
    }

    pub(super) fn has_rung(&mut self) {
        self.at = NEVER;
    }
}
