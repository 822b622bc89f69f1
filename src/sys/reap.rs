//! How one child ended. Waits for that pid only: `waitpid(-1)` would take the children of the embedding program.
//!
//! The status is decoded from the number itself, so that a death by a real-time signal is not lost.
//!
//! Race: ECHILD says that somebody else took the status (SIGCHLD is ignored, or the program waits for all children).
//! Linux keeps it for the holder of a pidfd since 6.15, from the moment that the process is released, which is shortly
//! *after* the pidfd became readable.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout},
};

use super::pidfd::PidFd;
use crate::event::ExitStatus;

/// `None`: it still runs. Never blocks, except up to 10 ms for the race above.
pub(crate) fn reap(pid: u32, pidfd: &PidFd) -> io::Result<Option<ExitStatus>> {
    match wait(pid, libc::WNOHANG) {
        Ok(ended) => Ok(ended),
        Err(Errno::ECHILD) if reports(pidfd, PollFlags::POLLIN, PollTimeout::ZERO) => Ok(Some(taken(pidfd))),
        Err(Errno::ECHILD) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Blocks until the child is gone; for `Drop`, after a SIGKILL.
pub(crate) fn reap_blocking(pid: u32, pidfd: &PidFd) -> ExitStatus {
    wait(pid, 0).ok().flatten().unwrap_or_else(|| taken(pidfd))
}

fn wait(pid: u32, flags: libc::c_int) -> Result<Option<ExitStatus>, Errno> {
    let pid = libc::pid_t::try_from(pid).ok().filter(|&pid| pid > 0).ok_or(Errno::ECHILD)?;
    let mut status = 0;
    loop {
        // SAFETY: `status` is a c_int that lives across the call.
        match Errno::result(unsafe { libc::waitpid(pid, &mut status, flags) }) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(ExitStatus::from_wait_status(status))),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The status that somebody else reaped.
fn taken(pidfd: &PidFd) -> ExitStatus {
    match kept_status(pidfd) {
        // The kernel has the call, but has not released the process yet.
        Ok(None) if reports(pidfd, PollFlags::empty(), RELEASE_MS.into()) => kept_status(pidfd).ok().flatten(),
        kept => kept.ok().flatten(),
    }
    .map_or_else(ExitStatus::unknown, ExitStatus::from_wait_status)
}

/// `None`: not released yet. ENOTTY, ESRCH and the like: this kernel does not keep it.
fn kept_status(pidfd: &PidFd) -> Result<Option<i32>, Errno> {
    // SAFETY: `pidfd_info` is integers only; all zero is a valid value.
    let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: PIDFD_GET_INFO carries the size of the struct that `info` is; the kernel reads and writes no more than
    // that.
    Errno::result(unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), libc::PIDFD_GET_INFO, &mut info) })?;
    Ok((info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0).then_some(info.exit_code))
}

/// Whether the pidfd reports one of `events`, or POLLHUP (the process is released), within `timeout`.
fn reports(pidfd: &PidFd, events: PollFlags, timeout: PollTimeout) -> bool {
    loop {
        match nix::poll::poll(&mut [PollFd::new(pidfd.as_fd(), events)], timeout) {
            Ok(ready) => return ready > 0,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// The kernel releases a process microseconds after its pidfd became readable; 10 ms covers a preempted exit.
const RELEASE_MS: u8 = 10;

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn shell(script: &str) -> (Child, PidFd) {
        let child = Command::new("sh").args(["-c", script]).spawn().expect("sh can be started");
        let pidfd = PidFd::open(child.id()).unwrap();
        (child, pidfd)
    }

    #[test]
    fn a_running_child_is_left_alone_and_a_killed_one_is_reaped() {
        let (child, pidfd) = shell("exec sleep 60");
        assert_eq!(reap(child.id(), &pidfd).unwrap(), None);
        pidfd.send_signal(libc::SIGKILL).unwrap();
        assert_eq!(reap_blocking(child.id(), &pidfd), ExitStatus::from_wait_status(9));
    }

    #[test]
    fn codes_and_real_time_signals_are_kept() {
        for (script, raw) in [("exit 7", 7 << 8), ("kill -37 $$", 37)] {
            let (child, pidfd) = shell(script);
            assert!(reports(&pidfd, PollFlags::POLLIN, PollTimeout::NONE));
            assert_eq!(reap(child.id(), &pidfd).unwrap(), Some(ExitStatus::from_wait_status(raw)), "{script}");
        }
    }

    #[test]
    fn a_status_that_somebody_else_took_is_read_from_the_kernel_if_it_keeps_it() {
        let (mut child, pidfd) = shell("exit 7");
        child.wait().unwrap();
        let status = reap(child.id(), &pidfd).unwrap().expect("it has ended");
        assert!(status.code() == Some(7) || status == ExitStatus::unknown());
        assert_eq!(reap_blocking(child.id(), &pidfd), status);
    }
}
