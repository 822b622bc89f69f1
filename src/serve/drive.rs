//! Moves the bytes of one connection: socket → service → socket.
//!
//! It reads until a short read, shows the input to the service as long as that consumes some of it, and writes all
//! answers with one call, at once or when the loop says so. What rarely happens is kept out of the way of what always
//! does (`inline(never)`): a processor that comes back from the kernel has to fetch each instruction anew. Each turn
//! does a bounded amount of work per connection; one that has more is [`Progress::Unfinished`] and goes on in the next
//! turn, without an event.

use std::{mem, time::Duration};

use socket2::SockRef;

use super::{
    buffers::Buffers,
    connection::{Cause, Connection, Head, OUTERMOST, Phase, Reading, Waits},
    io::{Below, End, Io, Wish},
    service::{Closed, Deadline, Service},
    turn::Hub,
};

pub(super) struct Drive<'a, S: Service> {
    pub(super) service: &'a mut S,
    pub(super) connection: &'a mut Connection<S::Conn>,
    pub(super) hub: &'a mut Hub,
    pub(super) buffers: &'a mut Buffers,
}

pub(super) enum Progress {
    /// An event or a deadline will tell when there is more to do.
    Waiting,
    /// There is more to do and no event will tell.
    Unfinished,
    /// There is output to send, and it is to wait.
    Unsent,
    Gone(Closed),
}

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Until {
    /// There is something to send.
    Unsent,
    /// Nothing more can be done.
    Waiting,
}

