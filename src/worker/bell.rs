//! The eventfd that makes a worker's loop turn once more.
//!
//! It is readable from birth, so that every loop turns once: a worker that waits for its first client has then already
//! shown that it looks whether it is to leave. Later it rings for what was read from the channel, until the loop has
//! seen it: an `accept` late in a loop's turn, or on another thread, may read what the loop looked for earlier in that
//! turn. It falls silent in the turn after, so a level-triggered loop does not spin.
//!
//! [`ring`](Bell::ring) and [`silence`](Bell::silence) are called under the link's lock, the others are not. SIGTERM's
//! handler writes to the eventfd at any moment, after it has set the drain bit in shared memory; in a process that has
//! that handler, the eventfd is never closed (see `boot`).

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};

use crate::{
    error::{Error, Result},
    sys::owned::Owned,
};

pub(super) struct Bell {
    wake: Wake,
    rings: AtomicBool,
    /// The bits below.
    unseen: AtomicU8,
    /// What is left of `FIRST_TURNS`.
    first_turns: AtomicU8,
}

/// The eventfd.
pub(super) type Wake = Arc<Owned<EventFd>>;

/// The program has not looked yet. It passes after some turns, whether it ever looks or not.
pub(super) const BIRTH: u8 = 1;
/// `is_draining` has become true.
pub(super) const DRAIN: u8 = 2;
/// `next_event` has something to return.
pub(super) const EVENTS: u8 = 4;
/// Bare sockets are yet to be shut; each turn looks anew.
pub(super) const LEAVING: u8 = 8;

impl Bell {
    pub(super) fn wake() -> Result<Wake> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Owned::make(|| EventFd::from_value_and_flags(1, flags), AsFd::as_fd);
        let wake = wake.map_err(|error| Error::system("creating the worker's eventfd", error))?;
        Ok(Arc::new(wake))
    }

    pub(super) fn new(wake: Wake) -> Self {
        let (unseen, first_turns) = (AtomicU8::new(BIRTH), AtomicU8::new(FIRST_TURNS));
        Self { wake, rings: AtomicBool::new(true), unseen, first_turns }
    }

    /// Until the loop has seen `what`; nothing is nothing to ring for.
    pub(super) fn ring(&self, what: u8) {
        if what != 0 {
            self.unseen.fetch_or(what, Ordering::Release);
            self.ring_once();
        }
    }

    /// For one turn, whatever it looks at.
    pub(super) fn ring_once(&self) {
        self.rings.store(true, Ordering::Release);
        // It can only be full, and then it is readable.
        let _ = self.wake.write(1);
    }

    /// As `ring`, for a loop that looks before it sleeps: it need not be woken, but reminded then.
    pub(super) fn mark(&self, what: u8) {
        self.unseen.fetch_or(what, Ordering::Release);
    }

    /// The loop goes to sleep, though it has not seen what was marked.
    pub(super) fn remind(&self) {
        let unseen = self.unseen.load(Ordering::Acquire);
        if unseen != 0 && !self.rings.load(Ordering::Acquire) {
            self.ring(unseen);
        }
    }

    /// It may be readable: it was rung, and not by a signal.
    pub(super) fn rings(&self) -> bool {
        self.rings.load(Ordering::Acquire)
    }

    pub(super) fn saw(&self, what: u8) {
        if self.unseen.load(Ordering::Acquire) & what != 0 {
            self.unseen.fetch_and(!what, Ordering::Release);
        }
    }

    pub(super) fn rings_for(&self, what: u8) -> bool {
        self.unseen.load(Ordering::Acquire) & what != 0
    }

    /// Everything was seen and it still rings.
    pub(super) fn is_due(&self) -> bool {
        let unseen = self.unseen.load(Ordering::Acquire);
        if unseen & BIRTH != 0 && self.first_turns.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.saw(BIRTH);
        }
        unseen == 0 && self.rings.load(Ordering::Acquire)
    }

    /// Unless there is something that the loop has not seen.
    pub(super) fn silence(&self) -> Result<()> {
        if self.unseen.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        self.rings.store(false, Ordering::Release);
        match self.wake.read() {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::system("reading the worker's eventfd", error)),
        }
    }
}

/// Enough for each thread of a worker to try `accept` before the loop looks for the first time, and few enough for a
/// level-triggered loop that never looks.
const FIRST_TURNS: u8 = 64;
