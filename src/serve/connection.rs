//! What the loop knows of one connection.

use std::{
    io::{self, Read, Write},
    mem,
    net::{Shutdown, SocketAddr},
};

use mio::{event::Event, net::TcpStream};

use super::{
    io::End,
    service::{Closed, Deadline},
    table::Key,
};

/// A connection and the service's state of it.
pub(super) struct Connection<C> {
    pub(super) head: Head,
    pub(super) conn: C,
}

pub(super) struct Head {
    pub(super) stream: TcpStream,
    pub(super) key: Key,
    pub(super) peer: Option<SocketAddr>,
    /// By the place in the builder's order.
    pub(super) address: u16,
    pub(super) phase: Phase,
    pub(super) reading: Reading,
    /// Received and not consumed.
    pub(super) input: Vec<u8>,
    /// Some of `input` was not shown, because the output was full.
    pub(super) unshown: bool,
    /// Written by the service and not sent, from `sent` on.
    pub(super) output: Vec<u8>,
    pub(super) sent: usize,
    /// The kernel took less than it was given: an event will tell when it takes more.
    pub(super) blocked: bool,
    /// Not read until the output has gone down to the low-water mark.
    pub(super) paused: bool,
    /// Not read, and shown nothing, until the service says so.
    pub(super) held: bool,
    pub(super) wants_flushed: bool,
    /// One bit for each service and layer that is in the middle of a request, the outermost service's is the lowest.
    pub(super) in_request: u8,
    /// In the list of those that go on in the next turn.
    pub(super) listed: bool,
    /// Since it was last known what it waits for.
    pub(super) moved: Moved,
    /// Why it is closing.
    pub(super) cause: Cause,
    /// Jobs that have not come back.
    pub(super) jobs: u32,
    /// What it waits for, and since when, in the clock's milliseconds.
    pub(super) waits: Waits,
    pub(super) since: u64,
    /// Of the service, likewise; `NEVER` if none is set.
    pub(super) own_deadline: u64,
    /// How long it may stay in a drain, likewise; `None`: for the usual grace.
    pub(super) stays: Option<u64>,
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Moved {
    pub(super) received: bool,
    pub(super) consumed: bool,
    pub(super) sent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Open,
    /// The last output is written; what the peer still sends is not read.
    Closing {
        linger: bool,
    },
    /// All is sent and the sending half is shut: what still comes is dropped until the peer closes.
    Lingering,
}

/// What is known of the socket's input; an edge-triggered event tells of it once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// Everything was read; an event will tell of more.
    Drained,
    Ready,
    /// The end was announced, or an error: reading goes on until it comes, as no further event does. Or urgent data,
    /// at which a read stops short.
    ReadyToEnd,
    Ended,
    /// And the service knows.
    Told,
}

#[derive(Debug)]
pub(super) enum Cause {
    Service,
    /// The service has closed it because of this.
    Deadline(Deadline),
    /// The service says so.
    Failed(io::Error),
}

/// What a connection can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    For(Deadline),
    Linger,
    /// For the service itself: a job of it runs, or it wants no input.
    Service,
}

impl Head {
    pub(super) fn new(stream: TcpStream, peer: Option<SocketAddr>, address: u16, key: Key, now: u64) -> Self {
        Self {
            stream,
            key,
            peer,
            address,
            phase: Phase::Open,
            reading: Reading::Drained,
            input: Vec::new(),
            unshown: false,
            output: Vec::new(),
            sent: 0,
            blocked: false,
            paused: false,
            held: false,
            wants_flushed: false,
            in_request: 0,
            listed: false,
            moved: Moved::default(),
            cause: Cause::Service,
            jobs: 0,
            waits: Waits::For(Deadline::FirstByte),
            since: now,
            own_deadline: NEVER,
            stays: None,
        }
    }

