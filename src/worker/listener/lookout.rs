//! What a listener shares with the worker's link: what makes the program's loop turn.
//!
//! The link hears, on whatever thread, of doors that the master lends and takes back, and of the end of the address.
//!
//! A lent door is that of another slot, at the same address: somebody waits there, and nobody accepts at present. It is
//! watched beside the listener's own door, and `accept` looks into both queues in turn. It goes
//! back when the master says so, when it turns out to be shut, and when this listener leaves, after a last look into
//! its queue.
//!
//! Races: a door is taken back while a thread accepts there, so the list is locked for each look, which never blocks. A
//! door is lent while the listener leaves: a list that is over takes none, and the master lends it to somebody else.
//! Locks are taken in this order: link, loans, pause.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::{entry::Socket, look::Look, pause::Pause};
use crate::{
    error::{Error, Result},
    event::Endpoint,
    id::Slot,
    scoreboard::Seat,
    sys::owned::Owned,
    worker::{boot::TARGET, control::Control},
};

pub(in crate::worker) struct Lookout<L> {
    /// The door, lent ones, the control descriptor and the pause's timer.
    poller: Owned<Epoll>,
    pause: Pause,
    /// Its address is no more.
    is_removed: AtomicBool,
    /// How many doors are lent; changed under the lock of `loans`.
    lent: AtomicUsize,
    loans: Mutex<Loans<L>>,
}

struct Loans<L> {
    doors: Vec<Loan<L>>,
    /// The place of the door to look at next.
    next: usize,
    /// Guests since a look has found nobody.
    guests: usize,
    /// No more are taken.
    over: bool,
}

struct Loan<L> {
    number: u32,
    slot: Slot,
    door: Owned<L>,
}

/// A live listener, as the link knows it.
pub(in crate::worker) trait Borrower: Send + Sync {
    /// Its address is no more.
    fn remove(&self);

    /// From now on it accepts at this door of the slot, too. False: it does not.
    fn lend(&self, loan: u32, slot: Slot, door: OwnedFd) -> bool;

    /// It has such a loan no more.
    fn take_back(&self, loan: u32);
}

/// What a look at the lent doors has led to.
pub(super) enum Sweep<T> {
    /// Who waited for this slot.
    Guest(T, Slot),
    Nobody,
    /// So many were accepted that it is the own door's turn; there may be more.
    Enough,
    Short(io::Error),
    /// This loan is of no use.
    Lost(u32),
}

impl<L: Socket> Lookout<L> {
    /// All that can fail for want of descriptors, before the master is asked. `borrows`: whether doors can be lent to
    /// it.
    pub(in crate::worker) fn new(control: &Control, borrows: bool) -> Result<Self> {
        let step = |error: Errno| Error::system("creating the listener's epoll", error);
        let poller = Owned::make(|| Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC), |epoll| epoll.0.as_fd());
        let poller = poller.map_err(step)?;
        poller.add(control, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        let pause = Pause::new(&poller)?;
        let loans = Mutex::new(Loans { doors: Vec::new(), next: 0, guests: 0, over: !borrows });
        Ok(Self { poller, pause, is_removed: AtomicBool::new(false), lent: AtomicUsize::new(0), loans })
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    pub(super) fn pause(&self) -> &Pause {
        &self.pause
    }

    pub(super) fn watch(&self, own: &Owned<L>) -> io::Result<()> {
        self.pause.watch(&self.poller, own.as_fd())
    }

    pub(super) fn wait(&self) -> nix::Result<()> {
        self.poller.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE).map(drop)
    }

    /// No door is watched for a while.
    pub(super) fn begin_pause(&self, own: &Owned<L>, whose: &Seat, at: &Endpoint, why: &io::Error) -> io::Result<()> {
        let loans = self.loans();
        self.pause.begin(&self.poller, loans.and(own), whose, at, why)
    }

    pub(super) fn end_pause(&self, own: &Owned<L>, whose: &Seat) -> io::Result<()> {
        let loans = self.loans();
        self.pause.end(&self.poller, loans.and(own), whose)
    }

