//! What the master says: from packets to events.

use std::{mem, os::fd::OwnedFd, sync::atomic::Ordering};

use nix::{
    errno::Errno,
    sys::epoll::{EpollEvent, EpollFlags, EpollTimeout},
};

use super::{
    boot::TARGET,
    control::Control,
    link::{Link, Peer},
};
use crate::{
    channel::Incoming,
    error::{Error, Kind, Result},
    event::WorkerEvent,
    scoreboard::LAYOUT,
    wire::{Frame, Leave, PROTOCOL_MAJOR},
};

impl Control {
    pub(super) fn read_all(&self, link: &mut Link) -> Result<()> {
        self.consume_wakeup(link)?;
        if let Peer::Master { channel, .. } = &mut link.peer {
            // If the master is gone, what it has said last is still to be read.
            let _ = channel.flush();
            let room = channel.has_room_again();
            self.watch_peer(link)?;
            if room {
                self.note(link, WorkerEvent::Writable);
            }
        }
        while let Peer::Master { .. } = link.peer {
            if Self::is_laden(link) {
                link.is_behind = true;
                break;
            }
            match self.receive(link)? {
                Incoming::Frame(frame, fds, announced) => self.understand(link, frame, fds, announced)?,
                Incoming::Empty => break,
                Incoming::Closed => self.gone(link),
                Incoming::Part => {}
                Incoming::Malformed(malformed) => return Err(unintelligible(&malformed)),
            }
        }
        self.watch_peer(link)
    }

    /// Waits for room in the channel only while something is queued. While it is not read to its end, only what is new
    /// wakes the loop: a level-triggered one would spin, and a drain must still wake it.
    pub(super) fn watch_peer(&self, link: &mut Link) -> Result<()> {
        let Peer::Master { channel, .. } = &link.peer else { return Ok(()) };
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, channel.wants_write());
        flags.set(EpollFlags::EPOLLET, link.is_behind);
        if flags == link.watched {
            return Ok(());
        }
        self.has_queued.store(channel.wants_write(), Ordering::Relaxed);
        let watched = self.poller().modify(channel, &mut EpollEvent::new(flags, 0));
        watched.map_err(|error| Error::system("watching the channel", error))?;
        // The kernel may still count the channel as noticed, since it was read last; then what became possible before
        // this call wakes no edge-triggered loop.
        let in_vain = flags.difference(link.watched).contains(EpollFlags::EPOLLOUT) && channel.is_writable();
        link.watched = flags;
        if in_vain {
            self.ring_once();
        }
        Ok(())
    }

    /// An edge is over when it was waited for. Before the channel is looked at, so that none is missed.
    fn consume_wakeup(&self, link: &Link) -> Result<()> {
        if !link.watched.contains(EpollFlags::EPOLLET) {
            return Ok(());
        }
        // The channel, the bell and the two alarms.
        match self.poller().wait(&mut [EpollEvent::empty(); 4], EpollTimeout::ZERO) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::system("looking at the channel", error)),
        }
    }

    pub(super) fn receive(&self, link: &mut Link) -> Result<Incoming> {
        let incoming = link.receive()?;
        match incoming {
            Incoming::Frame(..) | Incoming::Malformed(_) => {
                self.heard.fetch_add(1, Ordering::Relaxed);
            }
            Incoming::Part | Incoming::Empty | Incoming::Closed => {}
        }
        Ok(incoming)
    }

    pub(super) fn understand(&self, link: &mut Link, frame: Frame, fds: Vec<OwnedFd>, announced: usize) -> Result<()> {
        match frame {
            Frame::Hello { major, layout, .. } if (major, layout) != (PROTOCOL_MAJOR, LAYOUT) => {
                let text = format!(
                    "the master speaks protocol {major}, layout {layout}, this worker {PROTOCOL_MAJOR}, {LAYOUT}: build both from one \
                     version of the library"
                );
                return Err(Error::new(Kind::InvalidConfig, text));
            }
            Frame::Drain { within, leave } => {
                self.word.give(leave);
                self.drain(link, within);
            }
            Frame::ReopenLogs => self.note(link, WorkerEvent::ReopenLogs),
            Frame::Message { purpose, bytes } => self.hear_message(link, purpose, bytes, fds, announced),
            Frame::Batch(messages) => self.hear_messages(link, messages),
            Frame::AddressAdded { address, bind } => self.hear_added(link, address, bind, fds),
            Frame::AddressRemoved { address, name } => self.hear_removed(link, address, name),
            Frame::Lend { loan, slot, address } => self.hear_lent(link, loan, slot, address, fds),
            Frame::TakeBack { loan } => link.listeners().for_each(|listener| listener.take_back(loan)),
            // The frame itself may have been read by a turn whose wait was over already.
            Frame::Look => self.ring_once(),
            // Answers to a request that failed meanwhile, and statements that only a worker makes.
            Frame::Hello { .. } | Frame::Granted { .. } | Frame::Refused { .. } => {}
            Frame::Listen { .. } | Frame::Opened { .. } | Frame::Closed { .. } | Frame::Returned { .. } => {}
            Frame::Ready | Frame::Leaving | Frame::Retires => {}
        }
        Ok(())
    }

    pub(super) fn gone(&self, link: &mut Link) {
        let peer = mem::replace(&mut link.peer, Peer::Gone);
        self.note(link, WorkerEvent::MasterGone);
        self.word.give(Leave::Shut);
        // Nobody is left to work for.
        self.drain(link, self.drain_timeout);
        // A closed channel is readable for ever; and somebody else may have a copy, so dropping it is not enough.
        if let Peer::Master { channel, .. } = peer {
            if let Err(error) = self.poller().delete(&channel) {
                log::debug!(target: TARGET, "forgetting the channel: {error}");
            }
        }
    }
}

pub(super) fn unintelligible(malformed: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::System, format!("the master sent what this version does not understand: {malformed}"))
}
