//! What a listener does when the process or the machine has no room for one connection more.
//!
//! The connection stays in the queue. Its socket would be readable all the time and make the loop spin, so the inner
//! epoll stops watching it, and a timer makes the loop turn, and try again, a little later.
//!
//! Races: threads that accept at once begin and end a pause under one lock, so the socket is watched if and only if no
//! pause is on.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        epoll::{Epoll, EpollEvent, EpollFlags},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

use crate::{
    error::{Error, Result},
    scoreboard::Seat,
    sys::owned::Owned,
    worker::boot::TARGET,
};

pub(super) struct Pause {
    timer: Owned<TimerFd>,
    on: AtomicBool,
    /// When it was last said.
    said: Mutex<Option<Instant>>,
}

impl Pause {
    /// Made beforehand: when it is needed there may be no descriptor left for it.
    pub(super) fn new(poller: &Epoll) -> Result<Self> {
        let step = |error: Errno| Error::system("creating the listener's timer", error);
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = Owned::make(|| TimerFd::new(ClockId::CLOCK_MONOTONIC, flags), AsFd::as_fd).map_err(step)?;
        poller.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        Ok(Self { timer, on: AtomicBool::new(false), said: Mutex::new(None) })
    }

    /// One relaxed load.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// For `LENGTH` from now, also if a pause is on already.
    /// `whose`, `at` and `why` are for the log.
    pub(super) fn begin(
        &self,
        poller: &Epoll,
        door: impl AsFd,
        whose: &Seat,
        at: &SocketAddr,
        why: &io::Error,
    ) -> io::Result<()> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // Setting the timer also unsets that it has expired.
        self.timer.set(Expiration::OneShot(TimeSpec::from_duration(LENGTH)), TimerSetTimeFlags::empty())?;
        if !self.on.swap(true, Ordering::Relaxed) {
            poller.modify(door, &mut EpollEvent::new(EpollFlags::empty(), 0))?;
        }
        if said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            *said = Some(Instant::now());
            log::warn!(
                target: TARGET,
                "{whose} pauses accepting at {at}: {why}; clients wait and are tried again every {LENGTH:?}; raise the limit \
                 (`ulimit -n`), or add workers, if this is not a passing peak"
            );
        }
        Ok(())
    }

    /// There is room again, or nobody waits.
    pub(super) fn end(&self, poller: &Epoll, door: impl AsFd) -> io::Result<()> {
        let _said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if self.on.swap(false, Ordering::Relaxed) {
            self.timer.unset()?;
            poller.modify(door, &mut EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        Ok(())
    }
}

/// Errors that leave the connection in the queue and pass when something is given back.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|number| SHORTAGES.contains(&number))
}

/// A client does not notice it, and 20 tries a second are no load.
const LENGTH: Duration = Duration::from_millis(50);

/// A lasting shortage must not fill the log.
const SAID_EVERY: Duration = Duration::from_secs(60);
