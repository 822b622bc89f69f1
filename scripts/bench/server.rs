//! The servers: one loop, over a bare mio listener or over a `Listener`.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    time::Duration,
};

use mio_cluster::{
    Listener, Worker,
    mio::{
        Events, Interest, Poll, Token,
        event::Source,
        net::{TcpListener, TcpStream},
    },
};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use crate::Attempt;

/// What is done with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// It is accepted and closed.
    Close,
    /// One request is answered, then it is closed.
    Answer,
}

/// The worker function. Says its address, then the nanoseconds of CPU that each [`REPORT_EVERY`] connections took, one
/// number per line.
pub(crate) fn work(mut worker: Worker, job: Job, report: &UnixStream) -> Attempt<()> {
    match worker.slot().index() {
        0 | 1 => {
            let door = bare()?;
            worker.ready()?;
            serve(door, job, report, |poll, events| poll.poll(events, None))
        }
        2 => {
            let door = worker.listen_on(PLAIN)?;
            worker.ready()?;
            serve(door, job, report, |poll, events| poll.poll(events, None))
        }
        _ => {
            let door = worker.listen_on(WORKER)?;
            worker.ready()?;
            serve(door, job, report, |poll, events| {
                worker.poll(poll, events, None)?;
                if worker.is_draining() { Err(io::Error::other("asked to stop")) } else { Ok(()) }
            })
        }
    }
}

/// The same options as a worker's own.
fn bare() -> Attempt<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(i32::MAX)?;
    Ok(TcpListener::from_std(socket.into()))
}

trait Door: Source {
    fn next(&self) -> io::Result<(TcpStream, SocketAddr)>;
    fn address(&self) -> io::Result<SocketAddr>;
}

impl Door for TcpListener {
    fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept()
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Door for Listener {
    fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept()
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

fn serve<D: Door>(
    mut door: D,
    job: Job,
    mut report: &UnixStream,
    mut wait: impl FnMut(&mut Poll, &mut Events) -> io::Result<()>,
) -> Attempt<()> {
    writeln!(report, "{}", door.address()?)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    poll.registry().register(&mut door, DOOR, Interest::READABLE)?;
    let mut clients = Clients { job, table: Vec::new(), free: Vec::new() };
    let (mut closed, mut told, mut before) = (0, 0, cpu_time()?);
    loop {
        match wait(&mut poll, &mut events) {
            // strace does that.
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        for event in &events {
            closed += match event.token() {
                DOOR => clients.accept(&door, &poll)?,
                token => clients.answer(token)?,
            };
        }
        while told + REPORT_EVERY <= closed {
            told += REPORT_EVERY;
            let now = cpu_time()?;
            writeln!(report, "{}", (now - before).as_nanos())?;
            before = now;
        }
    }
}

/// By token.
struct Clients {
    job: Job,
    table: Vec<Option<TcpStream>>,
    free: Vec<usize>,
}

impl Clients {
    /// How many it has closed.
    fn accept(&mut self, door: &impl Door, poll: &Poll) -> io::Result<usize> {
        let mut closed = 0;
        loop {
            let mut stream = match door.next() {
                Ok((stream, _peer)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(closed),
                Err(error) => return Err(error),
            };
            if self.job == Job::Close {
                closed += 1;
                continue;
            }
            let at = self.free.pop().unwrap_or(self.table.len());
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            match self.table.get_mut(at) {
                Some(place) => *place = Some(stream),
                None => self.table.push(Some(stream)),
            }
        }
    }

    fn answer(&mut self, token: Token) -> io::Result<usize> {
        let Some(stream) = self.table[token.0].as_mut() else { return Ok(0) };
        // A request is small and alone: it comes whole.
        match stream.read(&mut [0; 1024]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => result?,
        };
        stream.write_all(ANSWER)?;
        self.table[token.0] = None;
        self.free.push(token.0);
        Ok(1)
    }
}

/// Of this process, user and system.
fn cpu_time() -> nix::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

const DOOR: Token = Token(usize::MAX);

pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// Connections between two lines.
pub(crate) const REPORT_EVERY: usize = 50;

/// The addresses of the two servers with a `Listener`.
pub(crate) const PLAIN: &str = "plain";
pub(crate) const WORKER: &str = "worker";
