//! The channel between the master and one worker: frames and descriptors over a socket pair, never blocking.
//!
//! It owns one end, and what is waiting until the other end reads. It never waits (but for [`finish`](Channel::finish)),
//! never decides what a frame means, and never lets a frame go half: a frame is sent or queued whole, or refused.
//! Descriptors are never queued: a frame that has some is sent at once or refused.
//!
//! Small messages share packets: [`post`](Channel::post) writes them into a batch, which leaves when the [pace] says so.
//! Every other frame sends the batch first, so all that is sent arrives in its order.
//!
//! **Races.** The other end may die at any moment. What it sent before is still received, then comes
//! [`Incoming::Closed`]; what is sent to it is an error from then on, so a sender must not stop to receive. A full
//! socket stays full until the other end has read three quarters of it: only then does the poll report it as writable.
//!
//! **After fork.** Socket and received descriptors are in the table of `sys`; the child keeps its own end and drops
//! nothing.

mod outbox;
mod pace;
mod readiness;
mod say;

use self::{
    outbox::Outbox,
    pace::Pace,
    readiness::{await_room, is_hung_up, is_writable},
};
use crate::{
    error::{Error, Result},
    scoreboard::Seat,
    sys::{
        owned::Owned,
        rights::{self, Received},
    },
    wire::{Assembler, Batch, Descriptors, Frame, Malformed, PACKET_MAX, Packets, Progress},
};
use nix::sys::socket::{self, Shutdown, sockopt};
use std::{
    io::{self, ErrorKind},
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

/// One end of a channel. The calls: [`send`](Self::send) and [`post`](Self::post); [`flush`](Self::flush) when the poll
/// says writable; [`send_due`](Self::send_due) when the time of [`due`](Self::due) has come;
/// [`recv`](Self::recv) when it says readable, until `Empty` or `Closed`.
pub(crate) struct Channel {
    socket: Owned,
    assembler: Assembler,
    /// Descriptors of a message of which more is to come.
    held: Vec<Owned>,
    outbox: Outbox,
    batch: Batch,
    pace: Pace,
    /// A sender was told that there is no room.
    refused: bool,
    /// The other end is gone, or has half a frame whose rest could not be sent.
    broken: bool,
    /// Where the other end sees how many frames there are to read.
    reader: Option<Seat>,
}

/// What one packet brought.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// With the descriptors that came along, and how many there should have been. If these are more, this process could
    /// not open them; the sender should be told.
    Frame(Frame, Vec<OwnedFd>, usize),
    /// A part of a message; the frame comes with a later packet.
    Part,
    /// The packet is thrown away, its descriptors are closed.
    Malformed(Malformed),
    /// Nothing more to read now.
    Empty,
    /// The other end is closed and everything that it sent was read.
    Closed,
}

