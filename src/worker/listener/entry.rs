//! What every kind of listener is made of.
//!
//! An inner epoll holds the socket, those that are [lent](super::lookout) to it, the worker's control descriptor and a
//! timer; whatever of them is ready makes the program's loop turn, and `accept` sorts it out. `accept` never waits on
//! the inner epoll; only `accept_blocking` does.
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
    poll::{PollFd, PollFlags, poll},
};

use super::{
    look::Look,
    lookout::{Lookout, Sweep},
};
use crate::{
    config::Bind,
    error::{Error, Result},
    event::Endpoint,
    net::door,
    sys::owned::Owned,
    worker::{boot::TARGET, control::Control},
};

/// A listening socket of mio's.
pub(in crate::worker) trait Socket: AsFd + From<OwnedFd> + Send + Sync + 'static {
    /// A connection and who is at its other end.
    type Accepted;

    /// The connection is non-blocking.
    fn accept(&self) -> io::Result<Self::Accepted>;
}

pub(in crate::worker) struct Entry<L: Socket> {
    lookout: Arc<Lookout<L>>,
    door: Owned<L>,
    at: Endpoint,
    is_shared: bool,
    control: Arc<Control>,
    index: u16,
    /// The last guest was one of its own door.
    is_turn_of_loans: AtomicBool,
    /// Threads inside `accept_blocking`.
    waiting: AtomicUsize,
    /// Nobody new comes, but the queue was not looked at since.
    refuses: AtomicBool,
    /// It takes no more connections: it was shut, by this worker while draining or by the master.
    done: AtomicBool,
}

/// What a call of `accept` has found.
enum Found<T> {
    Guest(T),
    Nobody,
    /// Nobody at its own door, and so many at lent ones that there may be more.
    More,
    /// There is no room for one more.
    NoRoom,
    /// Its own door was shut by the master.
    Shut,
}

impl<L: Socket> Entry<L> {
    /// `door` listens by now; `index` is the place of its address.
    pub(in crate::worker) fn new(
        lookout: Arc<Lookout<L>>,
        door: OwnedFd,
        bind: &Bind,
        control: Arc<Control>,
        index: u16,
    ) -> Result<Self> {
        let door = Owned::register(L::from(door), AsFd::as_fd);
        let (at, is_shared) = (bind.at.clone(), bind.shared);
        let [is_turn_of_loans, refuses, done] = [(); 3].map(|()| AtomicBool::new(false));
        let waiting = AtomicUsize::new(0);
        let entry = Self { lookout, door, at, is_shared, control, index, is_turn_of_loans, waiting, refuses, done };
        let watched = entry.lookout.watch(&entry.door);
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
            self.lookout.pause().fall_silent();
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
        self.return_loans();
        self.control.keep_channel();
        self.control.bare(self.index, kept, self.is_shared);
        Ok(bare)
    }

    /// `accept` has found no room for a connection that waits.
    pub(super) fn is_paused(&self) -> bool {
        self.lookout.pause().is_on()
    }

