//! When a worker counts as hung, and what follows.

use std::time::Duration;

use super::FOR_EVER;

/// When a worker that does not come back to its loop is told of, and when it is killed.
///
/// A worker hangs when it is ready and one turn of its loop does not end: it computes for too long, waits for a lock or
/// a disk, is swapped out or was stopped. Nobody but those whom it has accepted waits for it. The master first tells of
/// it, by an event and a line in the log, and later kills it, and another worker takes its place.
///
/// A worker whose loop sleeps while clients wait at its socket hangs as well, unless the loop turns when the master
/// wakes it. So a program may accept nobody for reasons of its own; its loop must watch a listener, or the worker.
///
/// Not hung is who is full, has paused accepting or leaves. Time in which the master itself was stopped, or the machine
/// suspended, counts for nobody. Killed is only who tells when its turns begin and end, as
/// [`Worker::serve`](crate::Worker::serve), [`Worker::poll`](crate::Worker::poll) and [`Row::busy`](crate::Row::busy)
/// do.
///
/// ```no_run
/// use std::time::Duration;
/// use mio_cluster::{Cluster, Hang};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// // Nothing here takes longer than a tenth of a second. Where a worker hangs is in the core that it leaves.
/// let hang = Hang::new().warn(Duration::from_millis(100)).kill(Duration::from_secs(5)).abort(true);
/// Cluster::new().listen("127.0.0.1:8000").hang(hang).run(|mut worker| worker.listen().map(drop))
/// # }
/// ```
///
/// **Errors**: a time of 0, or a warning that would come after the kill, is reported by
/// [`Cluster::run`](crate::Cluster::run) and `start`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hang {
    pub(crate) warn: Duration,
    /// `None`: never.
    pub(crate) kill: Option<Duration>,
    pub(crate) abort: bool,
}

impl Hang {
    /// All defaults.
    pub fn new() -> Self {
        Self { warn: WARN, kill: Some(KILL), abort: false }
    }

    /// After how long the master tells of it; default 1 s.
    pub fn warn(mut self, after: Duration) -> Self {
        self.warn = after.min(FOR_EVER);
        self
    }

    /// After how long it is killed; default 30 s.
    pub fn kill(mut self, after: Duration) -> Self {
        self.kill = Some(after.min(FOR_EVER));
        self
    }

    /// It is told of and not killed: the program decides, by [`Master::kill`](crate::Master::kill), or nobody does.
    pub fn never_kill(mut self) -> Self {
        self.kill = None;
        self
    }

    /// Whether it gets SIGABRT, and SIGKILL only if it lives on for 10 s; default no, SIGKILL at once. The kernel then
    /// writes a core dump, where the system is set up for that (`ulimit -c`, `kernel.core_pattern`). A worker that
    /// catches it is replaced however it ends, unless the cluster never restarts.
    pub fn abort(mut self, first: bool) -> Self {
        self.abort = first;
        self
    }

    /// Everything that is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.warn.is_zero() {
            problems.push("hang: warn(0) would tell of every worker that is busy, give it some time".to_owned());
        }
        let Some(kill) = self.kill else { return problems };
        if kill.is_zero() {
            problems.push("hang: kill(0) would kill every worker that is busy; never_kill() kills none".to_owned());
        } else if self.warn > kill {
            let warn = self.warn;
            problems.push(format!("hang: warn({warn:?}) is later than kill({kill:?}), give it that time or less"));
        }
        problems
    }
}

impl Default for Hang {
    fn default() -> Self {
        Self::new()
    }
}

/// Longer than any turn of a loop that means well; whoever waits for that worker has noticed.
const WARN: Duration = Duration::from_secs(1);

/// gunicorn's default: a request that takes longer has no client any more.
const KILL: Duration = Duration::from_secs(30);
