//! What a listener does when the process or the machine has no room for one connection more.
//!
//! The connection stays in the queue. Its socket would be readable all the time and make the loop spin, so the inner
//! epoll stops watching it, and those that are lent to the listener, and a timer makes the loop turn, and try again, a
//! little later.
//!
//! Races: threads that accept at once begin and end a pause under one lock, which is held as well when a socket is lent
//! or taken back, so they are watched if and only if no pause is on. One thread may find the socket shut, and the last
//! pause over, while another one still runs out of descriptors: nothing begins after that.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::epoll::{Epoll, EpollEvent, EpollFlags},
};

use crate::{
    error::{Error, Result},
    event::Endpoint,
    scoreboard::Seat,
    sys::alarm::Alarm,
    worker::boot::TARGET,
};

pub(super) use crate::sys::shortage::is_shortage;

pub(super) struct Pause {
    alarm: Alarm,
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it was last said.
    said: Option<Instant>,
    /// The socket is out of the epoll for good.
    over: bool,
}

impl Pause {
    /// Made beforehand: when it is needed there may be no descriptor left for it.
    pub(super) fn new(poller: &Epoll) -> Result<Self> {
        let step = |error| Error::system("creating the listener's timer", error);
        let alarm = Alarm::new().map_err(step)?;
        poller.add(&alarm, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(|error| step(error.into()))?;
        Ok(Self { alarm, on: AtomicBool::new(false), state: Mutex::default() })
    }

    /// One relaxed load.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// One more socket, looked at unless a pause is on.
    pub(super) fn watch(&self, poller: &Epoll, door: BorrowedFd<'_>) -> io::Result<()> {
        let _state = self.state();
        if self.is_on() { Ok(()) } else { add(poller, door) }
    }

    /// One less.
    pub(super) fn unwatch(&self, poller: &Epoll, door: BorrowedFd<'_>) -> io::Result<()> {
        let _state = self.state();
        delete(poller, door)
    }

    /// For `LENGTH` from now, also if a pause is on already. `doors`: all that are watched. `at` and `why` are for the
    /// log.
    pub(super) fn begin<'a>(
        &self,
        poller: &Epoll,
        mut doors: impl Iterator<Item = BorrowedFd<'a>>,
        whose: &Seat,
        at: &Endpoint,
        why: &io::Error,
    ) -> io::Result<()> {
        let mut state = self.state();
        if state.over {
            return Ok(());
        }
        self.alarm.set(LENGTH)?;
        whose.set_paused(true);
        if !self.on.swap(true, Ordering::Relaxed) {
            doors.try_for_each(|door| delete(poller, door))?;
        }
        if state.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            state.said = Some(Instant::now());
            log::warn!(
                target: TARGET,
                "{whose} pauses accepting at {at}: {why}; clients wait and are tried again every {LENGTH:?}; if this is no \
                 passing peak, {}",
                advice(why)
            );
        }
        Ok(())
    }

    /// There is room again, or nobody waits.
    pub(super) fn end<'a>(
        &self,
        poller: &Epoll,
        mut doors: impl Iterator<Item = BorrowedFd<'a>>,
        whose: &Seat,
    ) -> io::Result<()> {
        let _state = self.state();
        if self.is_on() {
            doors.try_for_each(|door| add(poller, door))?;
            self.alarm.unset()?;
            self.on.store(false, Ordering::Relaxed);
            whose.set_paused(false);
        }
        Ok(())
    }

    /// The socket is shut: nothing is watched any more, paused or not.
    pub(super) fn stop(&self, poller: &Epoll, door: BorrowedFd<'_>, whose: &Seat) -> io::Result<()> {
        let mut state = self.state();
        state.over = true;
        if self.on.swap(false, Ordering::Relaxed) {
            whose.set_paused(false);
        }
        self.alarm.unset()?;
        delete(poller, door)
    }

    /// All threads that wait, and all that begin to before the last one has left.
    pub(super) fn wake_all(&self) {
        if let Err(error) = self.alarm.set(AT_ONCE) {
            log::warn!(target: TARGET, "waking the threads at a listener: {error}");
        }
    }

    /// Nobody waits any more: a level-triggered loop would spin.
    pub(super) fn fall_silent(&self) {
        if let Err(error) = self.alarm.unset() {
            log::warn!(target: TARGET, "stopping a listener's timer: {error}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever has failed under the lock is set right by the next pause.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Again, perhaps: what has failed half-way is repeated.
fn add(poller: &Epoll, door: BorrowedFd<'_>) -> io::Result<()> {
    match poller.add(door, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Not only its events: a socket that is shut would go on saying so.
fn delete(poller: &Epoll, door: BorrowedFd<'_>) -> io::Result<()> {
    match poller.delete(door) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn advice(why: &io::Error) -> &'static str {
    match why.raw_os_error() {
        Some(libc::EMFILE) => "raise the limit (`ulimit -n`), or add workers",
        Some(libc::ENFILE) => "raise the machine's limit (`sysctl fs.file-max`)",
        _memory => "the machine needs more memory, or fewer connections",
    }
}

/// A client does not notice it, and 20 tries a second are no load.
const LENGTH: Duration = Duration::from_millis(50);

/// No time is no alarm.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// A lasting shortage must not fill the log.
const SAID_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd};

    use nix::sys::epoll::{EpollCreateFlags, EpollTimeout};

    use super::*;
    use crate::id::{Slot, WorkerId};

    /// A thread that ran out of descriptors while another one has left.
    #[test]
    fn no_pause_begins_at_a_socket_that_is_shut() {
        let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let seat = Seat::alone(Slot::from_index(0), WorkerId::FIRST, 1).unwrap();
        let (at, shortage) = (door.local_addr().unwrap().into(), io::Error::from_raw_os_error(libc::EMFILE));
        let pause = Pause::new(&epoll).unwrap();
        let (doors, armed) = (|| [door.as_fd()].into_iter(), || pause.alarm.is_set().unwrap());
        pause.watch(&epoll, door.as_fd()).unwrap();
        pause.begin(&epoll, doors(), &seat, &at, &shortage).unwrap();
        assert!(pause.is_on() && armed() && seat.pulse().paused);
        pause.stop(&epoll, door.as_fd(), &seat).unwrap();
        pause.begin(&epoll, doors(), &seat, &at, &shortage).unwrap();
        pause.end(&epoll, doors(), &seat).unwrap();
        assert!(!pause.is_on() && !armed(), "nobody would stop the timer, and a level-triggered loop would spin");
        assert!(!seat.pulse().paused);
        assert_eq!(epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO).unwrap(), 0);
    }
}
