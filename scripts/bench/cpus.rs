//! Two CPUs: one for the servers, one for the client.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::Attempt;

#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) server: usize,
    pub(crate) client: usize,
}

impl Cpus {
    /// The first and the last that this process may use. **Errors**: it may use one only.
    pub(crate) fn of_this_process() -> Attempt<Self> {
        let allowed = sched_getaffinity(MYSELF)?;
        let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        match (cpus.next(), cpus.next_back()) {
            (Some(server), Some(client)) => Ok(Self { server, client }),
            _one => Err("servers and client need a CPU each".into()),
        }
    }
}

/// This process runs there only.
pub(crate) fn take(cpu: usize) -> Attempt<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(MYSELF, &set)?)
}

const MYSELF: Pid = Pid::from_raw(0);
