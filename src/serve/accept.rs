//! The worker's doors: accepts a bounded number per turn, stops while the worker is full, and tells clients that have
//! waited too long for a descriptor that they should go elsewhere.

use std::{
    fs::File,
    io::{self, Read},
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use mio::{Interest, Registry, net::TcpStream, unix::SourceFd};

use super::{table::Target, turn::Hub};
use crate::{
    error::{Error, Result},
    event::WorkerEvent,
    scoreboard::{Reason, Row},
    worker::{Listener, UnixListener, Worker, boot::TARGET},
};

pub(super) struct Doors {
    doors: Vec<Door>,
    /// Given up for a moment so that a client can be turned away when there is no other descriptor.
    reserve: Option<File>,
    /// In milliseconds; `None`: nobody is turned away.
    shed_after: Option<u64>,
    /// The place of the door behind the one that somebody has come by last.
    next: usize,
}

struct Door {
    listener: AnyListener,
    address: u16,
    /// Clients have sent something before they are accepted.
    is_deferred: bool,
    queue: Queue,
    /// There is no descriptor for those who wait: when the next of them is turned away, in the clock's milliseconds.
    sheds_at: Option<u64>,
}

enum AnyListener {
    Ip(Listener),
    Unix(UnixListener),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queue {
    /// An event will tell.
    Empty,
    /// There may be more.
    Waiting,
    /// It was shut: the worker drains and nobody waits.
    Gone,
}

/// Who was accepted.
pub(super) struct Guest {
    pub(super) stream: TcpStream,
    /// `None`: it came to a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) address: u16,
    /// Its first bytes are there.
    pub(super) is_deferred: bool,
    /// To be turned away.
    pub(super) is_shed: bool,
}

impl Doors {
    /// At all addresses of the cluster.
    pub(super) fn open(worker: &mut Worker, registry: &Registry, shed_after: Option<u64>) -> Result<Self> {
        let mut doors = Vec::new();
        for (address, name) in worker.names() {
            match Door::open(worker, &name, address, registry) {
                Ok(door) => doors.push(door),
                // Removed while this worker was on its way there.
                Err(_) if !worker.has_address(address) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { doors, reserve: reserve(), shed_after, next: 0 })
    }

    /// The worker has heard of an address: opens a door there, or looks for the end of its queue.
    pub(super) fn follow(&mut self, worker: &mut Worker, hub: &mut Hub, event: &WorkerEvent) {
        match event {
            WorkerEvent::AddressAdded(name) if hub.draining_since.is_none() => self.add(worker, hub, name),
            WorkerEvent::AddressRemoved(_) => self.knock_all(),
            WorkerEvent::AddressAdded(_) | WorkerEvent::Drain { .. } | WorkerEvent::MasterGone => {}
            WorkerEvent::Message(_) | WorkerEvent::Writable | WorkerEvent::ReopenLogs => {}
        }
    }

    /// The others go on if this one cannot be opened.
    fn add(&mut self, worker: &mut Worker, hub: &mut Hub, name: &str) {
        let Some((address, _)) = worker.names().into_iter().find(|(_, other)| other == name) else { return };
        if self.doors.iter().any(|door| door.address == address) {
            return;
        }
        hub.know(address, name);
        match Door::open(worker, name, address, hub.poll.registry()) {
            Ok(door) => self.doors.push(door),
            Err(_) if !worker.has_address(address) => {}
            Err(error) => log::warn!(target: TARGET, "worker {} does not serve {name:?}: {error:#}", worker.id()),
        }
    }

    /// Closes what takes nobody any more.
    pub(super) fn sweep(&mut self) {
        self.doors.retain(|door| door.queue != Queue::Gone);
    }

    /// An event tells that somebody waits.
    pub(super) fn knock(&mut self, address: u16) {
        if let Some(door) = self.doors.iter_mut().find(|door| door.address == address) {
            door.knock();
        }
    }

    /// There may be room again, or the end is to be found.
    pub(super) fn knock_all(&mut self) {
        self.doors.iter_mut().for_each(Door::knock);
    }

    /// Whether somebody may wait whom no event will announce.
    pub(super) fn is_waiting(&self) -> bool {
        self.doors.iter().any(|door| door.queue == Queue::Waiting)
    }

    pub(super) fn are_gone(&self) -> bool {
        self.doors.iter().all(|door| door.queue == Queue::Gone)
    }

    /// The next client of the door at this place; those who have opened a connection each get their answers in between,
    /// so not more than `ACCEPTS` of them are asked for in one turn.
    pub(super) fn accept(&mut self, place: usize, now: u64) -> io::Result<Option<Guest>> {
        let Some(door) = self.doors.get_mut(place).filter(|door| door.queue == Queue::Waiting) else {
            return Ok(None);
        };
        let guest = door.accept()?;
        if guest.is_some() || !door.listener.is_paused() {
            door.sheds_at = None;
            if guest.is_some() {
                self.next = place + 1;
            }
            return Ok(guest);
        }
        let Some(limit) = self.shed_after else { return Ok(None) };
        let due = *door.sheds_at.get_or_insert(now.saturating_add(limit));
        if now < due || self.reserve.take().is_none() {
            return Ok(None);
        }
        match door.accept()? {
            Some(guest) => {
                door.sheds_at = Some(now + SHED_EVERY);
                Ok(Some(Guest { is_shed: true, ..guest }))
            }
            // Without a descriptor the kernel does not look whether somebody waits. Nobody does.
            None => {
                door.sheds_at = None;
                self.restock();
                Ok(None)
            }
        }
    }

    /// A connection is closed: there is a descriptor, for those who wait if nobody else needs it.
    pub(super) fn make_room(&mut self) {
        self.restock();
        self.doors.iter_mut().filter(|door| door.listener.is_paused()).for_each(Door::knock);
    }

    /// There is no descriptor for this client: it is told so by a connection that ends, not by one that hangs.
    pub(super) fn shed(&mut self, mut guest: Guest, buffer: &mut [u8], row: &Row) {
        // What it has sent would turn the end into a reset.
        let _ = guest.stream.read(buffer);
        let _ = guest.stream.shutdown(Shutdown::Write);
        drop(guest);
        row.closed_because(Reason::Shed);
        self.restock();
    }

    fn restock(&mut self) {
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
    }

    /// All of them, each first in its turn: in a worker that is full there is room for those at one door only.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (next, count) = (self.next, self.doors.len());
        (next..count).chain(0..next)
    }
}

impl Door {
    fn open(worker: &mut Worker, name: &str, address: u16, registry: &Registry) -> Result<Self> {
        let listener = AnyListener::open(worker, name, address)?;
        let (fd, token) = (listener.as_raw_fd(), Target::Door(address).token());
        let watched = registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
        watched.map_err(|error| Error::system("watching the listener", error))?;
        let is_deferred = worker.is_deferred(address.into());
        Ok(Self { listener, address, is_deferred, queue: Queue::Waiting, sheds_at: None })
    }

    fn knock(&mut self) {
        if self.queue == Queue::Empty {
            self.queue = Queue::Waiting;
        }
    }

    fn accept(&mut self) -> io::Result<Option<Guest>> {
        match self.listener.accept() {
            Ok((stream, peer)) => {
                let Self { address, is_deferred, .. } = *self;
                Ok(Some(Guest { stream, peer, address, is_deferred, is_shed: false }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.queue = if self.listener.is_shut() { Queue::Gone } else { Queue::Empty };
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AnyListener {
    fn open(worker: &mut Worker, name: &str, address: u16) -> Result<Self> {
        if worker.is_unix(address.into()) {
            worker.unix_on(name).map(Self::Unix)
        } else {
            worker.listen_on(name).map(Self::Ip)
        }
    }

    /// All connections are of one type, at no cost: what the loop does with a `TcpStream` (recv, send, shutdown,
    /// SO_ERROR) the kernel does for any stream socket. The one difference: descriptors that a client sends along are
    /// closed, and a read stops behind them as it does at the end of what is there; what follows is read when more
    /// comes.
    fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match self {
            Self::Ip(listener) => listener.accept().map(|(stream, peer)| (stream, Some(peer))),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| (OwnedFd::from(stream).into(), None)),
        }
    }

    fn is_paused(&self) -> bool {
        match self {
            Self::Ip(listener) => listener.is_paused(),
            Self::Unix(listener) => listener.is_paused(),
        }
    }

    fn is_shut(&self) -> bool {
        match self {
            Self::Ip(listener) => listener.is_shut(),
            Self::Unix(listener) => listener.is_shut(),
        }
    }

    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Ip(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Connections per turn and door.
pub(super) const ACCEPTS: usize = 64;

/// In milliseconds, as often as the listener tries in a shortage: clients that were turned away may try again.
const SHED_EVERY: u64 = 50;
