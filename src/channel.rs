//! The channel between the master and one worker: frames and descriptors over a socket pair, never blocking.
//!
//! It owns one end, and what is waiting until the other end reads. It never waits, never decides what a frame means,
//! and never lets a frame go half: a frame is sent or queued whole, or refused. A queued packet holds duplicates of its
//! descriptors; the caller may close its own at once.
//!
//! **Races.** The other end may die at any moment. What it sent before is still received, then comes
//! [`Incoming::Closed`]; what is sent to it is an error from then on, so a sender must not stop to receive. A full
//! socket stays full until the other end has read three quarters of it: only then does the poll report it as writable.
//!
//! **After fork.** Socket and queued descriptors are in the table of `sys`; the child keeps its own end and drops
//! nothing.

use crate::{
    error::{Error, Result},
    sys::{
        owned::Owned,
        rights::{self, Received},
    },
    wire::{Assembler, Descriptors, Frame, Malformed, PACKET_MAX, Packets},
};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{self, Shutdown, sockopt},
};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// One end of a channel. The calls: [`send`](Self::send); [`flush`](Self::flush) when the poll says writable;
/// [`recv`](Self::recv) when it says readable, until `Empty` or `Closed`.
pub(crate) struct Channel {
    socket: Owned,
    assembler: Assembler,
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    /// The other end is gone, or has half a frame whose rest could not be sent.
    broken: bool,
}

/// What one packet brought.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Frame, Vec<OwnedFd>),
    /// A part of a message; the frame comes with a later packet.
    Part,
    /// The packet is thrown away, its descriptors are closed.
    Malformed(Malformed),
    /// This frame came without the descriptors that it speaks of, because this process could not open more. The sender
    /// should be asked to send it again.
    LostDescriptors(Frame),
    /// Nothing more to read now.
    Empty,
    /// The other end is closed and everything that it sent was read.
    Closed,
}

/// Where packets are received. One serves all channels of a process; its memory is taken when the first packet is read.
#[derive(Default)]
pub(crate) struct Buffer(Vec<u8>);

struct Waiting {
    packet: Vec<u8>,
    descriptors: Vec<Owned>,
}

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
        let (socket, assembler, queue) = (Owned::new(socket), Assembler::default(), VecDeque::new());
        Self { socket, assembler, queue, queued_bytes: 0, broken: false }
    }

    /// Sends `frame` behind everything that was sent before, or queues what the socket does not take.
    ///
    /// **Errors**: `WouldBlock`: the queue has no room for the whole frame; nothing of it was sent. `InvalidInput`: a
    /// message above the cap of the wire. `BrokenPipe`: the other end is gone, or the system failed in the middle of a
    /// frame; nothing can be sent any more. Others, such as too many descriptors: nothing of the frame was sent.
    pub(crate) fn send(&mut self, frame: &Frame, mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        debug_assert_eq!(descriptors.len(), frame.kind().descriptors());
        let mut packets = frame.encode().map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        self.flush()?;
        self.check_room(&packets)?;
        let whole = packets.len();
        while self.queue.is_empty() {
            let Some(packet) = packets.next() else { return Ok(()) };
            let descriptors = mem::take(&mut descriptors);
            match rights::send(self.socket.as_fd(), &packet, descriptors) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.enqueue(packet, descriptors)?,
                Err(error) if packets.len() + 1 == whole && !is_gone(&error) => return Err(error),
                Err(error) => return Err(self.give_up(error)),
            }
        }
        packets.try_for_each(|packet| self.enqueue(packet, mem::take(&mut descriptors)))
    }

    /// Something is queued: [`flush`](Self::flush) when the socket becomes writable.
    pub(crate) fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends of the queue what the socket takes.
    ///
    /// **Errors**: `BrokenPipe` as for [`send`](Self::send), once; the queue is dropped.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(Waiting { packet, descriptors }) = self.queue.front() {
            let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match rights::send(self.socket.as_fd(), packet, &descriptors) {
                Ok(()) => self.queued_bytes -= packet.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.give_up(error)),
            }
            self.queue.pop_front();
        }
        Ok(())
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
        let descriptors = if lost_fds { Descriptors::Lost } else { Descriptors::Arrived(fds.len()) };
        match self.assembler.push(packet, descriptors) {
            Ok(None) => Incoming::Part,
            Ok(Some(frame)) if lost_fds => Incoming::LostDescriptors(frame),
            Ok(Some(frame)) => Incoming::Frame(frame, fds),
            Err(malformed) => Incoming::Malformed(malformed),
        }
    }

    fn check_room(&self, packets: &Packets<'_>) -> io::Result<()> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.queue.len() + packets.len() > QUEUE_PACKETS || self.queued_bytes + packets.bytes() > QUEUE_BYTES {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    fn enqueue(&mut self, packet: Vec<u8>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let duplicate = |fd: &BorrowedFd<'_>| fd.try_clone_to_owned().map(Owned::new);
        let descriptors = descriptors.iter().map(duplicate).collect::<io::Result<_>>()?;
        self.queued_bytes += packet.len();
        self.queue.push_back(Waiting { packet, descriptors });
        Ok(())
    }

    fn give_up(&mut self, error: io::Error) -> io::Error {
        self.broken = true;
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
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

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Whether the other end was closed or shut down.
fn is_hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // nix has no name for POLLRDHUP, and its `revents` is None where that is set.
    let mut socket = [PollFd::new(socket, PollFlags::from_bits_retain(libc::POLLRDHUP))];
    while let Err(error) = poll(&mut socket, PollTimeout::ZERO) {
        if error != nix::Error::EINTR {
            return Err(error.into());
        }
    }
    Ok(socket[0].revents().is_none_or(|events| events.contains(PollFlags::POLLHUP)))
}

/// Packets that wait for one peer: a worker that does not read is told nothing urgent a thousand times.
const QUEUE_PACKETS: usize = 1024;
/// Bytes that wait for one peer: two messages of the largest size.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of the socket's send buffer, as the kernel counts them: room for one full packet with its bookkeeping.
const SEND_BUFFER_MIN: usize = 2 * PACKET_MAX;

#[cfg(test)]
mod tests;
