//! A worker must not outlive its master.

use nix::{
    sys::{prctl, signal::Signal},
    unistd,
};

/// Asks the kernel to kill this process when its parent dies, then says whether `parent` still is the parent; `false`:
/// end at once.
///
/// Asked first, looked second, so a master that dies in between is seen by one of the two. `parent` is the master's pid
/// recorded before the fork: a subreaper may be the parent by now. To be called again after a change of credentials,
/// which clears it. It fires when the *thread* that forked ends, so the master must stay on its thread.
pub(crate) fn die_with(parent: u32) -> bool {
    prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && unistd::getppid().as_raw().unsigned_abs() == parent
}
