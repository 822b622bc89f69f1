//! Signals: the master's mask and signalfd, and the signal table of a forked worker.
//!
//! Ctrl-C, a closed terminal and systemd reach every process of the group; by default they would kill the workers
//! before the master can drain them. So in a worker these do nothing, and TERM is a request. What the application
//! installs later wins.
//!
//! Races handled in TERM: master and worker get the group's TERM at the same time, and the worker may have been asked
//! over the channel a moment before. So what says "now" is the master's TERM to a worker that drains already, or the
//! *second* TERM of anybody else. Where the master asks by TERM, for a worker that does not read its channel, it says so
//! in shared memory first: whoever else may have asked meanwhile, that one is no "now".

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
    sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigSet, SigmaskHow, Signal},
        signalfd::{self, SfdFlags},
    },
};

use super::owned::Owned;

/// Bit of a worker's flags: the application looks for drain requests, so TERM may be one.
pub(crate) const DRAIN_AWARE: u64 = 1;
/// Bit of a worker's flags: asked to drain, over the channel or by TERM.
pub(crate) const DRAINING: u64 = 2;
/// Bit of a worker's flags: the master's next TERM asks, also if the worker drains already.
pub(crate) const TERM_ASKS: u64 = 4;

/// Signals blocked in this thread until [`restore`](Self::restore).
#[derive(Debug)]
pub(crate) struct SignalMask(SigSet);

impl SignalMask {
    /// Signals 1 to 31; EINVAL for others.
    pub(crate) fn block(signals: &[i32]) -> io::Result<Self> {
        Ok(Self(set_of(signals)?.thread_swap_mask(SigmaskHow::SIG_BLOCK)?))
    }

    /// The mask as it was. Blocked signals that nobody has read are delivered now.
    pub(crate) fn restore(&self) -> io::Result<()> {
        Ok(self.0.thread_set_mask()?)
    }
}

/// Reads signals that this process has blocked; non-blocking, CLOEXEC.
#[derive(Debug)]
pub(crate) struct SignalFd(Owned<signalfd::SignalFd>);

impl SignalFd {
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        let (set, flags) = (set_of(signals)?, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Ok(Self(Owned::make(|| signalfd::SignalFd::with_flags(&set, flags), AsFd::as_fd)?))
    }