    /// Its own door is watched no more, whatever happens.
    pub(super) fn stop(&self, own: &Owned<L>, whose: &Seat) -> io::Result<()> {
        self.pause.stop(&self.poller, own.as_fd(), whose)
    }

    /// One relaxed load.
    pub(super) fn has_loans(&self) -> bool {
        self.lent.load(Ordering::Relaxed) > 0
    }

    /// Looks into the queues of the lent doors, each of which is the first in its turn.
    pub(super) fn sweep<T>(&self, accept: impl Fn(&L) -> io::Result<T>) -> Sweep<T> {
        let mut loans = self.loans();
        if loans.guests == GUESTS {
            loans.guests = 0;
            return Sweep::Enough;
        }
        for _ in 0..loans.doors.len() {
            let place = loans.next % loans.doors.len();
            let Loan { number, slot, ref door } = loans.doors[place];
            match Look::by(|| accept(door)) {
                Ok(Look::Guest(guest)) => {
                    (loans.next, loans.guests) = (place + 1, loans.guests + 1);
                    return Sweep::Guest(guest, slot);
                }
                Ok(Look::Nobody) => loans.next = place + 1,
                Ok(Look::Short(why)) => return Sweep::Short(why),
                Ok(Look::Shut) => {
                    self.remove(&mut loans, place);
                    return Sweep::Lost(number);
                }
                Err(error) => {
                    log::debug!(target: TARGET, "accepting for slot {slot}: {error}");
                    self.remove(&mut loans, place);
                    return Sweep::Lost(number);
                }
            }
        }
        loans.guests = 0;
        Sweep::Nobody
    }

    /// Nothing is lent any more, and nothing will be. Returns what was.
    pub(super) fn end_loans(&self) -> Vec<u32> {
        let mut loans = self.loans();
        loans.over = true;
        let numbers = loans.doors.iter().map(|loan| loan.number).collect();
        while !loans.doors.is_empty() {
            self.remove(&mut loans, 0);
        }
        numbers
    }

    fn remove(&self, loans: &mut Loans<L>, place: usize) {
        let loan = loans.doors.remove(place);
        // First, as other descriptors of the socket keep it open.
        if let Err(error) = self.pause.unwatch(&self.poller, loan.door.as_fd()) {
            log::warn!(target: TARGET, "forgetting a door of slot {}: {error}", loan.slot);
        }
        self.lent.store(loans.doors.len(), Ordering::Relaxed);
    }

    fn loans(&self) -> MutexGuard<'_, Loans<L>> {
        // Nothing that panics leaves the list half changed.
        self.loans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Loans<L> {
    /// All that is watched.
    fn and<'a>(&'a self, own: &'a Owned<L>) -> impl Iterator<Item = BorrowedFd<'a>> {
        [own].into_iter().chain(self.doors.iter().map(|loan| &loan.door)).map(|door| door.as_fd())
    }
}

impl<L: Socket> Borrower for Lookout<L> {
    fn remove(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    fn lend(&self, number: u32, slot: Slot, door: OwnedFd) -> bool {
        let mut loans = self.loans();
        if loans.over || !is_nonblocking(&door) {
            return false;
        }
        let door = Owned::register(L::from(Owned::new(door).into_inner()), AsFd::as_fd);
        if let Err(error) = self.pause.watch(&self.poller, door.as_fd()) {
            log::debug!(target: TARGET, "watching a door of slot {slot}: {error}");
            return false;
        }
        loans.doors.push(Loan { number, slot, door });
        self.lent.store(loans.doors.len(), Ordering::Relaxed);
        true
    }

    fn take_back(&self, number: u32) {
        let mut loans = self.loans();
        if let Some(place) = loans.doors.iter().position(|loan| loan.number == number) {
            self.remove(&mut loans, place);
        }
    }
}

impl<L> AsFd for Lookout<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// All who have the socket share that; a program may have made it a blocking one, and `accept` would hang here.
fn is_nonblocking(door: &OwnedFd) -> bool {
    fcntl(door, FcntlArg::F_GETFL).is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
}

/// Per turn of the loop, for those at the own door, and who is open already, wait meanwhile.
const GUESTS: usize = 64;
