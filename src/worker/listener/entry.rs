//! What every kind of listener is made of.
//!
//! An inner epoll holds the socket, the worker's control descriptor and a timer; whatever of them is ready makes the
//! program's loop turn, and `accept` sorts it out. `accept` never waits on the inner epoll; only `accept_blocking`
//! does.
//!
//! A worker that leaves empties the queue of a socket first. Then it shuts one that is nobody else's, so that later
//! clients are refused or go to the others: because everybody leaves, the address is gone, or the master has no
//! duplicate. Otherwise it only stops looking at it: a replacement accepts there, the others do, or the master shuts
//! it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, poll},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::pause::{self, Pause};
use crate::{
    config::Bind,
    error::{Error, Result},
    event::Endpoint,
    net::door,
    sys::owned::Owned,
    worker::{boot::TARGET, control::Control},
};

/// A listening socket of mio's.
pub(in crate::worker) trait Socket: AsFd + From<OwnedFd> {
    /// A connection and who is at its other end.
    type Accepted;

    /// The connection is non-blocking.
    fn accept(&self) -> io::Result<Self::Accepted>;
}

pub(in crate::worker) struct Entry<L: Socket> {
    /// The door, the control descriptor and the pause's timer: what makes a loop turn.
    poller: Owned<Epoll>,
    door: Owned<L>,
    pause: Pause,
    at: Endpoint,
    is_shared: bool,
    control: Arc<Control>,
    index: u16,
    /// Its address is no more.
    is_removed: Arc<AtomicBool>,
    /// Threads inside `accept_blocking`.
    waiting: AtomicUsize,
    /// Nobody new comes, but the queue was not looked at since.
    refuses: AtomicBool,
    /// It takes no more connections: it was shut, by this worker while draining or by the master.
    done: AtomicBool,
}

/// What a listener needs besides its socket.
pub(in crate::worker) struct Prepared {
    poller: Owned<Epoll>,
    pause: Pause,
}

impl Prepared {
    /// All that can fail for want of descriptors, before the master is asked.
    pub(in crate::worker) fn new(control: &Control) -> Result<Self> {
        let step = |error: Errno| Error::system("creating the listener's epoll", error);
        let poller = Owned::make(|| Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC), |epoll| epoll.0.as_fd());
        let poller = poller.map_err(step)?;
        poller.add(control, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        let pause = Pause::new(&poller)?;
        Ok(Self { poller, pause })
    }
}

impl<L: Socket> Entry<L> {
    /// `door` listens by now; `index` is the place of its address.
    pub(in crate::worker) fn new(
        prepared: Prepared,
        door: OwnedFd,
        bind: &Bind,
        control: Arc<Control>,
        index: u16,
        is_removed: Arc<AtomicBool>,
    ) -> Result<Self> {
        let Prepared { poller, pause } = prepared;
        let door = Owned::register(L::from(door), AsFd::as_fd);
        let (at, is_shared) = (bind.at.clone(), bind.shared);
        let (waiting, refuses, done) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let entry = Self { poller, door, pause, at, is_shared, control, index, is_removed, waiting, refuses, done };
        let watched = entry.poller.add(&entry.door, EpollEvent::new(EpollFlags::EPOLLIN, 0));
        watched.map_err(|error| Error::system("watching the listener's socket", error))?;
        Ok(entry)
    }

    /// Only in the process that it belongs to.
    pub(super) fn socket(&self) -> io::Result<&L> {
        self.check_process()?;
        Ok(&self.door)
    }

    pub(super) fn accept(&self) -> io::Result<L::Accepted> {
        self.control.comes_back();
        self.accept_by(L::accept)
    }

    /// Waits; `None`: the worker drains and no connection waits any more.
    pub(super) fn accept_blocking<T>(&self, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<Option<T>> {
        self.check_process()?;
        let _waiting = self.control.waiting_thread();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let accepted = self.accept_or_wait(accept);
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_done() {
            self.pause.fall_silent();
        }
        accepted
    }

    fn accept_or_wait<T>(&self, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<Option<T>> {
        loop {
            match self.accept_by(&accept) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map(Some),
            }
            if self.is_done() {
                return Ok(None);
            }
            self.wait()?;
        }
    }

    /// The socket itself; the worker keeps a duplicate for the drain.
    pub(super) fn into_bare(self) -> io::Result<OwnedFd> {
        self.check_process()?;
        let bare = self.door.as_fd().try_clone_to_owned()?;
        let kept = Owned::new(self.door.as_fd().try_clone_to_owned()?);
        self.done.store(true, Ordering::Relaxed);
        self.control.keep_channel();
        self.control.bare(self.index, kept, self.is_shared);
        Ok(bare)
    }

    /// `accept` has found no room for a connection that waits.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_on()
    }

