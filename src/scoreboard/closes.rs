//! Why connections have ended.

/// How many connections have ended for which reason, in workers that [serve](crate::Worker::serve); part of
/// [`WorkerStats`](crate::WorkerStats) and [`Totals`](crate::Totals).
///
/// What a program counts itself, by [`Row::closed`](crate::Row::closed), has no reason here.
///
/// ```
/// use mio_cluster::Totals;
///
/// /// The share of connections that did not end well.
/// fn trouble(totals: &Totals) -> f64 {
///     let closes = totals.closes;
///     let trouble = closes.reset + closes.timed_out + closes.over_limit + closes.failed + closes.shed;
///     trouble as f64 / totals.closed.max(1) as f64
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Closes {
    /// The service closed it.
    pub by_service: u64,
    /// The peer closed its half first.
    pub by_peer: u64,
    /// The peer reset it.
    pub reset: u64,
    /// A deadline passed, whichever.
    pub timed_out: u64,
    /// More input than is allowed was left unconsumed, or more output waited to be sent.
    pub over_limit: u64,
    /// It was idle while its worker drained.
    pub drained: u64,
    /// The system failed, or a job panicked.
    pub failed: u64,
    /// It was accepted only to be closed, as the worker had no descriptor for it.
    pub shed: u64,
}

/// The same, for who counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    ByService,
    ByPeer,
    Reset,
    TimedOut,
    OverLimit,
    Drained,
    Failed,
    Shed,
}

impl Closes {
    /// `words`: in the order of [`Reason`], as they are in a seat.
    pub(super) fn from_words(words: [u64; REASONS]) -> Self {
        let [by_service, by_peer, reset, timed_out, over_limit, drained, failed, shed] = words;
        Self { by_service, by_peer, reset, timed_out, over_limit, drained, failed, shed }
    }

    fn to_words(self) -> [u64; REASONS] {
        let Self { by_service, by_peer, reset, timed_out, over_limit, drained, failed, shed } = self;
        [by_service, by_peer, reset, timed_out, over_limit, drained, failed, shed]
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let (here, there) = (self.to_words(), other.to_words());
        Self::from_words(std::array::from_fn(|reason| here[reason].saturating_add(there[reason])))
    }
}

/// One word of a seat each.
pub(super) const REASONS: usize = Reason::Shed as usize + 1;
