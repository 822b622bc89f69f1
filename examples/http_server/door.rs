//! One listener: accepts until nobody waits, a bounded number per turn, and neither spins nor gives up when descriptors
//! run out.

use std::{
    io,
    time::{Duration, Instant},
};

use mio_cluster::{
    Listener, Worker,
    mio::{Interest, Registry, Token, net::TcpStream},
};

pub(crate) struct Door {
    listener: Listener,
    token: Token,
    queue: Queue,
    warned: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Empty: an event will tell.
    Empty,
    /// There may be more.
    Waiting,
    /// There is more, but it cannot be accepted now, and no event will tell when it can.
    Stuck { until: Instant },
}

impl Door {
    pub(crate) fn open(worker: &mut Worker, name: &str, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut listener = worker.listen_on(name)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self { listener, token, queue: Queue::Waiting, warned: None })
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn knock(&mut self) {
        if self.queue == Queue::Empty {
            self.queue = Queue::Waiting;
        }
    }

    /// What made it stuck may be over.
    pub(crate) fn retry(&mut self) {
        if self.is_stuck() {
            self.queue = Queue::Waiting;
        }
    }

    /// When to come back without an event.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        match self.queue {
            Queue::Empty => None,
            Queue::Waiting => Some(now),
            Queue::Stuck { until } => Some(until),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue == Queue::Empty
    }

    /// Whether the last accept failed: once nothing else is open, nothing can make it succeed.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(self.queue, Queue::Stuck { .. })
    }

    pub(crate) fn accept(&mut self, now: Instant, mut admit: impl FnMut(TcpStream)) {
        if self.due(now).is_none_or(|due| due > now) {
            return;
        }
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((stream, _peer)) => admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.queue = Queue::Empty;
                    return;
                }
                // The client gave up while it waited; the next one may be fine.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.warn(now, &error);
                    self.queue = Queue::Stuck { until: now + PAUSE };
                    return;
                }
            }
        }
        self.queue = Queue::Waiting;
    }

    fn warn(&mut self, now: Instant, error: &io::Error) {
        if self.warned.is_none_or(|last| now - last >= WARN_EVERY) {
            self.warned = Some(now);
            log::warn!("accept: {error}; clients wait until a connection closes, trying again every {PAUSE:?}");
        }
    }

    pub(crate) fn close(mut self, registry: &Registry) {
        if let Err(error) = registry.deregister(&mut self.listener) {
            log::warn!("deregistering the listener: {error}");
        }
    }
}

/// Connections per turn: those that are open get their answers in between.
const ACCEPTS: usize = 64;

/// After EMFILE and the like. A descriptor that some other part of the process closes raises no event.
const PAUSE: Duration = Duration::from_millis(100);

/// A worker at its descriptor limit fails to accept once per closed connection; the log says so this often.
const WARN_EVERY: Duration = Duration::from_secs(10);