    /// `accept` says `WouldBlock` for ever.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn accept_by<T>(&self, accept: impl Fn(&L) -> io::Result<T>) -> io::Result<T> {
        self.check_process()?;
        self.control.settle();
        let knew = self.lookout.is_removed();
        let mut more = false;
        while !self.is_done() {
            let leaves = self.lookout.is_removed() || self.control.drains();
            match self.look(&accept)? {
                Found::Guest(connection) => return Ok(connection),
                Found::Nobody if leaves => {
                    self.return_loans();
                    if !self.refuses_newcomers() {
                        self.leave();
                    }
                }
                Found::Shut => self.leave(),
                Found::More => {
                    more = true;
                    break;
                }
                Found::Nobody | Found::NoRoom => break,
            }
        }
        self.control.turn_if_due()?;
        if !knew && self.lookout.is_removed() {
            // It has just heard of it, and nothing else may make the loop turn.
            return self.accept_by(accept);
        }
        if more {
            // Behind that turn, which would have silenced it: an edge-triggered loop hears of nobody who waits already.
            self.control.ring_once();
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// At lent doors if nobody waits at its own, and after each guest from there: those who wait for others need not wait
    /// until this worker is idle.
    fn look<T>(&self, accept: &impl Fn(&L) -> io::Result<T>) -> io::Result<Found<T>> {
        if self.lookout.has_loans() && self.is_turn_of_loans.swap(false, Ordering::Relaxed) {
            match self.adopt(Found::Nobody, accept)? {
                Found::Nobody => {}
                found @ (Found::Guest(_) | Found::More | Found::NoRoom | Found::Shut) => return Ok(found),
            }
        }
        let own = match Look::by(|| accept(&self.door))? {
            Look::Guest(connection) => {
                self.control.seat().accepted_at(self.index);
                self.has_looked();
                self.is_turn_of_loans.store(true, Ordering::Relaxed);
                return Ok(Found::Guest(connection));
            }
            Look::Nobody => {
                self.has_looked();
                Found::Nobody
            }
            Look::Short(why) => return self.pause(&why).map(|()| Found::NoRoom),
            Look::Shut => Found::Shut,
        };
        if self.lookout.has_loans() { self.adopt(own, accept) } else { Ok(own) }
    }

    fn has_looked(&self) {
        self.control.seat().looked(self.index);
        self.resume();
    }

    /// `own`: what there is at its own door.
    fn adopt<T>(&self, own: Found<T>, accept: &impl Fn(&L) -> io::Result<T>) -> io::Result<Found<T>> {
        loop {
            match self.lookout.sweep(accept) {
                Sweep::Short(why) => return self.pause(&why).map(|()| Found::NoRoom),
                Sweep::Lost(loan) => self.control.return_loan(loan),
                Sweep::Guest(connection, slot) => {
                    self.control.seat().adopted_at(slot, self.index);
                    self.control.seat().swept();
                    return Ok(Found::Guest(connection));
                }
                Sweep::Enough => return Ok(Found::More),
                Sweep::Nobody => {
                    self.control.seat().swept();
                    return Ok(own);
                }
            }
        }
    }

    fn pause(&self, why: &io::Error) -> io::Result<()> {
        self.lookout.begin_pause(&self.door, self.control.seat(), &self.at, why)
    }

    /// A pause that cannot be ended goes on, and its timer with it.
    fn resume(&self) {
        if self.is_paused() {
            if let Err(error) = self.lookout.end_pause(&self.door, self.control.seat()) {
                log::warn!(target: TARGET, "watching the listening socket again: {error}");
            }
        }
    }

    /// What was lent is the master's again.
    fn return_loans(&self) {
        self.lookout.end_loans().into_iter().for_each(|loan| self.control.return_loan(loan));
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
        self.return_loans();
        // Out of the loop's sight first: a socket that is shut stays readable.
        let unwatched = self.lookout.stop(&self.door, self.control.seat());
        let shut = unwatched.and_then(|()| if self.shuts() { door::shut(&self.door) } else { Ok(None) });
        if let Err(error) = shut {
            log::warn!(target: TARGET, "shutting the listening socket: {error}");
        }
        self.control.close(self.index);
        // In a drain the bell rings for all of them.
        if self.lookout.is_removed() && self.waiting.load(Ordering::SeqCst) > 0 {
            self.lookout.pause().wake_all();
        }
    }

    fn shuts(&self) -> bool {
        !self.is_shared && (self.lookout.is_removed() || self.control.word.shuts())
    }

    /// Until something is ready. Each thread that waits here is woken in turn, not all of them at once.
    fn wait(&self) -> io::Result<()> {
        let paused = self.is_paused();
        // The bell rings for the program's own loop, or in a drain until all of these threads have left, which a pause
        // puts off. It must go on, so it cannot be waited for here; lent doors are looked at soon enough.
        let ready = if self.control.waits_for_the_program() || paused && self.control.drains() {
            let events = if paused { PollFlags::empty() } else { PollFlags::POLLIN };
            poll(&mut [PollFd::new(self.door.as_fd(), events)], MEANWHILE).map(drop)
        } else {
            self.lookout.wait()
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
        if self.is_paused() {
            self.control.seat().set_paused(false);
        }
        if !self.is_done() {
            self.return_loans();
            self.control.close(self.index);
        }
        self.control.may_not_come_back();
    }
}

impl<L: Socket> AsFd for Entry<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.lookout).as_fd()
    }
}

/// In milliseconds: how often a waiting thread looks whether it may wait for everything again.
const MEANWHILE: u8 = 10;
