//! The load generator: clients in one mio loop, each with a request on its way at every moment.
//!
//! **What counts as accepted.** A connection belongs to the server from the moment it is established: the kernel has
//! put it into the accept queue of one worker. So a request is *accepted* if its connection was established before
//! [`Load::expect_stop`] was called, just before the signals are sent, or has had an answer before. If such a request
//! gets anything but a whole answer (end of stream, a reset, half an answer) it counts as `lost`. A connection that is
//! established later meets a server that is closing its doors: it may be answered, refused, or reset in the queue of a
//! door that closes at that moment (`late`); by design nobody can tell the last two apart but the client, which may try
//! elsewhere in both cases.
//!
//! A connection that is reset while the client still takes it for half-open was established as well: what meets no
//! socket at all is refused.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use mio_cluster::mio::{Events, Interest, Poll, Token, net::TcpStream, unix::SourceFd};

use nix::libc;

use crate::{Attempt, serve::CLOSE};

pub(crate) struct Load {
    address: SocketAddr,
    connections: Connections,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    counts: Counts,
    phase: Phase,
}

/// What a client does after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Even clients keep their connection; odd ones take a new one for every request, so that the accept queues are
    /// never empty.
    Mixed,
    /// All take a new one for every request.
    New,
    /// All keep theirs.
    Kept,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The server stops: it may refuse, and clients that are refused give up.
    Stopping,
    /// The load ends: no new requests.
    Ending,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) answered: u64,
    /// Connections, as the clients see it.
    pub(crate) established: u64,
    /// Accepted and not answered.
    pub(crate) lost: u64,
    /// Connections that were not accepted and broke.
    pub(crate) late: u64,
    pub(crate) refused: u64,
    /// Not answered long after the end of the load.
    pub(crate) hung: u64,
}

#[derive(Default)]
struct Client {
    connection: Option<Connection>,
    /// No more is tried.
    over: bool,
}

struct Connection {
    stream: TcpStream,
    established: bool,
    accepted: bool,
    input: Vec<u8>,
}