impl<S: Service> Drive<'_, S> {
    /// `first`, then reads, answers and writes until nothing moves or others should have a turn.
    pub(super) fn run(
        &mut self,
        until: Until,
        first: impl FnOnce(&mut Self, &mut Vec<u8>) -> Result<(), Closed>,
    ) -> Progress {
        let mut out = mem::take(&mut self.connection.head.output);
        if out.capacity() == 0 {
            out = self.buffers.take();
        }
        let result = first(self, &mut out).and_then(|()| self.rounds(&mut out, until));
        if out.is_empty() {
            self.buffers.give_back(out);
        } else {
            self.connection.head.output = out;
        }
        match result {
            Ok(Progress::Unsent) => Progress::Unsent,
            Ok(progress) => {
                let is_draining = self.hub.draining_since.is_some();
                self.connection.head.stamp(self.hub.clock.ms, is_draining);
                progress
            }
            Err(closed) => Progress::Gone(closed),
        }
    }

    /// What the service wants of the connection is done when this returns, except for what has to wait.
    pub(super) fn call(
        &mut self,
        out: &mut Vec<u8>,
        callback: impl FnOnce(&mut S, &mut S::Conn, &mut Io<'_>),
    ) -> Result<(), Closed> {
        let Connection { head, conn } = &mut *self.connection;
        let mut wish = Wish::default();
        let below = Below { unsent: 0, sent: head.sent };
        let mut io = Io { head, output: out, wish: &mut wish, below, level: OUTERMOST, hub: self.hub };
        callback(self.service, conn, &mut io);
        let head = self.head();
        // A service that takes out of the output what was sent already.
        head.sent = head.sent.min(out.len());
        head.grant(wish)
    }

    /// The worker is to leave.
    pub(super) fn tell_drain(&mut self, out: &mut Vec<u8>) -> Result<(), Closed> {
        match self.head().phase {
            Phase::Open => self.call(out, |service, conn, io| service.draining(conn, io)),
            Phase::Closing { .. } | Phase::Lingering => Ok(()),
        }
    }

    /// A deadline has passed.
    pub(super) fn time_out(&mut self, out: &mut Vec<u8>, which: Deadline) -> Result<(), Closed> {
        let was_open = self.head().phase == Phase::Open;
        if which != Deadline::Own {
            self.connection.head.since = self.hub.clock.ms;
        }
        self.call(out, |service, conn, io| service.timed_out(conn, io, which))?;
        if which == Deadline::Drain {
            self.head().end(End::Close);
        }
        match (self.head().phase, which) {
            (Phase::Open, _) => Ok(()),
            // The peer does not take what is there.
            (Phase::Closing { .. } | Phase::Lingering, Deadline::Write) => Err(Closed::TimedOut(which)),
            (Phase::Closing { .. } | Phase::Lingering, _) => {
                if was_open && matches!(self.head().cause, Cause::Service) {
                    self.head().cause = Cause::Deadline(which);
                }
                Ok(())
            }
        }
    }

    #[inline(never)]
    fn flushed(&mut self, out: &mut Vec<u8>) -> Result<(), Closed> {
        self.call(out, |service, conn, io| service.flushed(conn, io))
    }

    #[inline(never)]
    fn end_of_input(&mut self, out: &mut Vec<u8>) -> Result<(), Closed> {
        self.call(out, |service, conn, io| service.end_of_input(conn, io))
    }

    fn head(&mut self) -> &mut Head {
        &mut self.connection.head
    }

    fn rounds(&mut self, out: &mut Vec<u8>, until: Until) -> Result<Progress, Closed> {
        // Of one that has the next turn for all that it has to do, only what cannot wait.
        let rounds = if self.head().listed { 1 } else { ROUNDS };
        for _ in 0..rounds {
            if until == Until::Unsent && !out.is_empty() && !self.head().blocked {
                return Ok(Progress::Unsent);
            }
            if !self.round(out)? {
                return Ok(Progress::Waiting);
            }
        }
        Ok(Progress::Unfinished)
    }

    /// Whether there may be more to do at once.
    fn round(&mut self, out: &mut Vec<u8>) -> Result<bool, Closed> {
        if !out.is_empty() && !self.head().blocked {
            self.connection.head.moved.sent |= self.connection.head.send(out)?;
        }
        if out.len() - self.head().sent > self.hub.options.max_output {
            return Err(Closed::OutputLimit);
        }
        if out.is_empty() && mem::take(&mut self.head().wants_flushed) {
            return self.flushed(out).map(|()| true);
        }
        match self.head().phase {
            Phase::Open => self.take_input(out),
            Phase::Closing { linger } if out.is_empty() => {
                self.connection.head.finish(linger, &mut self.buffers.read).map(|()| true)
            }
            Phase::Closing { .. } => Ok(false),
            Phase::Lingering => self.connection.head.discard(&mut self.buffers.read),
        }
    }

    fn take_input(&mut self, out: &mut Vec<u8>) -> Result<bool, Closed> {
        let (low, high) = (self.hub.options.low_water, self.hub.options.high_water);
        let head = self.head();
        let unsent = out.len() - head.sent;
        head.paused = if head.paused { unsent > low } else { unsent >= high };
        if head.held && head.reading == Reading::ReadyToEnd {
            // No read will tell, and no other event.
            head.check()?;
        }
        if head.paused || head.held {
            return Ok(false);
        }
        if head.unshown {
            self.show_kept(out, 0)?;
            return Ok(true);
        }
        match head.reading {
            Reading::Drained | Reading::Told => return Ok(false),
            // What a job still has to say is for a peer that has asked for it.
            Reading::Ended if head.jobs > 0 => return Ok(false),
            Reading::Ended => {
                head.reading = Reading::Told;
                return self.end_of_input(out).map(|()| true);
            }
            Reading::Ready | Reading::ReadyToEnd => {}
        }
        let count = self.connection.head.read(&mut self.buffers.read)?;
        if count > 0 {
            self.head().moved.received = true;
            self.show(out, count)?;
        }
        Ok(count > 0 || self.head().has_ended())
    }

    /// What is left of earlier input, with `fresh` bytes of the read buffer behind it.
    #[inline]
    fn show(&mut self, out: &mut Vec<u8>, fresh: usize) -> Result<(), Closed> {
        self.head().begins();
        if !self.head().input.is_empty() {
            return self.show_kept(out, fresh);
        }
        let read = mem::take(&mut self.buffers.read);
        let used = self.feed(out, &read[..fresh]);
        let kept = match used {
            Ok(used) if used < fresh => self.keep(&read[used..fresh]),
            Ok(_) | Err(_) => Ok(()),
        };
        self.buffers.read = read;
        self.head().moved.consumed |= used? > 0;
        kept
    }

    #[inline(never)]
    fn show_kept(&mut self, out: &mut Vec<u8>, fresh: usize) -> Result<(), Closed> {
        let mut input = mem::take(&mut self.head().input);
        input.extend_from_slice(&self.buffers.read[..fresh]);
        let used = self.feed(out, &input)?;
        self.head().moved.consumed |= used > 0;
        input.drain(..used);
        self.keep_all(input)
    }

    #[inline(never)]
    fn keep(&mut self, rest: &[u8]) -> Result<(), Closed> {
        let mut input = self.buffers.take();
        input.extend_from_slice(rest);
        self.keep_all(input)
    }

    /// What was not consumed.
    fn keep_all(&mut self, input: Vec<u8>) -> Result<(), Closed> {
        if input.is_empty() || self.head().phase != Phase::Open {
            self.buffers.give_back(input);
            return Ok(());
        }
        self.head().input = input;
        let max = self.hub.options.max_input;
        let head = self.head();
        if head.input.len() > max && !head.unshown { Err(Closed::InputLimit) } else { Ok(()) }
    }

    /// Shows it as long as some of it is consumed; returns how much was.
    #[inline(always)]
    fn feed(&mut self, out: &mut Vec<u8>, input: &[u8]) -> Result<usize, Closed> {
        let mut used = 0;
        self.head().unshown = false;
        loop {
            let mut count = 0;
            self.call(out, |service, conn, io| count = service.received(conn, io, &input[used..]))?;
            // A service that counts more than it was shown has consumed all of it.
            used += count.min(input.len() - used);
            if used == input.len() || self.head().phase != Phase::Open {
                return Ok(used);
            }
            // Nothing consumed may mean that the service waits for room.
            let is_full = out.len() - self.head().sent >= self.hub.options.high_water;
            self.head().unshown = is_full || self.head().held;
            if self.head().unshown || count == 0 {
                return Ok(used);
            }
        }
    }
}

