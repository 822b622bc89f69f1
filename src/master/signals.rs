//! The signals of a master that owns them.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::libc;

use super::reactor::{Reactor, Ready};
use crate::{
    error::{Error, Kind, Result},
    event::Shutdown,
    id::Signal,
    sys::signal::{SignalFd, SignalMask, is_ignored},
};

/// Blocks the master's signals and reads them from a descriptor; gives the mask back on drop.
pub(super) struct Signals {
    fd: SignalFd,
    before: SignalMask,
    _owner: Ownership,
}

/// The signals of a process have one owner: two would take each other's, and give back a mask that is not theirs.
struct Ownership;

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Stop(Shutdown),
    ReopenLogs,
    Rollout,
    More,
    Fewer,
    /// Of a later version; named in the log.
    NotYet(&'static str),
}

impl Signals {
    /// INT, HUP and QUIT that are ignored (nohup, background jobs of simple shells) stay ignored.
    pub(super) fn own(reactor: &Reactor) -> Result<Self> {
        let step = |error| Error::system("taking over the master's signals", error);
        let owner = Ownership::take()?;
        let (ignored, signals): (Vec<i32>, Vec<i32>) =
            OWNED.into_iter().partition(|signal| IGNORABLE.contains(signal) && is_ignored(*signal));
        if !ignored.is_empty() {
            let names: Vec<String> = ignored.into_iter().map(|raw| Signal::from_raw(raw).to_string()).collect();
            let names = names.join(", ");
            log::info!(target: super::TARGET, "ignored since the start (nohup, or & in a script), and still: {names}");
        }
        let before = SignalMask::block(&signals).map_err(step)?;
        let watched = SignalFd::new(&signals).and_then(|fd| reactor.add(&fd, Ready::Signals).map(|()| fd));
        match watched {
            Ok(fd) => Ok(Self { fd, before, _owner: owner }),
            Err(error) => {
                before.restore().map_err(step)?;
                Err(step(error))
            }
        }
    }

    pub(super) fn next(&self) -> Result<Option<Signal>> {
        let next = self.fd.next().map_err(|error| Error::system("reading signals", error))?;
        Ok(next.map(Signal::from_raw))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // A signal that came too late belonged to the cluster that has just ended; unblocked now it would end the
        // program.
        while let Ok(Some(_)) = self.fd.next() {}
        if let Err(error) = self.before.restore() {
            log::error!(target: super::TARGET, "giving the signal mask back: {error}");
        }
    }
}

impl Ownership {
    fn take() -> Result<Self> {
        let me = std::process::id();
        // A child of the owner is another process, and may own its own.
        if OWNER.swap(me, Ordering::Relaxed) == me {
            let text = "signals(true): another master of this process owns the signals already; use signals(false) for this one";
            return Err(Error::new(Kind::InvalidConfig, text));
        }
        Ok(Self)
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let me = std::process::id();
        // It fails in a child that has become an owner itself.
        let _ = OWNER.compare_exchange(me, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Wish {
    pub(super) fn of(signal: Signal) -> Option<Self> {
        match signal {
            Signal::TERM | Signal::INT => Some(Wish::Stop(Shutdown::Drain)),
            Signal::QUIT => Some(Wish::Stop(Shutdown::Now)),
            Signal::USR1 => Some(Wish::ReopenLogs),
            Signal::HUP => Some(Wish::Rollout),
            Signal::USR2 => Some(Wish::NotYet("an upgrade of the binary")),
            Signal::TTIN => Some(Wish::More),
            Signal::TTOU => Some(Wish::Fewer),
            _other => None,
        }
    }
}

/// A process id; 0 is nobody.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// What nohup and simple shells make a program ignore.
const IGNORABLE: [i32; 3] = [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

const OWNED: [i32; 8] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTTIN,
    libc::SIGTTOU,
];
