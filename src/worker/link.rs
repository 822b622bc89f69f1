//! What a worker shares with its listeners: the peer at the other end, and what it has said.
//!
//! Everything here is used under the lock of [`Control`](super::control::Control).

use std::{collections::VecDeque, os::fd::AsFd, sync::Arc, time::Duration};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::epoll::EpollFlags,
};

use super::{
    listener::{bare::BareSockets, lookout::Borrower},
    places::{Change, Open},
};
use crate::{
    channel::{Buffer, Channel, Incoming},
    error::{Error, Kind, Result},
    event::WorkerEvent,
    net::Ports,
    sys::alarm::Alarm,
};

pub(super) struct Link {
    pub(super) peer: Peer,
    buffer: Buffer,
    pub(super) events: VecDeque<WorkerEvent>,
    /// The weight of the messages among them.
    pub(super) laden: usize,
    /// Whoever reads takes the events at once, or is reminded before it sleeps.
    pub(super) reader_looks: bool,
    /// There is more to read, which waits until the program has taken these.
    pub(super) is_behind: bool,
    /// What the channel is watched for.
    pub(super) watched: EpollFlags,
    /// For messages that are held; made when the first one is.
    pub(super) alarm: Option<Alarm>,
    /// The shortest time to finish that the program was told.
    pub(super) within: Option<Duration>,
    /// For the master's word, while it is waited for.
    pub(super) word_alarm: Option<Alarm>,
    /// Addresses where this worker listens.
    pub(super) open: Vec<Open>,
    /// Of the addresses.
    pub(super) changes: Vec<Change>,
    pub(super) bare: BareSockets,
}

/// Who is at the other end.
pub(super) enum Peer {
    Master {
        channel: Channel,
        /// It keeps duplicates of the worker's sockets.
        custody: bool,
    },
    /// Its end of the channel is closed.
    Gone,
    /// There never was a master: the worker keeps the claims itself.
    Nobody { claims: Ports },
}

impl Link {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            buffer: Buffer::default(),
            events: VecDeque::new(),
            laden: 0,
            reader_looks: false,
            is_behind: false,
            watched: EpollFlags::EPOLLIN,
            alarm: None,
            within: None,
            word_alarm: None,
            open: Vec::new(),
            changes: Vec::new(),
            bare: BareSockets::default(),
        }
    }

    /// Those that live.
    pub(super) fn listeners(&self) -> impl Iterator<Item = Arc<dyn Borrower>> {
        self.open.iter().filter_map(|open| open.listener.upgrade())
    }

    /// The one at this address.
    pub(super) fn listener(&self, address: u16) -> Option<Arc<dyn Borrower>> {
        self.open.iter().find(|open| open.address == address)?.listener.upgrade()
    }

    /// **Errors**: there is none, or no longer.
    pub(super) fn master(&mut self) -> Result<&mut Channel> {
        match &mut self.peer {
            Peer::Master { channel, .. } => Ok(channel),
            Peer::Gone | Peer::Nobody { .. } => Err(gone("speaking to the master")),
        }
    }

    /// One packet; never blocks. Without a master there is none.
    pub(super) fn receive(&mut self) -> Result<Incoming> {
        match &mut self.peer {
            Peer::Master { channel, .. } => channel.recv(&mut self.buffer),
            Peer::Gone | Peer::Nobody { .. } => Ok(Incoming::Closed),
        }
    }

    /// The drain begins. Without a master nobody else shuts a Unix socket.
    pub(super) fn refuse(&self) {
        match &self.peer {
            Peer::Nobody { claims } => claims.refuse(),
            Peer::Master { .. } | Peer::Gone => {}
        }
    }

    /// For a packet of the master, and meanwhile sends what is queued.
    pub(super) fn wait(&mut self) -> Result<()> {
        let channel = self.master()?;
        channel.flush().map_err(|error| Error::system("telling the master", error))?;
        let write = if channel.wants_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN | write)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::system("waiting for the master", error)),
        }
    }
}

pub(super) fn gone(step: &str) -> Error {
    Error::new(Kind::Gone, format!("{step}: the master is gone"))
}