    /// `accept` says `WouldBlock` for ever.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn accept_by<T>(&self, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<T> {
        self.check_process()?;
        self.control.settle();
        let knew = self.is_removed.load(Ordering::Relaxed);
        while !self.is_done() {
            let leaves = self.is_removed.load(Ordering::Relaxed) || self.control.drains();
            match accept(&self.door) {
                Ok(connection) => {
                    self.control.seat().accepted_at(self.index);
                    self.resume();
                    return Ok(connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.resume();
                    if !leaves {
                        break;
                    }
                    if !self.refuses_newcomers() {
                        self.leave();
                    }
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) if pause::is_shortage(&error) => {
                    self.pause.begin(&self.poller, &self.door, self.control.seat(), &self.at, &error)?;
                    break;
                }
                // The master has shut it.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.leave(),
                Err(error) => return Err(error),
            }
        }
        self.control.turn_if_due()?;
        if !knew && self.is_removed.load(Ordering::Relaxed) {
            // It has just heard of it, and nothing else may make the loop turn.
            return self.accept_by(accept);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// A pause that cannot be ended goes on, and its timer with it.
    fn resume(&self) {
        if self.pause.is_on() {
            if let Err(error) = self.pause.end(&self.poller, &self.door) {
                log::warn!(target: TARGET, "watching the listening socket again: {error}");
            }
        }
    }

    /// Before it is shut the kernel lets nobody in any more, so that nobody comes between the last look into the queue
    /// and the end. True if that was news: the queue is to be looked at once more.
    fn refuses_newcomers(&self) -> bool {
        if !self.shuts() || self.refuses.swap(true, Ordering::Relaxed) {
            return false;
        }
        let refused = door::refuse_newcomers(&self.door);
        if let Err(error) = &refused {
            log::debug!(target: TARGET, "refusing newcomers at {}: {error}", self.at);
        }
        refused.is_ok()
    }

    /// Nobody waits any more: it is not looked at again, and perhaps shut, which takes it out of the kernel's group and
    /// refuses whoever still comes.
    fn leave(&self) {
        if self.done.swap(true, Ordering::Relaxed) {
            return;
        }
        // Out of the loop's sight first: a socket that is shut stays readable.
        let unwatched = self.pause.stop(&self.poller, &self.door);
        let shut = unwatched.and_then(|()| if self.shuts() { door::shut(&self.door) } else { Ok(None) });
        if let Err(error) = shut {
            log::warn!(target: TARGET, "shutting the listening socket: {error}");
        }
        self.control.close(self.index);
        // In a drain the bell rings for all of them.
        if self.is_removed.load(Ordering::Relaxed) && self.waiting.load(Ordering::SeqCst) > 0 {
            self.pause.wake_all();
        }
    }

    fn shuts(&self) -> bool {
        !self.is_shared && (self.is_removed.load(Ordering::Relaxed) || self.control.word.shuts())
    }

    /// Until something is ready. Each thread that waits here is woken in turn, not all of them at once.
    fn wait(&self) -> io::Result<()> {
        let paused = self.pause.is_on();
        // The bell rings for the program's own loop, or in a drain until all of these threads have left, which a pause
        // puts off. It must go on, so it cannot be waited for here.
        let ready = if self.control.waits_for_the_program() || paused && self.control.drains() {
            let events = if paused { PollFlags::empty() } else { PollFlags::POLLIN };
            poll(&mut [PollFd::new(self.door.as_fd(), events)], MEANWHILE).map(drop)
        } else {
            self.poller.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE).map(drop)
        };
        match ready {
            Ok(()) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A worker that starts a cluster of its own may have handed this value across that fork, where its descriptors are
    /// closed.
    fn check_process(&self) -> io::Result<()> {
        if self.door.is_ours() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "this listener belongs to the process that called listen()"))
    }
}

impl<L: Socket> Drop for Entry<L> {
    fn drop(&mut self) {
        if !self.door.is_ours() {
            return;
        }
        if !self.is_done() {
            self.control.close(self.index);
        }
        self.control.may_not_come_back();
    }
}

impl<L: Socket> AsFd for Entry<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// Errors that `accept` reports for one connection (accept(2): treat them like EAGAIN, by trying the next).
fn is_of_the_connection(error: &io::Error) -> bool {
    const SKIPPED: [i32; 10] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EINTR,
        libc::ENETDOWN,
        libc::ENONET,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
    ];
    error.raw_os_error().is_some_and(|number| SKIPPED.contains(&number))
}

/// In milliseconds: how often a waiting thread looks whether it may wait for everything again.
const MEANWHILE: u8 = 10;
