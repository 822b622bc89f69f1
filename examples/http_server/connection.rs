//! One connection: moves bytes between its socket and its [`Session`], and ends it without losing the last answer.
//!
//! Edge-triggered: readiness is remembered in `readable` and `writable` until the socket says otherwise, because it is
//! announced once.
//!
//! Closing a socket that holds unread input makes the kernel send a reset, which can destroy an answer on its way. So
//! after the last answer only the sending half is shut; what still comes is read and dropped until the peer closes too
//! ([`Progress::Lingering`]).

use std::{
    io::{self, Read, Write},
    net::Shutdown,
};

use mio_cluster::mio::{Interest, Registry, Token, event::Event, net::TcpStream};

use crate::{
    output::Output,
    server::Here,
    session::{End, Next, Session},
};

pub(crate) struct Connection {
    stream: TcpStream,
    session: Session,
    /// Received, not answered: at most one head and what one read brought.
    input: Vec<u8>,
    output: Output,
    phase: Phase,
    readable: bool,
    writable: bool,
    /// An event told of the peer's end of stream: only a read of 0 bytes, or an error, ends the reading.
    end_announced: bool,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last answer is in the output.
    Closing,
    Exiting(u8),
    /// The last answer is sent and the sending half is shut.
    Lingering,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// An event will tell when there is more to do.
    Waiting,
    /// There is more to do and no event will tell.
    Unfinished,
    /// All is sent. Told once: the peer has a limited time to close; go on as with `Unfinished`.
    Lingering,
    Closed,
    /// `/exit` was answered.
    Exit(u8),
}

impl Connection {
    pub(crate) fn register(mut stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            session: Session::default(),
            input: Vec::new(),
            output: Output::default(),
            phase: Phase::Open,
            readable: false,
            writable: true,
            end_announced: false,
            ended: false,
        })
    }

    pub(crate) fn note(&mut self, event: &Event) {
        // After an error the next read or write returns it.
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        self.end_announced |= event.is_read_closed() || event.is_error();
    }

    /// Reads at the next [`Connection::work`] even if no event asked for it.
    pub(crate) fn look_again(&mut self) {
        self.readable = true;
    }

    /// No request is begun and no answer unsent.
    pub(crate) fn is_idle(&self) -> bool {
        let quiet = self.input.is_empty() && self.output.is_empty();
        quiet && self.phase == Phase::Open && !self.session.is_in_body()
    }

    /// Reads, answers and writes until nothing moves, or until others should have a turn.
    pub(crate) fn work(&mut self, here: &Here<'_>, buffer: &mut [u8]) -> Progress {
        for _round in 0..ROUNDS {
            match self.round(here, buffer) {
                Ok(None) => {}
                Ok(Some(progress)) => return progress,
                Err(error) => {
                    log::debug!("connection lost: {error}");
                    return self.lost();
                }
            }
        }
        Progress::Unfinished
    }

    /// `None`: bytes moved, so it is worth another round.
    fn round(&mut self, here: &Here<'_>, buffer: &mut [u8]) -> io::Result<Option<Progress>> {
        if self.phase == Phase::Open {
            self.answer(here);
        }
        let wrote = self.write()?;
        if self.output.is_empty() {
            match self.phase {
                Phase::Closing => return self.shut().map(Some),
                Phase::Exiting(code) => return Ok(Some(Progress::Exit(code))),
                Phase::Lingering if self.ended => return Ok(Some(Progress::Closed)),
                Phase::Open | Phase::Lingering => {}
            }
        }
        let read = self.read(buffer)?;
        Ok(if wrote || read { None } else { Some(Progress::Waiting) })
    }

    fn answer(&mut self, here: &Here<'_>) {
        let mut host = here.with(&mut self.output);
        let (used, next) = self.session.receive(&self.input, &mut host);
        self.input.drain(..used);
        self.input.shrink_to(KEPT);
        self.phase = match next {
            Next::Input if self.ended => Phase::Closing,
            Next::Input | Next::Room => Phase::Open,
            Next::End(End::Exit(code)) => Phase::Exiting(code),
            Next::End(End::Close | End::Linger) => Phase::Closing,
        };
    }

    fn write(&mut self) -> io::Result<bool> {
        if !self.writable || self.output.is_empty() {
            return Ok(false);
        }
        match self.stream.write(self.output.chunk()) {
            Ok(count) => self.output.wrote(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(error) => return Err(error),
        }
        Ok(self.writable)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let wanted = match self.phase {
            Phase::Open => !self.output.is_full(),
            Phase::Lingering => true,
            Phase::Closing | Phase::Exiting(_) => false,
        };
        if !wanted || !self.readable || self.ended {
            return Ok(false);
        }
        match self.stream.read(buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                // A short read emptied the socket, and whatever comes later raises a new event; an end announced before
                // does not.
                self.readable = count == buffer.len() || self.end_announced;
                if self.phase == Phase::Open {
                    self.input.extend_from_slice(&buffer[..count]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn shut(&mut self) -> io::Result<Progress> {
        if self.ended {
            return Ok(Progress::Closed);
        }
        self.stream.shutdown(Shutdown::Write)?;
        self.phase = Phase::Lingering;
        Ok(Progress::Lingering)
    }

    fn lost(&self) -> Progress {
        match self.phase {
            Phase::Exiting(code) => Progress::Exit(code),
            Phase::Open | Phase::Closing | Phase::Lingering => Progress::Closed,
        }
    }
}

/// Reads and writes of one connection per turn; a peer that asks without end must not keep the others waiting.
const ROUNDS: usize = 16;

/// Room for ordinary requests; a large one does not hold its memory for as long as the connection stays idle.
const KEPT: usize = 4096;