enum Progress {
    Waiting,
    /// Whether the connection may be used again.
    Answered(bool),
    Broken,
    Refused,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, clients: usize, connections: Connections) -> Attempt<Self> {
        Ok(Self {
            address,
            connections,
            poll: Poll::new()?,
            events: Events::with_capacity(clients + 1),
            clients: (0..clients).map(|_| Client::default()).collect(),
            counts: Counts::default(),
            phase: Phase::Running,
        })
    }

    pub(crate) fn run(&mut self, time: Duration) -> Attempt<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    /// From now on connections may be refused, and clients that are refused give up.
    pub(crate) fn expect_stop(&mut self) {
        self.phase = Phase::Stopping;
    }

    /// Goes on until every client was refused.
    pub(crate) fn run_out(&mut self, within: Duration) -> Attempt<()> {
        match self.until_over(within)? {
            0 => Ok(()),
            _ => Err("clients were still served, or hung, long after the stop".into()),
        }
    }

    /// Waits for the answers that are due.
    fn finish(&mut self, within: Duration) -> Attempt<()> {
        self.phase = Phase::Ending;
        self.counts.hung = self.until_over(within)?;
        Ok(())
    }

    /// How many clients are not.
    fn until_over(&mut self, within: Duration) -> Attempt<u64> {
        let end = Instant::now() + within;
        loop {
            let busy = self.clients.iter().filter(|client| !client.over).count();
            if busy == 0 || Instant::now() >= end {
                return Ok(busy as u64);
            }
            self.turn(end)?;
        }
    }

    pub(crate) fn into_counts(self) -> Counts {
        self.counts
    }

    /// Whether standard input had something to say.
    fn turn(&mut self, end: Instant) -> Attempt<bool> {
        for at in 0..self.clients.len() {
            if self.clients[at].connection.is_some() || self.clients[at].over {
                continue;
            }
            match self.phase {
                Phase::Running | Phase::Stopping => self.connect(at)?,
                Phase::Ending => self.clients[at].over = true,
            }
        }
        let left = end.saturating_duration_since(Instant::now()).min(LONGEST_TURN);
        match self.poll.poll(&mut self.events, Some(left)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        ready.iter().filter(|at| **at != STDIN.0).for_each(|at| self.work(*at));
        Ok(ready.contains(&STDIN.0))
    }

    fn connect(&mut self, at: usize) -> Attempt<()> {
        match TcpStream::connect(self.address) {
            Ok(mut stream) => {
                self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
                let connection = Connection { stream, established: false, accepted: false, input: Vec::new() };
                self.clients[at].connection = Some(connection);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.refuse(at),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn refuse(&mut self, at: usize) {
        self.counts.refused += 1;
        self.clients[at] = Client { connection: None, over: self.phase == Phase::Stopping };
    }

    fn work(&mut self, at: usize) {
        let keeps = match self.connections {
            Connections::Mixed => at % 2 == 0,
            Connections::New => false,
            Connections::Kept => true,
        };
        while let Some(connection) = self.clients[at].connection.as_mut() {
            let before = connection.established;
            let progress = connection.work(keeps, self.phase);
            self.counts.established += u64::from(connection.established && !before);
            match progress {
                Progress::Waiting => return,
                Progress::Answered(again) => {
                    self.counts.answered += 1;
                    if !again || self.phase == Phase::Ending || connection.ask(keeps).is_err() {
                        self.clients[at].connection = None;
                    }
                }
                Progress::Broken => {
                    let count = if connection.accepted { &mut self.counts.lost } else { &mut self.counts.late };
                    *count += 1;
                    self.clients[at].connection = None;
                }
                Progress::Refused => self.refuse(at),
            }
        }
    }
}

impl Connection {
    fn work(&mut self, keeps: bool, phase: Phase) -> Progress {
        if !self.established {
            if let Some(progress) = self.establish(phase) {
                return progress;
            }
            if self.ask(keeps).is_err() {
                return Progress::Broken;
            }
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Progress::Broken,
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                self.judge(keeps)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Waiting,
            Err(_) => Progress::Broken,
        }
    }

    /// `None`: it is.
    fn establish(&mut self, phase: Phase) -> Option<Progress> {
        let error = match self.stream.take_error() {
            Ok(None) if self.stream.peer_addr().is_ok() => None,
            Ok(None) => return Some(Progress::Waiting),
            Ok(Some(error)) | Err(error) => Some(error),
        };
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if error.as_ref().is_some_and(refused) {
            return Some(Progress::Refused);
        }
        // A reset that the client sees only now.
        let reset = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE));
        self.established = error.as_ref().is_none_or(reset);
        self.accepted = self.established && phase != Phase::Stopping;
        error.map(|_| Progress::Broken)
    }

    /// A request is small and alone, so a new or an idle connection has room for it.
    fn ask(&mut self, keeps: bool) -> io::Result<()> {
        self.stream.write_all(if keeps { REQUEST } else { LAST_REQUEST })
    }

    /// Whether the answer is whole.
    fn judge(&mut self, keeps: bool) -> Progress {
        let Some(head) = position(&self.input, b"\r\n\r\n") else { return Progress::Waiting };
        let wanted = head + 4 + content_length(&self.input[..head + 2]);
        if self.input.len() < wanted {
            return Progress::Waiting;
        }
        let closes = position(&self.input[..head + 2], CLOSE).is_some();
        self.accepted = true;
        self.input.clear();
        Progress::Answered(keeps && !closes)
    }
}

impl Counts {
    fn to_line(&self) -> String {
        let Self { answered, established, lost, late, refused, hung } = self;
        format!("{answered} {established} {lost} {late} {refused} {hung}")
    }

    /// What the role `--load` prints.
    pub(crate) fn from_line(line: &str) -> Attempt<Self> {
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [answered, established, lost, late, refused, hung] = numbers[..] else {
            return Err(format!("strange counts: {line}").into());
        };
        Ok(Self { answered, established, lost, late, refused, hung })
    }
}

/// The role `--load`: until something comes on standard input.
pub(crate) fn run(address: &str, clients: &str, connections: Connections) -> Attempt<ExitCode> {
    let mut load = Load::new(address.parse()?, clients.parse()?, connections)?;
    load.poll.registry().register(&mut SourceFd(&0), STDIN, Interest::READABLE)?;
    while !load.turn(Instant::now() + LONGEST_TURN)? {}
    load.poll.registry().deregister(&mut SourceFd(&0))?;
    load.finish(ANSWERED_WITHIN)?;
    println!("{}", load.counts.to_line());
    Ok(ExitCode::SUCCESS)
}

/// Whether these bytes are one answer from its first to its last.
pub(crate) fn is_whole(answer: &[u8]) -> bool {
    position(answer, b"\r\n\r\n").is_some_and(|head| answer.len() == head + 4 + content_length(&answer[..head + 2]))
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// 0 if the head does not say.
fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Clients that were refused try again at the next turn.
const LONGEST_TURN: Duration = Duration::from_millis(20);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const STDIN: Token = Token(usize::MAX);
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