/// Where packets are received. One serves all channels of a process; its memory is taken when the first packet is read.
#[derive(Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Channel {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rights::pair()?;
        Self::pair_of(one, other)
    }

    /// The ends of a non-blocking SOCK_SEQPACKET pair.
    fn pair_of(one: OwnedFd, other: OwnedFd) -> io::Result<(Self, Self)> {
        // A system with a small default would refuse large packets (EMSGSIZE). The two ends have the same.
        if socket::getsockopt(&one, sockopt::SndBuf)? < SEND_BUFFER_MIN {
            socket::setsockopt(&one, sockopt::SndBuf, &SEND_BUFFER_MIN)?;
            socket::setsockopt(&other, sockopt::SndBuf, &SEND_BUFFER_MIN)?;
        }
        Ok((Self::new(one), Self::new(other)))
    }

    fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Owned::new(socket),
            assembler: Assembler::default(),
            held: Vec::new(),
            outbox: Outbox::default(),
            batch: Batch::default(),
            pace: Pace::default(),
            refused: false,
            broken: false,
            reader: None,
        }
    }

    /// From now on frames are counted there, each before it is sent.
    pub(crate) fn count_frames(&mut self, reader: Seat) {
        self.reader = Some(reader);
    }

    /// Sends `frame` behind everything that was sent before, or queues what the socket does not take.
    ///
    /// **Errors**: `WouldBlock`: there is no room for the whole frame; nothing of it was sent, and
    /// [`has_room_again`](Self::has_room_again) will say when to try again. `InvalidInput`: a message above the cap of
    /// the wire. `BrokenPipe`: the other end is gone, or the system failed in the middle of a frame; nothing can be
    /// sent any more. Others, such as too many descriptors: nothing of the frame was sent.
    pub(crate) fn send(&mut self, frame: &Frame, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packets =
            frame.encode(descriptors.len()).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        self.flush()?;
        self.send_batch()?;
        let fits = if frame.is_the_programs() { self.outbox.has_room_for(&packets) } else { self.outbox.has_reserve() };
        self.check_room(fits && (descriptors.is_empty() || self.outbox.is_empty()))?;
        self.count();
        self.send_packets(packets, descriptors).inspect_err(|error| {
            self.uncount();
            self.refused |= error.kind() == ErrorKind::WouldBlock;
        })
    }

    /// As `send`, for a plain message of at most [`Batch::MESSAGE_MAX`] bytes: it may be held for a moment, see
    /// [`due`](Self::due). `now` in nanoseconds.
    ///
    /// **Errors**: as [`send`](Self::send).
    pub(crate) fn post(&mut self, now: u64, message: &[u8]) -> io::Result<()> {
        if !self.outbox.has_room() {
            self.flush()?;
        }
        self.check_room(self.outbox.has_room())?;
        if !self.batch.push(message) {
            self.send_batch_at(now)?;
            let room = self.batch.push(message);
            debug_assert!(room, "it is empty now, and the caller has looked at the length");
        }
        if !self.pace.wrote(now) {
            return Ok(());
        }
        if self.is_stuck() {
            // By a program without a loop nobody else does it. Not with each message: it may be in vain.
            self.pace.sent(now);
            return self.flush();
        }
        self.send_due(now)
    }

    /// When the batch is to be sent at the latest, if there is one that waits for its time.
    pub(crate) fn due(&self) -> Option<u64> {
        (!self.batch.is_empty() && self.outbox.is_empty()).then(|| self.pace.due())
    }

    /// The batch's time has come, or nobody may come back to send it later. While the socket is full it grows on.
    ///
    /// **Errors**: `BrokenPipe` as for [`send`](Self::send).
    pub(crate) fn send_due(&mut self, now: u64) -> io::Result<()> {
        if self.outbox.is_empty() { self.send_batch_at(now) } else { Ok(()) }
    }

    /// This side has said what it had to say for now; if somebody waits for it, it leaves.
    ///
    /// **Errors**: as [`send_due`](Self::send_due).
    pub(crate) fn end_turn(&mut self, now: impl FnOnce() -> u64) -> io::Result<()> {
        if self.pace.end_turn() { self.send_due(now()) } else { Ok(()) }
    }

    /// Something is queued, or somebody waits for room: [`flush`](Self::flush) when the socket becomes writable.
    pub(crate) fn wants_write(&self) -> bool {
        !self.outbox.is_empty() || self.refused
    }

    /// What [`wants_write`](Self::wants_write) waits for is there.
    pub(crate) fn is_writable(&self) -> bool {
        is_writable(self.socket.as_fd())
    }

    /// The other end does not read what is sent.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends of the queue what the socket takes, and the batch if that is all.
    ///
    /// **Errors**: `BrokenPipe` as for [`send`](Self::send), once; the queue is dropped.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let flushed = self.outbox.flush(&self.socket);
        flushed.map_err(|error| self.give_up(error))?;
        if self.outbox.is_empty() { self.send_batch() } else { Ok(()) }
    }

    /// There is room again for a sender who was refused. Said once; asked after [`flush`](Self::flush).
    pub(crate) fn has_room_again(&mut self) -> bool {
        let has_room = self.refused && self.outbox.is_empty() && is_writable(self.socket.as_fd());
        self.refused &= !has_room;
        has_room
    }

    /// Sends everything, and waits for that. Tells how many packets are left, because the other end has not read them
    /// for so long.
    ///
    /// **Errors**: `BrokenPipe` as for [`send`](Self::send).
    pub(crate) fn finish(&mut self, patience: Duration) -> io::Result<usize> {
        let until = Instant::now() + patience;
        self.flush()?;
        self.send_batch()?;
        while !self.outbox.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            await_room(self.socket.as_fd(), left)?;
            self.flush()?;
        }
        Ok(self.outbox.len())
    }

    /// Reads one packet. A peer can send without end: whoever serves several must stop in between, and come back.
    pub(crate) fn recv(&mut self, buffer: &mut Buffer) -> Result<Incoming> {
        let buffer = buffer.space();
        let mut hung_up = false;
        let received = loop {
            match rights::recv(self.socket.as_fd(), buffer) {
                Ok(received) if !buffer.is_empty() => break received,
                // Nothing can come any more, so this nothing is the end.
                Ok(_nothing) if hung_up => return Ok(Incoming::Closed),
                // An empty packet, the end, or a peer that sent and died while the kernel looked: then its packets are
                // still to be read.
                Ok(nothing) => {
                    hung_up = is_hung_up(self.socket.as_fd()).map_err(|e| Error::system("polling the channel", e))?;
                    if !hung_up {
                        break nothing;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Incoming::Empty),
                // The other end died with unread packets. Said once, and before its own last packets.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                Err(error) => return Err(Error::system("receiving from the channel", error)),
            }
        };
        Ok(self.interpret(buffer, received))
    }

    fn interpret(&mut self, packet: &[u8], received: Received) -> Incoming {
        let Received { fds, lost_fds } = received;
        // All or none: those that did arrive are no use without the others.
        let (descriptors, fds) =
            if lost_fds { (Descriptors::Lost, Vec::new()) } else { (Descriptors::Arrived(fds.len()), fds) };
        match self.assembler.push(packet, descriptors) {
            Ok(Progress::Part) => {
                self.held.extend(fds.into_iter().map(Owned::new));
                Incoming::Part
            }
            Ok(Progress::Frame(frame, announced)) => {
                self.pace.hear();
                let held = mem::take(&mut self.held).into_iter().map(Owned::into_inner);
                Incoming::Frame(frame, held.chain(fds).collect(), announced)
            }
            Ok(Progress::Skipped) => Incoming::Part,
            Err(malformed) => {
                self.held.clear();
                Incoming::Malformed(malformed)
            }
        }
    }

    fn send_packets(&mut self, mut packets: Packets<'_>, mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let whole = packets.len();
        while self.outbox.is_empty() {
            let Some(packet) = packets.next() else { return Ok(()) };
            let (with, first) = (mem::take(&mut descriptors), packets.len() + 1 == whole);
            match rights::send(self.socket.as_fd(), &packet, with) {
                Ok(()) => {}
                Err(error) if is_full(&error) && with.is_empty() => self.outbox.push(packet),
                Err(error) if first && !is_gone(&error) => return Err(error),
                Err(error) => return Err(self.give_up(error)),
            }
        }
        packets.for_each(|packet| self.outbox.push(packet));
        Ok(())
    }

    fn send_batch_at(&mut self, now: u64) -> io::Result<()> {
        self.pace.sent(now);
        self.send_batch()
    }

    /// Or queues it.
    fn send_batch(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.count();
        if self.outbox.is_empty() {
            match rights::send(self.socket.as_fd(), self.batch.packet(), &[]) {
                Ok(()) => {
                    self.batch.clear();
                    return Ok(());
                }
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(self.give_up(error)),
            }
        }
        self.outbox.push(self.batch.take());
        Ok(())
    }

    fn check_room(&mut self, fits: bool) -> io::Result<()> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !fits {
            self.refused = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    fn count(&self) {
        if let Some(reader) = &self.reader {
            reader.add_frame();
        }
    }

    fn uncount(&self) {
        if let Some(reader) = &self.reader {
            reader.take_frame_back();
        }
    }

    fn give_up(&mut self, error: io::Error) -> io::Error {
        self.broken = true;
        self.refused = false;
        self.outbox = Outbox::default();
        self.batch.clear();
        // If the other end lives, it must not wait for the rest of a frame. If not, there is nothing to shut down.
        let _gone = socket::shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        io::Error::new(ErrorKind::BrokenPipe, error)
    }
}

impl Buffer {
    /// One byte more than a packet may have, so that a larger one shows.
    fn space(&mut self) -> &mut Vec<u8> {
        self.0.clear();
        self.0.reserve(PACKET_MAX + 1);
        &mut self.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Bytes of the socket's send buffer, as the kernel counts them: room for one full packet with its bookkeeping.
const SEND_BUFFER_MIN: usize = 2 * PACKET_MAX;

#[cfg(test)]
mod tests;
