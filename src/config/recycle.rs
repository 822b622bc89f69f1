//! When a worker has served for long enough.

use std::time::Duration;

use super::FOR_EVER;

/// After how much service a worker is replaced, though nothing is wrong with it: against leaks of memory, and whatever
/// else grows in a process that runs for long.
///
/// It is replaced as by a rolling restart, so nobody is turned away: its successor starts first and takes over when it
/// has been ready for the [`settle`](crate::Rollout::settle) time of [`Cluster::rollout`](crate::Cluster::rollout);
/// then it finishes and ends, with [`Cause::Recycled`](crate::Cause::Recycled). With a plan of
/// [`surge`](crate::Rollout::surge) 0 it leaves first. One worker is replaced at a time, the oldest first, and a
/// rollout goes before. If the successor fails, the old worker serves on, and the next attempt is made after the delay
/// of [`Cluster::backoff`](crate::Cluster::backoff).
///
/// ```no_run
/// use std::time::Duration;
/// use mio_cluster::{Cluster, Recycle};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// // Whatever comes first.
/// let recycle = Recycle::new().connections(100_000).memory(512 << 20).age(Duration::from_secs(24 * 3600));
/// Cluster::new().listen("127.0.0.1:8000").recycle(recycle).run(|mut worker| worker.listen().map(drop))
/// # }
/// ```
///
/// **Errors**: limits that no worker could live with, and a jitter that is no share, are reported by
/// [`Cluster::run`](crate::Cluster::run) and `start`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recycle {
    pub(crate) connections: Option<u64>,
    pub(crate) requests: Option<u64>,
    pub(crate) age: Option<Duration>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) jitter: f64,
}

impl Recycle {
    /// No limit at all.
    pub fn new() -> Self {
        Self { connections: None, requests: None, age: None, memory: None, jitter: JITTER }
    }

    /// After so many connections that it has accepted.
    pub fn connections(mut self, most: u64) -> Self {
        self.connections = Some(most);
        self
    }

    /// After so many requests that it has counted by [`Row::requests`](crate::Row::requests).
    #[doc(alias = "max_requests")]
    pub fn requests(mut self, most: u64) -> Self {
        self.requests = Some(most);
        self
    }

    /// After this time since its fork.
    pub fn age(mut self, most: Duration) -> Self {
        self.age = Some(most.min(FOR_EVER));
        self
    }

    /// When so many bytes of its memory are resident, what it shares with the master and its siblings included. The
    /// master looks every 10 s, as long as the cluster has anything to do.
    #[doc(alias = "max_memory_restart")]
    pub fn memory(mut self, most: u64) -> Self {
        self.memory = Some(most);
        self
    }

    /// By up to which share connections, requests and age of a worker stay below their limits, drawn anew for each, so
    /// that workers that started together do not leave together; default 0.2, from 80 to 100 % of the limit.
    #[doc(alias = "max_requests_jitter")]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Everything that is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let counts = [("connections", self.connections), ("requests", self.requests)];
        let mut problems: Vec<String> = counts
            .into_iter()
            .filter_map(|(name, most)| Some((name, most.filter(|most| *most < LEAST_COUNT)?)))
            .map(|(name, most)| {
                format!("recycle: {name}({most}) would fork a worker for each one, give {LEAST_COUNT} or more")
            })
            .collect();
        if let Some(age) = self.age.filter(|age| *age < LEAST_AGE) {
            problems.push(format!("recycle: age({age:?}) leaves no time to serve, give {LEAST_AGE:?} or more"));
        }
        if let Some(memory) = self.memory.filter(|memory| *memory < LEAST_MEMORY) {
            problems.push(format!("recycle: memory({memory}) holds no worker, give {LEAST_MEMORY} bytes or more"));
        }
        let jitter = self.jitter;
        if !(0.0..=1.0).contains(&jitter) {
            problems.push(format!("recycle: jitter({jitter}) is no share, give 0.0 to 1.0"));
        }
        problems
    }
}

impl Default for Recycle {
    fn default() -> Self {
        Self::new()
    }
}

/// Of back-offs, too.
const JITTER: f64 = 0.2;

/// With 1 no worker would ever serve a second one.
const LEAST_COUNT: u64 = 2;

/// Most workers take longer to start.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// A process with nothing but its code and stacks needs as much.
const LEAST_MEMORY: u64 = 1 << 20;