    /// `None`: no signal is pending.
    pub(crate) fn next(&self) -> io::Result<Option<i32>> {
        loop {
            match self.0.read_signal() {
                Ok(info) => return Ok(info.map(|info| info.ssi_signo as i32)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the process ignores `signal`, as nohup makes it ignore HUP.
pub(crate) fn is_ignored(signal: i32) -> bool {
    disposition(signal) == Some(libc::SIG_IGN)
}

/// For a worker right after fork, with all signals blocked: gives it the signal table of a worker, then unblocks all.
///
/// `flags` is the worker's word of [`DRAIN_AWARE`], [`DRAINING`] and [`TERM_ASKS`], `wake` an eventfd that is written
/// when TERM asks for a drain: both are used by the handler for the rest of the process, so they are leaked. `master` is
/// the pid whose TERM is the master's.
pub(crate) fn worker_table(master: u32, flags: &'static AtomicU64, wake: BorrowedFd<'static>) -> io::Result<()> {
    MASTER.store(libc::pid_t::try_from(master).map_err(|_| Errno::EINVAL)?, Ordering::Relaxed);
    FLAGS.store(ptr::from_ref(flags).cast_mut(), Ordering::Relaxed);
    WAKE.store(wake.as_raw_fd(), Ordering::Relaxed);
    WORKER.store(std::process::id(), Ordering::Relaxed);
    TERM_SEEN.store(false, Ordering::Relaxed);
    for signal in 1..=libc::SIGRTMAX() {
        // None: the C library keeps this one for itself.
        let Some(inherited) = disposition(signal) else { continue };
        match signal {
            libc::SIGKILL | libc::SIGSTOP => {}
            libc::SIGTERM => set_disposition(signal, Some(on_term))?,
            _ if inherited == libc::SIG_IGN => {}
            _ if QUIET.contains(&signal) => set_disposition(signal, Some(do_nothing))?,
            // Rust's report of a stack overflow.
            libc::SIGSEGV | libc::SIGBUS => {}
            _ if inherited == libc::SIG_DFL => {}
            _ => set_disposition(signal, None)?,
        }
    }
    Ok(SigSet::empty().thread_set_mask()?)
}

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Not SIG_IGN: exec turns a handler back into the default, but keeps "ignored" for programs that a worker starts.
extern "C" fn do_nothing(_signal: libc::c_int, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {}

extern "C" fn on_term(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    // SAFETY: null, or the &'static that `worker_table` stored before it installed this handler.
    let flags = unsafe { FLAGS.load(Ordering::Relaxed).as_ref() };
    // A process that the worker has forked has this handler, too, and shares the flags: its TERM is not the worker's.
    let flags = flags.filter(|_| std::process::id() == WORKER.load(Ordering::Relaxed));
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO; any siginfo has the bytes of si_pid.
    let sender = unsafe { (*info).si_pid() };
    match flags.map(|flags| judge(flags, &TERM_SEEN, sender == MASTER.load(Ordering::Relaxed))) {
        Some(Verdict::Drain) => wake(),
        Some(Verdict::DrainsAlready) => {}
        // The application's handler runs and has called this one, as signal-hook and tokio do: whether to die is its
        // decision.
        Some(Verdict::Die) | None if disposition(libc::SIGTERM) != Some(address_of(on_term)) => {}
        Some(Verdict::Die) | None => die(),
    }
    Errno::set_raw(errno);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Drain,
    /// The loop was woken for it already, or is about to be.
    DrainsAlready,
    Die,
}

/// What a TERM means; marks the worker as draining if it is an ask. `seen`: somebody else's TERM came before.
fn judge(flags: &AtomicU64, seen: &AtomicBool, from_master: bool) -> Verdict {
    if flags.load(Ordering::Acquire) & DRAIN_AWARE == 0 {
        return Verdict::Die;
    }
    if from_master && flags.fetch_and(!TERM_ASKS, Ordering::AcqRel) & TERM_ASKS != 0 {
        flags.fetch_or(DRAINING, Ordering::AcqRel);
        // Also if it drains already: its loop may not have been woken for it.
        return Verdict::Drain;
    }
    let drained_before = flags.fetch_or(DRAINING, Ordering::AcqRel) & DRAINING != 0;
    let now = if from_master { drained_before } else { seen.swap(true, Ordering::AcqRel) };
    match (now, drained_before) {
        (true, _) => Verdict::Die,
        (false, true) => Verdict::DrainsAlready,
        (false, false) => Verdict::Drain,
    }
}

fn wake() {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: `one` is 8 bytes that live across the call. The descriptor is the eventfd that `worker_table` borrowed
    // for ever. A full counter (EAGAIN) is awake already.
    unsafe { libc::write(WAKE.load(Ordering::Relaxed), one.as_ptr().cast(), one.len()) };
}

/// Dies of SIGTERM, so that the exit status says so. Async-signal-safe.
fn die() -> ! {
    let _ = set_disposition(libc::SIGTERM, None);
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    let _ = term.thread_unblock();
    let _ = nix::sys::signal::raise(Signal::SIGTERM);
    // SAFETY: _exit touches no memory of this process. Reached only by the init process of a pid namespace, which no
    // default action kills.
    unsafe { libc::_exit(128 + libc::SIGTERM) }
}

fn set_of(signals: &[i32]) -> io::Result<SigSet> {
    signals.iter().map(|&signal| Ok(Signal::try_from(signal)?)).collect()
}

/// SIG_DFL, SIG_IGN or the address of a handler; `None` for a number that has none.
fn disposition(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut action = no_action();
    // SAFETY: a null pointer changes nothing; `action` is a sigaction that lives across the call.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
    (result == 0).then_some(action.sa_sigaction)
}

/// `None`: the default. A handler must be async-signal-safe.
fn set_disposition(signal: libc::c_int, handler: Option<Handler>) -> io::Result<()> {
    let mut action = no_action();
    if let Some(handler) = handler {
        action.sa_sigaction = address_of(handler);
        // Not SA_ONSTACK: Rust's alternate stack holds a frame or two, and an application's handler may be on it
        // already.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // One at a time: signals that arrive together do not pile up their frames.
        action.sa_mask = *SigSet::all().as_ref();
    }
    // SAFETY: `action` lives across the call and is the default or one of `on_term` and `do_nothing`: both of the shape
    // that SA_SIGINFO calls, async-signal-safe, and never unwinding.
    Errno::result(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })?;
    Ok(())
}

fn address_of(handler: Handler) -> libc::sighandler_t {
    handler as *const () as libc::sighandler_t
}

fn no_action() -> libc::sigaction {
    // SAFETY: `sigaction` is integers, a signal set and a nullable function pointer; all zero is a valid value
    // (SIG_DFL, empty set).
    unsafe { mem::zeroed() }
}

/// What a terminal, systemd or an operator sends to the whole group.
const QUIET: [libc::c_int; 7] =
    [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTTIN, libc::SIGTTOU];

// What the TERM handler knows. Written by `worker_table` while all signals are blocked.
static MASTER: AtomicI32 = AtomicI32::new(0);
static WORKER: AtomicU32 = AtomicU32::new(0);
static FLAGS: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// Somebody other than the master has sent TERM.
static TERM_SEEN: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_signals_are_read_one_by_one() {
        let signals = [libc::SIGUSR1, libc::SIGUSR2];
        let mask = SignalMask::block(&signals).unwrap();
        let fd = SignalFd::new(&signals).unwrap();
        assert_eq!(fd.next().unwrap(), None);
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap(); // to this thread only
        assert_eq!(fd.next().unwrap(), Some(libc::SIGUSR2));
        assert_eq!(fd.next().unwrap(), None);
        mask.restore().unwrap();
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR2));
        assert_eq!(SignalMask::block(&[37]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn ignored_is_told_from_default() {
        assert!(is_ignored(libc::SIGPIPE), "Rust's runtime ignores it");
        assert!(!is_ignored(libc::SIGUSR1));
        assert!(!is_ignored(99));
    }

    #[test]
    fn term_is_an_ask_or_means_now() {
        use Verdict::{Die, Drain, DrainsAlready};
        const BOTH: u64 = DRAIN_AWARE | DRAINING;
        // flags before, somebody else's TERM came before, from the master → verdict, flags after
        for (before, seen, from_master, verdict, after) in [
            (0, false, true, Die, 0),
            (0, false, false, Die, 0),
            (DRAIN_AWARE, false, true, Drain, BOTH),
            (DRAIN_AWARE, false, false, Drain, BOTH),
            (BOTH, false, true, Die, BOTH),
            (BOTH, true, true, Die, BOTH),
            (BOTH, false, false, DrainsAlready, BOTH),
            (BOTH, true, false, Die, BOTH),
            (TERM_ASKS, false, true, Die, TERM_ASKS),
            (DRAIN_AWARE | TERM_ASKS, false, true, Drain, BOTH),
            (BOTH | TERM_ASKS, true, true, Drain, BOTH),
            (BOTH | TERM_ASKS, true, false, Die, BOTH | TERM_ASKS),
        ] {
            let flags = AtomicU64::new(before);
            let seen = AtomicBool::new(seen);
            assert_eq!(judge(&flags, &seen, from_master), verdict, "{before} {seen:?} {from_master}");
            assert_eq!(flags.load(Ordering::Relaxed), after);
            assert!(verdict == Die || from_master || seen.load(Ordering::Relaxed));
        }
    }
}
