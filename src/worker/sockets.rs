//! The control's share in opening and closing listening sockets.

use std::{
    io::ErrorKind,
    os::fd::{AsFd, OwnedFd},
    sync::Weak,
    time::Instant,
};

use super::{
    boot::TARGET,
    control::Control,
    hearing::unintelligible,
    link::{Link, Peer, gone},
    listener::{bare::Bare, lookout::Borrower},
    places::{Change, Open},
};
use crate::{
    channel::Incoming,
    config::Bind,
    error::{Error, Kind, Result},
    net::door,
    sys::owned::Owned,
    wire::Frame,
};

enum Answer {
    /// With the socket of the slot that listens in place of this one.
    Granted(Option<OwnedFd>),
    /// The descriptor did not arrive.
    Lost,
}

impl Control {
    /// Opens the bound socket for connections: hands it to the master and waits for the go-ahead, unless sockets are
    /// the worker's own affair.
    ///
    /// Returns the socket to accept on.
    pub(super) fn open(&self, index: u16, bind: &Bind, door: Owned, listener: Weak<dyn Borrower>) -> Result<Owned> {
        let mut link = self.link();
        if link.open.iter().any(|open| open.address == index) {
            let text = format!("this worker listens on {} already; drop that listener first", bind.at);
            return Err(Error::new(Kind::InvalidConfig, text));
        }
        if link.changes.iter().any(|change| matches!(change, Change::Removed(place) if *place == index)) {
            return Err(Error::new(Kind::System, format!("listening on {}: the address was removed", bind.at)));
        }
        let result = match &link.peer {
            // It listens already.
            Peer::Master { .. } | Peer::Nobody { .. } if bind.shared => {
                self.tell(&mut link, &Frame::Opened { address: index }).map(|()| door)
            }
            Peer::Master { custody: true, .. } => self.request(&mut link, index, bind, door),
            Peer::Master { custody: false, .. } | Peer::Nobody { .. } => {
                let opened = door::open(bind, &door);
                opened.and_then(|()| self.tell(&mut link, &Frame::Opened { address: index })).map(|()| door)
            }
            Peer::Gone => Err(gone("handing over a socket")),
        };
        self.note_drain(&mut link);
        let door = result?;
        link.open.push(Open { address: index, listener });
        self.seat().listens_at(index);
        self.opened();
        Ok(door)
    }

    /// The listener is gone.
    pub(super) fn close(&self, index: u16) {
        self.tell_closed(&mut self.link(), index);
    }

    /// The program has taken the socket out of its listener; `socket` is a duplicate.
    pub(super) fn bare(&self, address: u16, socket: Owned, is_shared: bool) {
        let mut link = self.link();
        let is_removed =
            link.changes.iter().any(|change| matches!(change, Change::Removed(place) if *place == address));
        let since = is_removed.then(Instant::now);
        self.seat().looks_untold(address);
        link.bare.add(Bare { address, socket, is_shared, is_removed, since });
        self.note_drain(&mut link);
    }

    pub(super) fn tell_closed(&self, link: &mut Link, index: u16) {
        link.open.retain(|open| open.address != index);
        self.seat().leaves(index);
        // If the master cannot be told it is gone or busy; either way the socket is closed and the kernel knows.
        if let Err(error) = self.tell(link, &Frame::Closed { address: index }) {
            log::debug!(target: TARGET, "telling the master of a closed listener: {error}");
        }
    }

    fn request(&self, link: &mut Link, index: u16, bind: &Bind, door: Owned) -> Result<Owned> {
        for _ in 0..LISTEN_TRIES {
            let frame = Frame::Listen { address: index };
            while let Err(error) = link.master()?.send(&frame, &[door.as_fd()]) {
                if error.kind() != ErrorKind::WouldBlock {
                    return Err(Error::system(format!("handing the socket for {} to the master", bind.at), error));
                }
                // Behind what the program has sent before.
                self.hear_one(link, "waiting for room in the channel")?;
            }
            let answer = self.answer(link, index, bind)?;
            self.watch_peer(link)?;
            match answer {
                Answer::Granted(other) => return Ok(other.map_or(door, Owned::new)),
                Answer::Lost => {}
            }
        }
        let text = format!(
            "listening on {}: the master could not take the socket, it is out of descriptors (`ulimit -n`)",
            bind.at
        );
        Err(Error::new(Kind::System, text))
    }

    fn answer(&self, link: &mut Link, index: u16, bind: &Bind) -> Result<Answer> {
        loop {
            match self.hear_one(link, "waiting for the master's go-ahead")? {
                Some((Frame::Granted { address }, fds, announced)) if address == index => {
                    if fds.len() < announced {
                        self.tell_closed(link, index);
                        let text = "the slot's socket did not arrive, this worker is out of descriptors (`ulimit -n`)";
                        return Err(Error::new(Kind::System, format!("listening on {}: {text}", bind.at)));
                    }
                    return Ok(Answer::Granted(fds.into_iter().next()));
                }
                Some((Frame::Refused { address, lost: true, .. }, ..)) if address == index => return Ok(Answer::Lost),
                Some((Frame::Refused { address, reason, .. }, ..)) if address == index => {
                    return Err(Error::new(Kind::System, reason));
                }
                Some(_) | None => {}
            }
        }
    }

    /// Reads one packet, or waits until there is one, or room for what is to be sent. Some: an answer, perhaps to an
    /// earlier request.
    fn hear_one(&self, link: &mut Link, step: &str) -> Result<Option<(Frame, Vec<OwnedFd>, usize)>> {
        match self.receive(link)? {
            Incoming::Frame(frame @ (Frame::Granted { .. } | Frame::Refused { .. }), fds, announced) => {
                return Ok(Some((frame, fds, announced)));
            }
            Incoming::Frame(frame, fds, announced) => self.understand(link, frame, fds, announced)?,
            Incoming::Empty => link.wait()?,
            Incoming::Closed => {
                self.gone(link);
                return Err(gone(step));
            }
            Incoming::Part => {}
            Incoming::Malformed(malformed) => return Err(unintelligible(&malformed)),
        }
        Ok(None)
    }
}

/// A descriptor is lost when the master is out of descriptors for a moment; if it happens again the state lasts.
const LISTEN_TRIES: usize = 3;
