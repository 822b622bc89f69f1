//! The server of the cases: a service that does what lines tell it to, in TLS, on a thread.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mio_cluster::{Closed, Cluster, Deadline, Io, Key, Mailbox, Posted, Serve, Service, Turn, WorkerHandle};

use super::tls::{self, Tls};

/// Each line is a command; the first one of a connection is the service's "hello".
struct Commands {
    events: Sender<Event>,
}

/// What the service was told, in order.
#[derive(Debug)]
pub(super) enum Event {
    Opened(Key, Mailbox),
    EndOfInput,
    TimedOut(Deadline),
    Closed(Closed),
}

#[derive(Default)]
pub(super) struct Conn {
    /// To be written, piece by piece.
    left: usize,
    /// To be taken, however it comes.
    missing: usize,
    taken: u64,
    /// The client says no more, but is still to be told something.
    is_ended: bool,
    stays: bool,
}

impl Commands {
    fn tell(&self, event: Event) {
        // The case may be over.
        let _ = self.events.send(event);
    }

    fn take(conn: &mut Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        let count = input.len().min(conn.missing);
        conn.missing -= count;
        conn.taken += input[..count].iter().map(|&byte| u64::from(byte)).sum::<u64>();
        if conn.missing == 0 {
            io.write(format!("{}\n", conn.taken).as_bytes());
            io.set_in_request(false);
        }
        count
    }

    fn obey(conn: &mut Conn, io: &mut Io<'_>, line: &str) {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        let number = || argument.trim().parse().unwrap();
        match command {
            "echo" => io.write(format!("{argument}\n").as_bytes()),
            // With one call, however much is unsent.
            "write" => io.write(&pattern(number())),
            "stream" => {
                conn.left = number();
                io.want_flushed();
            }
            "take" => {
                (conn.missing, conn.taken) = (number(), 0);
                io.set_in_request(true);
            }
            "stay" => conn.stays = true,
            "close" => {
                io.write(b"closed\n");
                io.close();
            }
            "abort" => io.abort(),
            _unknown => panic!("{line:?}"),
        }
    }
}

impl Service for Commands {
    type Conn = Conn;

    fn opened(&mut self, io: &mut Io<'_>) -> Conn {
        self.tell(Event::Opened(io.key(), io.mailbox()));
        io.write(b"hello\n");
        Conn::default()
    }

    fn received(&mut self, conn: &mut Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        assert!(
            input.len() <= READ + 2 * RECORD,
            "{} bytes have come although there was no room for answers",
            input.len()
        );
        if conn.missing > 0 {
            return Self::take(conn, io, input);
        }
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        Self::obey(conn, io, std::str::from_utf8(&input[..end]).unwrap());
        end + 1
    }

    fn end_of_input(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        self.tell(Event::EndOfInput);
        io.write(b"end\n");
        conn.is_ended = true;
        if !conn.stays {
            io.close();
        }
    }

    fn flushed(&mut self, conn: &mut Conn, io: &mut Io<'_>) {
        let count = conn.left.min(PIECE);
        conn.left -= count;
        io.write(&pattern(count));
        if conn.left > 0 {
            io.want_flushed();
        }
    }

    fn timed_out(&mut self, _conn: &mut Conn, io: &mut Io<'_>, which: Deadline) {
        self.tell(Event::TimedOut(which));
        io.close();
    }

    fn posted(&mut self, conn: &mut Conn, io: &mut Io<'_>, value: Posted) {
        io.write(value.downcast::<String>().unwrap().as_bytes());
        if conn.is_ended {
            io.close();
        }
    }

    fn draining(&mut self, _conn: &mut Conn, io: &mut Io<'_>) {
        io.write(b"draining\n");
    }

    fn closed(&mut self, _conn: Conn, _turn: &mut Turn<'_>, why: Closed) {
        self.tell(Event::Closed(why));
    }
}

/// What "write" and "stream" write, and a piece of it for the latter.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    let piece: Vec<u8> = (0..PIECE).map(|at| (at % 251) as u8).collect();
    let mut bytes = piece.repeat(count / PIECE);
    bytes.extend_from_slice(&piece[..count % PIECE]);
    bytes
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) handle: WorkerHandle,
    events: Receiver<Event>,
    thread: JoinHandle<mio_cluster::Result<()>>,
}

impl Server {
    pub(super) fn start(options: Serve) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
        let config = tls::config(&folder.join("certificate.pem"), &folder.join("key.pem")).unwrap();
        assert!(config.ticketer.enabled(), "or clients would have to come back to the same worker");
        let (sender, events) = mpsc::channel();
        let service = Tls::new(Arc::new(config), Commands { events: sender });
        let worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
        let (address, handle) = (worker.addresses()[0].socket_addr().unwrap(), worker.handle());
        let options = options.drain_grace(Duration::from_millis(1));
        Self { address, handle, events, thread: thread::spawn(|| worker.serve_with(options, service)) }
    }

    pub(super) fn event(&self) -> Event {
        self.events.recv_timeout(WATCHDOG).unwrap()
    }

    pub(super) fn opened(&self) -> (Key, Mailbox) {
        let event = self.event();
        let Event::Opened(key, mailbox) = event else { panic!("{event:?}") };
        (key, mailbox)
    }

    pub(super) fn closed(&self) -> Closed {
        let event = self.event();
        let Event::Closed(why) = event else { panic!("{event:?}") };
        why
    }

    pub(super) fn failed(&self) -> io::ErrorKind {
        let why = self.closed();
        let Closed::Failed(error) = why else { panic!("{why:?}") };
        error.kind()
    }

    /// The service was told nothing else, to the end.
    pub(super) fn end(self) {
        // The case may have done it.
        let _ = self.handle.disconnect();
        self.thread.join().unwrap().unwrap();
        if let Ok(event) = self.events.try_recv() {
            panic!("{event:?}");
        }
    }
}

/// What the loop reads at once, and what can be left of earlier input.
const READ: usize = 64 << 10;
const RECORD: usize = 16 << 10;

/// Not a divisor of anything.
const PIECE: usize = 10_007;

pub(super) const WATCHDOG: Duration = Duration::from_secs(60);
