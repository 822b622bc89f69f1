//! How a rolling restart proceeds.

use std::time::Duration;

use super::FOR_EVER;

/// How [`Master::rollout`](crate::Master::rollout), and SIGHUP, replace the workers: one after the other, the successor
/// first.
///
/// By default one successor starts at a time, beside its predecessor. It takes over when it has been ready for a
/// second; then the predecessor drains. So no slot is ever without a worker, and a release that does not start, or dies
/// right after the start, replaces nobody.
///
/// ```no_run
/// use std::time::Duration;
/// use mio_cluster::{Cluster, Rollout};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// // One worker tries the new configuration for half a minute, then the others follow, four at a time.
/// let plan = Rollout::new().canary(1).surge(4).settle(Duration::from_secs(30));
/// Cluster::new().listen("127.0.0.1:8000").workers(16).rollout(plan).run(|mut worker| worker.listen().map(drop))
/// # }
/// ```
///
/// **Errors**: `surge` and `max_unavailable` both 0, or a `canary` above the number of workers, are reported where the
/// plan is used: by [`Cluster::run`](crate::Cluster::run) and `start` for
/// [`Cluster::rollout`](crate::Cluster::rollout), else by [`Master::rollout`](crate::Master::rollout).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rollout {
    pub(crate) surge: usize,
    pub(crate) max_unavailable: usize,
    pub(crate) settle: Duration,
    pub(crate) canary: usize,
}

impl Rollout {
    /// All defaults.
    pub fn new() -> Self {
        Self { surge: 1, max_unavailable: 0, settle: SETTLE, canary: 0 }
    }

    /// How many successors may start at the same time beside their predecessors; default 1. More is faster, and needs
    /// memory for that many workers more. A slot whose worker dies meanwhile counts until the next one has settled.
    pub fn surge(mut self, workers: usize) -> Self {
        self.surge = workers;
        self
    }

    /// How many slots may be without a worker at the same time: their workers leave first, then the next ones start;
    /// default 0. For machines without the memory for one worker more (with a [`surge`](Self::surge) of 0). New
    /// connections go to the others meanwhile; if there are none, clients are refused.
    pub fn max_unavailable(mut self, workers: usize) -> Self {
        self.max_unavailable = workers;
        self
    }

    /// How long a successor has to be ready before it takes over; default 1 s. If it ends before that, the rollout is
    /// aborted. Both serve meanwhile.
    #[doc(alias = "minReadySeconds")]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time.min(FOR_EVER);
        self
    }

    /// The first so many slots have to be replaced, and their workers settled, before any other is touched; default 0.
    pub fn canary(mut self, workers: usize) -> Self {
        self.canary = workers;
        self
    }

    /// As it is meant where there are fewer workers now than at the start.
    pub(crate) fn for_workers(self, workers: usize) -> Self {
        Self { canary: self.canary.min(workers), ..self }
    }

    /// Everything that is wrong with it in a cluster of so many workers.
    pub(crate) fn problems(&self, workers: usize) -> Vec<String> {
        let mut problems = Vec::new();
        if self.surge == 0 && self.max_unavailable == 0 {
            let text = "rollout: surge(0) and max_unavailable(0) together allow no step, give one of them 1 or more";
            problems.push(text.to_owned());
        }
        if self.canary > workers {
            problems.push(format!("rollout: canary({}) is more than the {workers} workers", self.canary));
        }
        problems
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self::new()
    }
}

/// A release that fails right after its start mostly does so with its first request or its first timer.
const SETTLE: Duration = Duration::from_secs(1);
