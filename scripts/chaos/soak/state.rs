//! What a cluster has, and what it must never have.

use std::fmt;

use crate::{Attempt, procfs, server::Server};

/// Of a cluster that has nothing to do.
#[derive(Clone, Copy)]
pub(super) struct State {
    workers: usize,
    /// Open descriptors of the master, and the most of any worker.
    master_descriptors: usize,
    worker_descriptors: usize,
    /// Proportional, in KiB.
    master_memory: u64,
    worker_memory: u64,
}

impl State {
    pub(super) fn of(server: &Server) -> Attempt<Self> {
        check(server)?;
        let descriptors = server.workers.iter().map(|pid| Ok(procfs::descriptors_of(*pid)?));
        let memory = server.workers.iter().map(|pid| procfs::pss_kib(*pid));
        Ok(Self {
            workers: server.workers.len(),
            master_descriptors: procfs::descriptors_of(server.master())?,
            worker_descriptors: descriptors.collect::<Attempt<Vec<usize>>>()?.into_iter().max().unwrap_or(0),
            master_memory: procfs::pss_kib(server.master())?,
            worker_memory: memory.collect::<Attempt<Vec<u64>>>()?.into_iter().max().unwrap_or(0),
        })
    }

    /// What there is more of than at `first`, and has no reason to be.
    pub(super) fn grown(&self, first: &Self) -> Vec<String> {
        let pairs = [
            ("workers", self.workers as u64, first.workers as u64, 0),
            ("descriptors of the master", self.master_descriptors as u64, first.master_descriptors as u64, SPARE),
            ("descriptors of a worker", self.worker_descriptors as u64, first.worker_descriptors as u64, SPARE),
            ("KiB in the master", self.master_memory, first.master_memory, MASTER_GROWS),
            ("KiB in a worker", self.worker_memory, first.worker_memory, WORKER_GROWS),
        ];
        let grown = pairs.into_iter().filter(|(_, now, first, most)| *now > first + most);
        grown.map(|(what, now, first, _)| format!("{now} {what}, {first} after the first round")).collect()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, master_descriptors, worker_descriptors, master_memory, worker_memory } = self;
        write!(f, "{workers} workers; master {master_descriptors} descriptors, {master_memory} KiB; ")?;
        write!(f, "a worker at most {worker_descriptors}, {worker_memory} KiB")
    }
}

/// Where all workers are ready: the master's children are those that it has told of, and none is dead or stopped.
pub(super) fn check(server: &Server) -> Attempt<()> {
    let children = procfs::children_of(server.master())?;
    let is_strange = |pid: &u32, state: char| !server.workers.contains(pid) || matches!(state, 'Z' | 'T');
    let strange: Vec<_> = children.iter().filter(|child| is_strange(&child.pid, child.state)).collect();
    let missing: Vec<_> = server.workers.iter().filter(|pid| children.iter().all(|child| child.pid != **pid)).collect();
    if strange.is_empty() && missing.is_empty() {
        return Ok(());
    }
    Err(format!("{:?} are ready; strange children {strange:?}, missing {missing:?}", server.workers).into())
}

/// Descriptors: of a connection that has yet to be closed, say. What leaks grows beyond that.
const SPARE: u64 = 2;

/// An allocator that has found its size by then, and some arenas more.
const MASTER_GROWS: u64 = 1024;
const WORKER_GROWS: u64 = 4096;
