//! The master's handles on its worker processes.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use socket2::SockRef;

use super::{TARGET, addresses::News, recycling::Gauge};
use crate::{
    channel::Channel,
    event::{ExitStatus, WorkerRef},
    id::{Signal, Slot, WorkerId},
    scoreboard::Seat,
    sys::{owned::Owned, pidfd::PidFd, reap},
    wire::Frame,
};

/// All children, by id.
pub(super) type Crew = BTreeMap<WorkerId, Child>;

pub(super) struct Child {
    slot: Slot,
    pid: u32,
    pidfd: PidFd,
    seat: Seat,
    /// `None` once the worker has closed its end.
    pub(super) channel: Option<Channel>,
    /// Its channel is watched for room, too.
    pub(super) awaits_room: bool,
    /// It has sent something that is no frame; said once.
    pub(super) garbles: bool,
    /// How long it was told that it may take to finish.
    pub(super) within: Option<Duration>,
    /// It has said that it leaves.
    pub(super) leaves: bool,
    /// What it has yet to be told of addresses.
    pub(super) news: VecDeque<News>,
    /// Against its limits; missing until the supervisor knows it.
    pub(super) gauge: Option<Gauge>,
}

impl Child {
    pub(super) fn new(slot: Slot, pid: u32, pidfd: PidFd, channel: Channel, seat: Seat) -> Self {
        Self {
            slot,
            pid,
            pidfd,
            seat,
            channel: Some(channel),
            awaits_room: false,
            garbles: false,
            within: None,
            leaves: false,
            news: VecDeque::new(),
            gauge: None,
        }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(super) fn into_seat(self) -> Seat {
        self.seat
    }

    /// **Errors**: the worker has closed its end, or reads nothing and its queue is full.
    pub(super) fn send(&mut self, frame: &Frame, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(channel) = &mut self.channel else { return Err(io::ErrorKind::BrokenPipe.into()) };
        channel.send(frame, descriptors)
    }

    /// Its socket listens; or `other` does in its place.
    pub(super) fn grant(&mut self, address: u16, other: Option<&Owned>) -> io::Result<()> {
        let frame = Frame::Granted { address };
        match other {
            Some(other) => {
                // Whoever has it may have made it a blocking one, and that is shared by all duplicates.
                SockRef::from(other).set_nonblocking(true)?;
                self.send(&frame, &[other.as_fd()])
            }
            None => self.send(&frame, &[]),
        }
    }

    pub(super) fn worker(&self, id: WorkerId) -> WorkerRef {
        WorkerRef { slot: self.slot, id, pid: self.pid }
    }

    /// It does not read what it is sent.
    pub(super) fn is_stuck(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::is_stuck)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.pidfd.send_signal(signal.as_raw())
    }

    /// `None` while it lives.
    pub(super) fn reap(&self) -> io::Result<Option<ExitStatus>> {
        reap::reap(self.pid, &self.pidfd)
    }

    /// Kills and waits: the end of a master that is dropped.
    pub(super) fn kill_and_reap(&self) {
        match self.signal(Signal::KILL) {
            // Not killed because this process has changed its user: waiting could take for ever.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => {
                log::error!(target: TARGET, "killing pid {}: {error}; it is left to itself", self.pid);
            }
            // Any other error: it has ended already.
            Ok(()) | Err(_) => drop(reap::reap_blocking(self.pid, &self.pidfd)),
        }
    }
}
