//! A timerfd: a descriptor that becomes readable after a time.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use super::owned::Owned;

/// On the monotonic clock; off at first.
pub(crate) struct Alarm(Owned<TimerFd>);

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self(Owned::make(|| TimerFd::new(ClockId::CLOCK_MONOTONIC, flags), AsFd::as_fd)?))
    }

    /// Readable `after` that time, or at once for none, and not before, also if it was readable already. Nobody needs
    /// to read it: an edge-triggered loop hears of each time anew.
    pub(crate) fn set(&self, after: Duration) -> io::Result<()> {
        // A timer of 0 would be off.
        let after = TimeSpec::from_duration(after.max(Duration::from_nanos(1)));
        Ok(self.0.set(Expiration::OneShot(after), TimerSetTimeFlags::empty())?)
    }

    /// Not readable any more.
    pub(crate) fn unset(&self) -> io::Result<()> {
        Ok(self.0.unset()?)
    }
}

#[cfg(test)]
impl Alarm {
    pub(crate) fn is_set(&self) -> io::Result<bool> {
        Ok(self.0.get()?.is_some())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable_within(alarm: &Alarm, ms: u16) -> bool {
        let mut fds = [PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(ms)).unwrap() == 1
    }

    #[test]
    fn rings_after_its_time_and_not_when_it_is_unset() {
        let alarm = Alarm::new().unwrap();
        assert!(!is_readable_within(&alarm, 0), "off at first");
        alarm.set(Duration::ZERO).unwrap();
        assert!(is_readable_within(&alarm, 60_000));
        alarm.set(Duration::from_secs(3600)).unwrap();
        assert!(!is_readable_within(&alarm, 0), "a new time, and nobody has read the old one");
        alarm.set(Duration::from_micros(1)).unwrap();
        assert!(is_readable_within(&alarm, 60_000));
        alarm.unset().unwrap();
        assert!(!is_readable_within(&alarm, 0));
    }
}
