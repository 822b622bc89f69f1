//! Fork: from a process with one thread only, with all signals blocked on both sides of it.
//!
//! Why one thread: the child has a copy of every lock, but only the forking thread to release them. Why blocked
//! signals: a handler of the parent must not run in the child before the child has its own table (a signal-hook pipe of
//! the embedding program would be written by both).
//!
//! Races handled: a joined thread is counted for a moment longer; with SIGCHLD ignored the child may be gone before its
//! pidfd is opened.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    ptr, thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    libc,
    sys::signal::{SigSet, SigmaskHow},
    unistd::{self, ForkResult},
};

use super::pidfd::PidFd;

/// Which side of the fork this is.
#[derive(Debug)]
pub(crate) enum Forked {
    /// `None`: the child has ended already, and is reaped, because this process ignores SIGCHLD.
    Parent { pid: u32, pidfd: Option<PidFd> },
    /// All signals are still blocked.
    Child,
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum Refused {
    /// So many threads run.
    Threads(usize),
    /// fork's own (EAGAIN: RLIMIT_NPROC, a cgroup's limit; ENOMEM) or pidfd_open's (EMFILE, or ENOSYS before Linux
    /// 5.3).
    System(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::System(error)
    }
}

/// Forks after flushing Rust's stdout and C's stdio, so that nothing is printed twice.
///
/// **Errors**: see [`Refused`]; a child without a pidfd was killed and reaped.
pub(crate) fn fork() -> Result<Forked, Refused> {
    single_thread().map_err(Refused::Threads)?;
    flush();
    let previous = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(io::Error::from)?;
    // SAFETY: this is the only thread (just counted, and nobody else is there to start one), so no lock is held by a
    // thread that the child lacks: the child may allocate, lock and print.
    let forked = match unsafe { unistd::fork() } {
        Ok(ForkResult::Child) => return Ok(Forked::Child),
        Ok(ForkResult::Parent { child }) => adopt(child),
        Err(error) => Err(error.into()),
    };
    previous.thread_set_mask().map_err(io::Error::from)?;
    Ok(forked?)
}

/// Whether a fork is possible now; if not, how many threads run. A count above 1 is read again for up to 10 ms: a
/// thread that was joined is counted until the kernel has let go of it. An unreadable /proc counts as single: then the
/// caller answers for it.
pub(crate) fn single_thread() -> Result<(), usize> {
    for _ in 0..RECOUNTS {
        match threads() {
            Ok(running) if running > 1 => thread::sleep(RECOUNT_EVERY),
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    match threads() {
        Ok(running) if running > 1 => Err(running),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The threads of this process, by one `stat`: the link count of the task directory is 2 + one per thread.
fn threads() -> io::Result<usize> {
    let links = fs::metadata("/proc/self/task")?.nlink();
    Ok(usize::try_from(links).unwrap_or(usize::MAX).saturating_sub(2))
}

/// Ends this process: Rust's stdout and stderr are flushed, nothing else runs (no destructor of a caller's frame, no
/// atexit handler).
pub(crate) fn exit_now(code: i32) -> ! {
    // A closed or full output is no reason to stay.
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: _exit touches no memory of this process and does not return.
    unsafe { libc::_exit(code) }
}

/// The parent's half. The child is a zombie at worst, so its number is not reused, unless SIGCHLD is ignored; even then
/// the kernel would have to hand out every other number in between.
fn adopt(child: unistd::Pid) -> io::Result<Forked> {
    let pid = child.as_raw().unsigned_abs();
    match PidFd::open(pid) {
        Ok(pidfd) => Ok(Forked::Parent { pid, pidfd: Some(pidfd) }),
        // Gone; EINVAL: just going (before Linux 6.15).
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => {
            Ok(Forked::Parent { pid, pidfd: None })
        }
        Err(error) => {
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            while nix::sys::wait::waitpid(child, None) == Err(Errno::EINTR) {}
            Err(error)
        }
    }
}

fn flush() {
    // A full disk or a closed pipe: the caller prints there at its own risk, forking does not depend on it.
    let _ = io::stdout().flush();
    // SAFETY: fflush(NULL) flushes the output streams of C's stdio, which lock themselves.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// 50 × 200 µs = 10 ms; a joined thread was seen to linger for less than 1 ms.
const RECOUNTS: u32 = 50;
const RECOUNT_EVERY: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn with_a_second_thread_nothing_is_forked() {
        let (stop, stopped) = mpsc::channel::<()>();
        let second = thread::spawn(move || stopped.recv());
        let running = single_thread().unwrap_err();
        assert!(running >= 2);
        assert!(matches!(fork(), Err(Refused::Threads(running)) if running > 1));
        drop(stop);
        assert!(second.join().unwrap().is_err());
    }
}
