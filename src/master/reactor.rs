//! The one descriptor behind which everything is that the master waits for.
//!
//! An epoll with the workers' pidfds and channels, the signalfd if the master owns signals, a timerfd for the next
//! deadline, and an eventfd, the bell, that is readable while events are queued. Level-triggered inside, so nothing is
//! lost if a turn stops early.

use std::{
    cell::Cell,
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
};

use crate::{
    error::{Error, Result},
    id::WorkerId,
    sys::{alarm::Alarm, owned::Owned},
};

pub(super) struct Reactor {
    epoll: Owned<Epoll>,
    alarm: Alarm,
    bell: Owned<EventFd>,
    armed: Option<Instant>,
    rings: Cell<bool>,
}

/// What is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ready {
    Child(WorkerId),
    Channel(WorkerId),
    Signals,
    /// The watch is woken: a worker begins a turn, or somebody waits at a door.
    Stirred,
    /// A deadline has passed, or the bell rings: reason enough for a turn.
    Turn,
}

impl Reactor {
    pub(super) fn new() -> Result<Self> {
        let step = |error: Errno| Error::system("creating the master's epoll and eventfd", error);
        let epoll = || Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        let bell = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let epoll = Owned::make(epoll, |epoll| epoll.0.as_fd()).map_err(step)?;
        let alarm = Alarm::new().map_err(|error| Error::system("creating the master's timerfd", error))?;
        let bell = Owned::make(bell, AsFd::as_fd).map_err(step)?;
        epoll.add(&alarm, EpollEvent::new(EpollFlags::EPOLLIN, Ready::Turn.key())).map_err(step)?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, Ready::Turn.key())).map_err(step)?;
        Ok(Self { epoll, alarm, bell, armed: None, rings: Cell::new(false) })
    }

    pub(super) fn add(&self, fd: impl AsFd, ready: Ready) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, ready.key()))?)
    }

    /// Whether to wait for room to write as well.
    pub(super) fn watch_write(&self, fd: impl AsFd, ready: Ready, write: bool) -> io::Result<()> {
        let flags = if write { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(flags, ready.key()))?)
    }

    pub(super) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// What is ready now; never blocks.
    pub(super) fn ready(&self) -> Result<Vec<Ready>> {
        self.poll(EpollTimeout::ZERO)
    }

    /// Blocks until something is ready, a signal handler ran, or the time is over.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Ready>> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            // Rounded up: a wait that ends too early would be followed by many short ones.
            Some(timeout) => {
                let whole = i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
                EpollTimeout::try_from(whole).unwrap_or(EpollTimeout::MAX)
            }
        };
        self.poll(timeout)
    }

    /// Makes the descriptor readable at `deadline`.
    pub(super) fn arm(&mut self, deadline: Option<Instant>, now: Instant) -> Result<()> {
        if deadline == self.armed {
            return Ok(());
        }
        let set = match deadline {
            Some(deadline) => self.alarm.set(deadline.saturating_duration_since(now)),
            None => self.alarm.unset(),
        };
        set.map_err(|error| Error::system("setting the master's timer", error))?;
        self.armed = deadline;
        Ok(())
    }

    /// The deadline has passed for longer than a turn is late that waits for its CPU.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.armed.is_some_and(|deadline| now.saturating_duration_since(deadline) >= LATE)
    }

    /// Makes the descriptor readable, or no longer so, for queued events.
    pub(super) fn ring(&self, on: bool) -> Result<()> {
        if on == self.rings.get() {
            return Ok(());
        }
        let done = if on { self.bell.write(1).map(drop) } else { self.bell.read().map(drop) };
        match done {
            Ok(()) | Err(Errno::EAGAIN) => {}
            Err(error) => return Err(Error::system("ringing the master's eventfd", error)),
        }
        self.rings.set(on);
        Ok(())
    }

    /// Makes the descriptor readable once more, which an edge-triggered loop notices.
    pub(super) fn poke(&self) {
        // It fails only if the counter is full, and then the descriptor is readable.
        let _ = self.bell.write(1);
        self.rings.set(true);
    }

    fn poll(&self, timeout: EpollTimeout) -> Result<Vec<Ready>> {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(Error::system("waiting in the master's epoll", error)),
        };
        Ok(events[..count].iter().map(|event| Ready::from_key(event.data())).collect())
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Ready {
    /// Worker ids begin at 1 and never come to their end, so the two lowest keys and the highest are free.
    fn key(self) -> u64 {
        match self {
            Ready::Turn => 0,
            Ready::Signals => 1,
            Ready::Stirred => u64::MAX,
            Ready::Child(id) => id.as_u64() << 1,
            Ready::Channel(id) => (id.as_u64() << 1) | 1,
        }
    }

    fn from_key(key: u64) -> Self {
        match key {
            0 => Ready::Turn,
            1 => Ready::Signals,
            u64::MAX => Ready::Stirred,
            child if child & 1 == 0 => Ready::Child(WorkerId::from_raw(child >> 1)),
            channel => Ready::Channel(WorkerId::from_raw(channel >> 1)),
        }
    }
}

/// Some time slices of others.
const LATE: Duration = Duration::from_millis(100);

/// Per turn; the rest comes with the next one.
const BATCH: usize = 64;
