//! One CPU for a worker's process, see [`Cluster::pin_workers`](crate::Cluster::pin_workers).

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::boot::TARGET;
use crate::id::{Slot, WorkerId};

/// Binds the calling thread, and all that it starts from now on. If that fails, a line in the log says so, and the
/// worker runs wherever the kernel puts it.
pub(super) fn pin(slot: Slot, id: WorkerId) {
    match bind(slot) {
        Ok(cpu) => log::debug!(target: TARGET, "worker {id} (slot {slot}) runs on CPU {cpu}"),
        Err(error) => {
            let why = error.desc();
            log::warn!(target: TARGET, "worker {id} (slot {slot}) is not bound to a CPU (pin_workers): {why}");
        }
    }
}

fn bind(slot: Slot) -> nix::Result<usize> {
    let this_thread = Pid::from_raw(0);
    let cpu = cpu_of(slot, &sched_getaffinity(this_thread)?)?;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(this_thread, &set)?;
    Ok(cpu)
}

/// **Errors**: it may use none.
fn cpu_of(slot: Slot, allowed: &CpuSet) -> nix::Result<usize> {
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect();
    let turn = slot.index().checked_rem(cpus.len()).ok_or(Errno::EINVAL)?;
    Ok(cpus[turn])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_take_turns_at_the_cpus_that_are_allowed() {
        let mut allowed = CpuSet::new();
        [2, 5, 1023].into_iter().for_each(|cpu| allowed.set(cpu).unwrap());
        let cpus: Vec<_> = (0..7).map(|slot| cpu_of(Slot::from_index(slot), &allowed).unwrap()).collect();
        assert_eq!(cpus, [2, 5, 1023, 2, 5, 1023, 2]);
        assert_eq!(cpu_of(Slot::from_index(3), &CpuSet::new()), Err(Errno::EINVAL));
    }

    #[test]
    fn a_thread_is_bound_to_what_it_was_allowed() {
        // Of its own, as others of this process must stay free.
        let bound = std::thread::spawn(|| (bind(Slot::ZERO), sched_getaffinity(Pid::from_raw(0)).unwrap()));
        let (cpu, set) = bound.join().unwrap();
        let cpus: Vec<_> = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect();
        assert_eq!(cpus, [cpu.unwrap()]);
    }
}
