//! Sticky connections: the first line of a client decides which worker serves it, whoever has accepted it.
//!
//! The kernel chooses a worker before the client has said anything. That worker reads the first line, which names a
//! room, and if the room is another worker's, it hands the accepted connection over: the descriptor and the bytes that
//! it has read go to the master, and the master passes them on. So a room's state is in one process, without locks.
//!
//! ```text
//! cargo run --example fd_passing -- --workers 4
//! ```
//!
//! Try `nc 127.0.0.1 8000` several times, and type `kitchen`, then more lines: the count goes on in whatever terminal
//! you are, and it is always the same worker. (There are no deadlines here; see `Worker::serve` for a loop with them.)

#[path = "support/master.rs"]
mod support;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, ErrorKind, Read, Write},
    os::fd::OwnedFd,
    process::ExitCode,
};

use clap::Parser;
use mio_cluster::{
    Error, Event, Master, Message, Result, Worker, WorkerEvent, WorkerId,
    mio::{Events, Interest, Poll, Token, net::TcpStream},
};

#[derive(Parser)]
#[command(version, about = "Connections that are handed to the worker that is in charge", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::MasterOptions,
}

fn main() -> ExitCode {
    let Options { server } = Options::parse();
    support::main(|| master(server))
}

/// Passes connections on. It touches only those that have not reached their worker yet.
fn master(mut options: support::MasterOptions) -> Result<()> {
    let workers = options.workers();
    let mut master = options.cluster().start(move |worker| Rooms::new(worker, workers)?.serve())?;
    while let Some(event) = master.wait(None)? {
        options.report(&event);
        if let Event::Message { message, .. } = event {
            pass_on(&mut master, message);
        }
    }
    Ok(())
}

/// To the worker in the slot that the message begins with; to another one while that slot is empty.
fn pass_on(master: &mut Master, mut message: Message) {
    let Some(slot) = message.bytes.first_chunk().map(|slot| usize::from(u16::from_le_bytes(*slot))) else { return };
    let mut workers: Vec<(bool, WorkerId)> =
        master.workers().map(|worker| (worker.slot.index() != slot, worker.id)).collect();
    workers.sort_unstable();
    for (_, id) in workers {
        match master.send(id, message).map_err(Error::into_message) {
            Ok(()) | Err(None) => return,
            Err(Some(back)) => message = back,
        }
    }
    log::warn!("a client is let go: no worker takes it");
}

/// A worker: its clients, and the lines that were said in its rooms.
struct Rooms {
    worker: Worker,
    workers: usize,
    poll: Poll,
    clients: HashMap<Token, Client>,
    last: Token,
    lines: HashMap<String, u64>,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// `None`: it has not said it yet.
    room: Option<String>,
    /// It came from a sibling, which knew where to.
    handed_over: bool,
}

impl Rooms {
    fn new(worker: Worker, workers: usize) -> io::Result<Self> {
        let (clients, lines) = (HashMap::new(), HashMap::new());
        Ok(Self { worker, workers, poll: Poll::new()?, clients, last: LISTENER, lines })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut listener = self.worker.listen()?;
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        loop {
            self.worker.poll(&mut self.poll, &mut events, None)?;
            let last_turn = self.worker.is_draining();
            while let Ok((stream, _peer)) = listener.accept() {
                self.admit(Client { stream, input: Vec::new(), room: None, handed_over: false })?;
            }
            while let Some(event) = self.worker.next_event() {
                if let WorkerEvent::Message(message) = event {
                    self.take_over(message)?;
                }
            }
            for event in &events {
                self.turn_to(event.token())?;
            }
            if last_turn {
                return Ok(());
            }
        }
    }

    fn admit(&mut self, mut client: Client) -> io::Result<()> {
        self.last.0 += 1;
        self.poll.registry().register(&mut client.stream, self.last, Interest::READABLE)?;
        self.clients.insert(self.last, client);
        self.turn_to(self.last)
    }

    /// Reads what a client has said, and answers or hands it over. It is let go when it has left.
    fn turn_to(&mut self, token: Token) -> io::Result<()> {
        let Some(mut client) = self.clients.remove(&token) else { return Ok(()) };
        let stays = client.read();
        if client.room.is_none() {
            if let Some(room) = client.line() {
                let owner = owner(&room, self.workers);
                if owner != self.worker.slot().index() && !client.handed_over {
                    return self.hand_over(client, &room, owner);
                }
                client.room = Some(room);
            }
        }
        if self.answer(&mut client).is_ok() && stays {
            self.clients.insert(token, client);
        }
        Ok(())
    }

    fn hand_over(&mut self, mut client: Client, room: &str, owner: usize) -> io::Result<()> {
        self.poll.registry().deregister(&mut client.stream)?;
        let slot = u16::try_from(owner).expect("there are 1024 slots at most");
        let bytes = [&slot.to_le_bytes(), room.as_bytes(), b"\n", &*client.input].concat();
        let message = Message::from(bytes).with_fd(OwnedFd::from(client.stream));
        match self.worker.send(message).map_err(Error::into_message) {
            Ok(()) | Err(None) => Ok(()),
            // The master is busy, so this worker does it itself.
            Err(Some(back)) => self.take_over(back),
        }
    }

    fn take_over(&mut self, mut message: Message) -> io::Result<()> {
        let Some(stream) = message.fds.pop() else { return Ok(()) };
        let stream = TcpStream::from_std(stream.into());
        self.admit(Client { stream, input: message.bytes.split_off(2), room: None, handed_over: true })
    }

    fn answer(&mut self, client: &mut Client) -> io::Result<()> {
        let Some(room) = client.room.clone() else { return Ok(()) };
        while let Some(line) = client.line() {
            let count = self.lines.entry(room.clone()).or_default();
            *count += 1;
            // A client that does not read such short answers is let go.
            writeln!(client.stream, "{room}, line {count}, worker {}: {line}", self.worker.id())?;
        }
        Ok(())
    }
}

impl Client {
    /// Reads all that has come. False: it has left, or says more than a line can hold.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        while self.input.len() <= LONGEST {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.input.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Takes the next complete line, without its end.
    fn line(&mut self) -> Option<String> {
        let end = self.input.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.input.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// The slot that is in charge of a room, by a hash that is the same in all processes, as that of a `HashMap` is not.
fn owner(room: &str, workers: usize) -> usize {
    let mut hash = DefaultHasher::new();
    room.hash(&mut hash);
    usize::try_from(hash.finish() % workers as u64).expect("it is below a usize")
}

const LISTENER: Token = Token(0);

/// Bytes that a client may have said and that are not answered yet.
const LONGEST: usize = 64 << 10;