impl Head {
    /// What the callback wants.
    #[inline]
    pub(super) fn grant(&mut self, wish: Wish) -> Result<(), Closed> {
        if let Wish { end: None, flushed: false, held: None } = wish { Ok(()) } else { self.grant_something(wish) }
    }

    fn grant_something(&mut self, wish: Wish) -> Result<(), Closed> {
        self.wants_flushed |= wish.flushed;
        if let Some(held) = wish.held {
            self.unshown |= self.held && !held && !self.input.is_empty();
            self.held = held;
        }
        match wish.end {
            None => Ok(()),
            Some(End::Abort) => {
                // Without it the output is dropped all the same.
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                Err(self.closed())
            }
            Some(End::InputLimit) => Err(Closed::InputLimit),
            Some(end @ (End::Close | End::Lingering)) => {
                self.end(end);
                Ok(())
            }
        }
    }

    /// The first byte is there.
    #[inline]
    fn begins(&mut self) {
        if self.waits == Waits::For(Deadline::FirstByte) {
            self.waits = Waits::For(Deadline::Idle);
        }
    }

    /// All is sent. A socket that holds unread input must not be closed: the kernel would reset the connection, and
    /// that can destroy what the peer has not read. Nor if there was some: more may be on its way.
    #[inline(never)]
    fn finish(&mut self, linger: bool, buffer: &mut [u8]) -> Result<(), Closed> {
        let sends = match self.reading {
            Reading::Drained | Reading::Ended | Reading::Told => false,
            Reading::Ready | Reading::ReadyToEnd => self.read(buffer)? > 0,
        };
        match self.reading {
            Reading::Ended | Reading::Told => Err(self.closed()),
            Reading::Drained if !linger && !sends => Err(self.closed()),
            Reading::Drained | Reading::Ready | Reading::ReadyToEnd => self.shut(),
        }
    }

    #[inline(never)]
    fn discard(&mut self, buffer: &mut [u8]) -> Result<bool, Closed> {
        match self.reading {
            Reading::Drained => return Ok(false),
            Reading::Ended | Reading::Told => return Err(self.closed()),
            Reading::Ready | Reading::ReadyToEnd => {}
        }
        self.read(buffer)?;
        Ok(self.reading != Reading::Drained)
    }

    /// For what it waits now, and since when.
    #[inline]
    fn stamp(&mut self, now: u64, is_draining: bool) {
        let moved = mem::take(&mut self.moved);
        let waits = self.wait();
        let anew = match waits {
            Waits::For(Deadline::Write) => moved.sent,
            Waits::For(Deadline::Request) => moved.consumed && self.in_request == 0,
            // What a service sends of its own accord does not put off the end of a drain, which is fixed for some.
            Waits::For(Deadline::Idle) => moved.received || (moved.sent && !(is_draining && self.stays.is_none())),
            Waits::For(Deadline::FirstByte | Deadline::Drain | Deadline::Own) | Waits::Linger | Waits::Service => false,
        };
        if anew || waits != self.waits {
            self.waits = waits;
            self.since = now;
        }
    }
}

/// Reads of one connection per turn, of up to 64 KiB each; a peer that sends without end must not keep others waiting.
const ROUNDS: usize = 16;
