//! The schedule of an open loop: requests are due at fixed times, whatever the server does.

use std::time::{Duration, Instant};

/// Those of one worker, of several that share the schedule in turn. What is due and not sent needs no queue: it is the
/// next that [`take`](Self::take) gives out.
pub(crate) struct Arrivals {
    begin: Instant,
    per_second: f64,
    next: u64,
    step: u64,
    end: Option<Instant>,
}

impl Arrivals {
    pub(crate) fn new(begin: Instant, per_second: f64, first: u64, step: u64) -> Self {
        Self { begin, per_second, next: first, step, end: None }
    }

    /// No request is due at this time or later. The first such time counts.
    pub(crate) fn end(&mut self, at: Instant) {
        self.end.get_or_insert(at);
    }

    /// When the next one is due; in the past, if more are due than were taken.
    pub(crate) fn next(&self) -> Option<Instant> {
        let due = self.time(self.next);
        self.end.is_none_or(|end| due < end).then_some(due)
    }

    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now)?;
        self.next += self.step;
        Some(due)
    }

    /// From the beginning, so that no error adds up.
    fn time(&self, number: u64) -> Instant {
        self.begin + Duration::from_secs_f64(number as f64 / self.per_second)
    }
}
