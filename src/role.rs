//! Which part this process plays.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Whether this process was forked by a cluster and runs, or ran, a worker function. True from before the worker
/// function begins until the process ends.
///
/// A worker that starts a cluster of its own is both worker and master. Children that the program forks by other means
/// are neither, and [`Cluster::standalone`](crate::Cluster::standalone) makes no process what it was not.
///
/// ```
/// assert!(!mio_cluster::is_worker());
/// ```
pub fn is_worker() -> bool {
    WORKER.load(Ordering::Relaxed) == process::id()
}

/// Whether this process has started a cluster, also after that cluster has ended. Before the first start a process is
/// neither master nor worker.
///
/// ```
/// assert!(!mio_cluster::is_master());
/// ```
#[doc(alias = "is_primary")]
pub fn is_master() -> bool {
    MASTER.load(Ordering::Relaxed) == process::id()
}

pub(crate) fn become_worker() {
    WORKER.store(process::id(), Ordering::Relaxed);
}

pub(crate) fn become_master() {
    MASTER.store(process::id(), Ordering::Relaxed);
}

/// Process ids, so that a child that inherits them is not taken for its parent; 0 is nobody.
static WORKER: AtomicU32 = AtomicU32::new(0);
static MASTER: AtomicU32 = AtomicU32::new(0);