    /// **Errors**: the peer has reset the connection, and no read would tell, since the input has ended.
    #[inline]
    pub(super) fn note(&mut self, event: &Event) -> Result<(), Closed> {
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            self.blocked = false;
        }
        if self.has_ended() {
            return if event.is_error() { self.check() } else { Ok(()) };
        }
        if event.is_read_closed() || event.is_error() || event.is_priority() {
            self.reading = Reading::ReadyToEnd;
        } else if event.is_readable() && self.reading == Reading::Drained {
            self.reading = Reading::Ready;
        }
        Ok(())
    }

    /// **Errors**: the connection has failed, and nobody has been told.
    #[cold]
    pub(super) fn check(&self) -> Result<(), Closed> {
        self.stream.take_error().ok().flatten().map_or(Ok(()), |error| Err(why(error)))
    }

    /// One read; a short one has emptied the socket, and whatever comes later raises a new event. 0: nothing there, or
    /// the end.
    #[inline]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Closed> {
        let read = loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => self.reading = Reading::Ended,
            Ok(count) => {
                if count < buffer.len() && self.reading == Reading::Ready {
                    self.reading = Reading::Drained;
                }
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.reading = Reading::Drained,
            Err(error) => return Err(why(error)),
        }
        Ok(0)
    }

    /// One write of what waits in `out` behind `sent`; returns whether the kernel took something.
    #[inline(always)]
    pub(super) fn send(&mut self, out: &mut Vec<u8>) -> Result<bool, Closed> {
        let sent = loop {
            match self.stream.write(&out[self.sent..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        let count = match sent {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(why(error)),
        };
        self.sent += count;
        if self.sent == out.len() {
            out.clear();
            self.sent = 0;
        } else {
            self.blocked = true;
            // Moves no byte more than once per byte sent.
            if self.sent > out.len() / 2 {
                out.drain(..self.sent);
                self.sent = 0;
            }
        }
        Ok(count > 0)
    }

    pub(super) fn shut(&mut self) -> Result<(), Closed> {
        self.phase = Phase::Lingering;
        self.stream.shutdown(Shutdown::Write).map_err(why)
    }

    /// As the service wants.
    pub(super) fn end(&mut self, end: End) {
        let linger = end == End::Lingering;
        self.phase = match self.phase {
            Phase::Open => Phase::Closing { linger },
            Phase::Closing { linger: before } => Phase::Closing { linger: linger || before },
            Phase::Lingering => Phase::Lingering,
        };
    }

    /// `level`: the bit. The time begins with the request, but does not begin anew for the sake of one further out:
    /// what it carries is part of the one further in.
    #[inline]
    pub(super) fn set_in_request(&mut self, level: u8, on: bool, now: u64) {
        if on && self.in_request < level {
            (self.waits, self.since) = (Waits::For(Deadline::Request), now);
        }
        self.in_request = if on { self.in_request | level } else { self.in_request & !level };
    }

    /// In order, or as the service wanted. Answers once.
    pub(super) fn closed(&mut self) -> Closed {
        match mem::replace(&mut self.cause, Cause::Service) {
            Cause::Deadline(Deadline::Drain) => Closed::Drained,
            Cause::Deadline(which) => Closed::TimedOut(which),
            Cause::Failed(error) => Closed::Failed(error),
            Cause::Service if self.has_ended() && self.phase != Phase::Lingering => Closed::ByPeer,
            Cause::Service => Closed::ByService,
        }
    }

    /// What it waits for now.
    #[inline]
    pub(super) fn wait(&self) -> Waits {
        let unsent = self.output.len() > self.sent;
        match self.phase {
            Phase::Lingering => Waits::Linger,
            Phase::Open | Phase::Closing { .. } if unsent => Waits::For(Deadline::Write),
            Phase::Open | Phase::Closing { .. } if self.jobs > 0 || self.held => Waits::Service,
            Phase::Open | Phase::Closing { .. } if self.in_request != 0 || !self.input.is_empty() => {
                Waits::For(Deadline::Request)
            }
            Phase::Open | Phase::Closing { .. } => match self.waits {
                Waits::For(Deadline::FirstByte) => self.waits,
                Waits::For(_) | Waits::Linger | Waits::Service => Waits::For(Deadline::Idle),
            },
        }
    }

    /// The peer sends no more.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.reading, Reading::Ended | Reading::Told)
    }

    /// Closing now would lose nothing.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.waits, Waits::For(Deadline::FirstByte | Deadline::Idle))
    }
}

#[cold]
fn why(error: io::Error) -> Closed {
    const GONE: [io::ErrorKind; 6] = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::NotConnected,
        io::ErrorKind::TimedOut,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
    ];
    if GONE.contains(&error.kind()) { Closed::Reset } else { Closed::Failed(error) }
}

pub(super) const NEVER: u64 = u64::MAX;

/// The bit of a service that is not layered on another one.
pub(super) const OUTERMOST: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a record, a message that is not complete, and the request that it belongs to.
    #[test]
    fn what_carries_a_request_does_not_put_off_its_deadline() {
        let at = "127.0.0.1:9".parse().unwrap();
        let stream = TcpStream::connect(at).unwrap();
        let mut head = Head::new(stream, Some(at), 0, Key { index: 0, generation: 0 }, 0);
        let [record, message, request] = [OUTERMOST, OUTERMOST << 1, OUTERMOST << 2];
        let mut set = |level, on, now| {
            head.set_in_request(level, on, now);
            (head.in_request, head.since)
        };
        assert_eq!(set(record, true, 1), (record, 1));
        assert_eq!(set(message, true, 2), (record | message, 2));
        for now in 3..9 {
            assert_eq!(set(record, now % 2 == 0, now).1, 2, "of the same message");
        }
        assert_eq!(set(request, true, 10).1, 10);
        for level in [record, message, request] {
            set(level, false, 11);
            assert_eq!(set(level, true, 12).1, if level == request { 12 } else { 10 });
        }
    }
}
