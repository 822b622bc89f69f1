//! What the master says: from packets to events.

use std::{mem, os::fd::OwnedFd, sync::atomic::Ordering};

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
    wire::{Frame, PROTOCOL_MAJOR},
};

impl Control {
    pub(super) fn read_all(&self, link: &mut Link) -> Result<()> {
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
        Ok(())
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
            Frame::Drain { within } => {
                self.word.give();
                self.drain(link, within);
            }
            Frame::ReopenLogs => self.note(link, WorkerEvent::ReopenLogs),
            Frame::Message { purpose, bytes } => self.hear_message(link, purpose, bytes, fds, announced),
            Frame::Batch(messages) => self.hear_messages(link, messages),
            Frame::AddressAdded { address, bind } => self.hear_added(link, address, bind, fds),
            Frame::AddressRemoved { address, name } => self.hear_removed(link, address, name),
            // Answers to a request that failed meanwhile, and statements that only a worker makes.
            Frame::Hello { .. } | Frame::Granted { .. } | Frame::Refused { .. } => {}
            Frame::Listen { .. } | Frame::Opened { .. } | Frame::Closed { .. } | Frame::Ready | Frame::Leaving => {}
        }
        Ok(())
    }

    pub(super) fn gone(&self, link: &mut Link) {
        let peer = mem::replace(&mut link.peer, Peer::Gone);
        self.note(link, WorkerEvent::MasterGone);
        self.word.give();
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
