//! A process by descriptor: the number of a dead process is reused, a pidfd never means another process.
//!
//! It becomes readable when the process ends, and reports once more when that is reaped (from Linux 6.9).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::{errno::Errno, libc};

use super::owned::Owned;

/// Refers to one process until it is dropped, also after that process is gone.
#[derive(Debug)]
pub(crate) struct PidFd(Owned);

impl PidFd {
    /// ESRCH: no such process. `pid` must be held (a child that is not reaped), or it may by now be somebody else's
    /// number.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and touches no memory; the kernel refuses a pid that is none.
        let raw = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })?;
        // SAFETY: the call succeeded: `raw` is a new descriptor (CLOEXEC by itself, and small enough for a c_int) with
        // no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(raw as libc::c_int) };
        Ok(Self(Owned::new(fd)))
    }

    /// ESRCH: it is gone. Signal 0 only asks.
    pub(crate) fn send_signal(&self, raw: i32) -> io::Result<()> {
        let info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: three integers and a null pointer, which the call documents as "fill it in like kill(2)".
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), raw, info, 0) };
        Errno::result(result)?;
        Ok(())
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refers_to_a_process() {
        let myself = PidFd::open(std::process::id()).unwrap();
        myself.send_signal(0).unwrap();
        assert_eq!(myself.send_signal(65).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn numbers_that_are_no_process_are_refused() {
        assert_eq!(PidFd::open(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(PidFd::open(u32::MAX).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(PidFd::open(i32::MAX as u32).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
