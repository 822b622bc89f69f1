//! A [`Client`] on its socket.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use mio_cluster::mio::{Interest, Registry, Token, event::Event, net::TcpStream};
use nix::errno::Errno;

use crate::{
    client::{Asked, Client, Cut, End, Seen},
    failure::Failure,
    socket::Sockets,
};

pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) started: Instant,
    /// When an idle connection asks next.
    pub(crate) next_ping: Option<Instant>,
    stream: TcpStream,
    /// The end of the requests that has not left.
    unsent: usize,
    /// How sending failed, until what has come before is read.
    broken: Option<Cut>,
    /// When the last answer had come.
    parting: Option<Instant>,
}

/// What has come with one event.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) bytes: u64,
    pub(crate) established: bool,
    pub(crate) end: Option<End>,
}

impl Connection {
    pub(crate) fn start(
        sockets: &mut Sockets,
        registry: &Registry,
        token: Token,
        client: Client,
        now: Instant,
    ) -> io::Result<Self> {
        let mut stream = sockets.connect()?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { client, started: now, next_ping: None, stream, unsent: 0, broken: None, parting: None })
    }

    /// One request more, of so many bytes; [`send`](Self::send) sends it.
    pub(crate) fn ask(&mut self, asked: Asked, length: usize) {
        self.client.ask(asked);
        self.unsent += length;
    }

    /// `requests` ends as what is unsent does: all requests are the same.
    pub(crate) fn send(&mut self, requests: &[u8]) {
        while self.unsent > 0 && !self.client.is_connecting() && self.broken.is_none() {
            match self.stream.write(&requests[requests.len() - self.unsent..]) {
                Ok(count) => {
                    self.unsent -= count;
                    self.client.sent();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.broken = Some(cut(&error)),
            }
        }
    }

    /// Whether it must be read to learn how it has ended: no event may tell.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(crate) fn work(&mut self, event: &Event, requests: &[u8], input: &mut [u8], seen: Seen<'_>) -> News {
        let mut news = News::default();
        if self.client.is_connecting() {
            if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
                let failure = Failure::of_connect(&error);
                if failure == Failure::ResetBeforeRequest {
                    self.client.established();
                    news.established = true;
                }
                news.end = Some(End::Failed(failure));
                return news;
            }
            if !event.is_writable() {
                return news;
            }
            self.client.established();
            news.established = true;
        }
        self.send(requests);
        if event.is_readable() || event.is_read_closed() || event.is_error() || self.is_broken() {
            let ends = event.is_read_closed() || event.is_error();
            self.read(ends, input, seen, &mut news);
        }
        news
    }

    /// `ends`: the end of the stream is known to be there.
    pub(crate) fn read(&mut self, ends: bool, input: &mut [u8], seen: Seen<'_>, news: &mut News) {
        loop {
            match self.stream.read(input) {
                Ok(0) => news.end = Some(self.client.cut(self.broken.unwrap_or(Cut::Eof), seen)),
                Ok(count) => {
                    news.bytes += count as u64;
                    news.end = self.client.received(&input[..count], seen).err();
                    // What comes after a short read comes with an event.
                    if news.end.is_none() && (count == input.len() || ends || self.is_broken()) {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    news.end = self.broken.map(|how| self.client.cut(how, seen));
                }
                Err(error) => news.end = Some(self.client.cut(self.broken.unwrap_or(cut(&error)), seen)),
            }
            return;
        }
    }

    /// When its time is over, or it asks next.
    pub(crate) fn due(&mut self, now: Instant, timeout: Duration) -> Option<Instant> {
        if self.client.is_connecting() {
            Some(self.started + timeout)
        } else if self.client.is_parting() {
            Some(*self.parting.get_or_insert(now) + PARTING)
        } else {
            self.client.oldest().map(|asked| asked.begun + timeout).or(self.next_ping)
        }
    }

    /// Whether the time of [`due`](Self::due) is a deadline.
    pub(crate) fn has_deadline(&self) -> bool {
        self.client.is_connecting() || self.client.is_parting() || self.client.unanswered() > 0
    }
}

/// EPIPE: there was an end of the stream before the reset.
fn cut(error: &io::Error) -> Cut {
    if error.raw_os_error() == Some(Errno::EPIPE as i32) { Cut::Eof } else { Cut::Reset }
}

/// Who closes first keeps the port for a minute: that is to be the server, which said that it would.
const PARTING: Duration = Duration::from_millis(100);
