//! Connections of the Unix domain: the same loop, the same calls.

use std::{
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use mio_cluster::{Closed, Cluster, Io, Listen, Result, Service, Turn, WorkerHandle};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::SockRef;

use crate::harness::{WATCHDOG, options};

/// Sends everything back, and tells what becomes of its connections.
struct Echo(Sender<String>);

impl Service for Echo {
    type Conn = ();

    fn opened(&mut self, io: &mut Io<'_>) {
        self.0.send(format!("{:?} at {}", io.peer(), io.address())).unwrap();
    }

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        io.write(input);
        input.len()
    }

    fn closed(&mut self, _conn: (), _turn: &mut Turn<'_>, why: Closed) {
        self.0.send(format!("{why:?}")).unwrap();
    }
}

struct Server {
    path: PathBuf,
    handle: WorkerHandle,
    thread: JoinHandle<Result<()>>,
    said: Receiver<String>,
}

impl Server {
    fn start(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mio-cluster-serve-{}-{name}", std::process::id()));
        let worker = Cluster::new().listen(Listen::unix(&path).name("echo")).standalone().unwrap();
        let (handle, (say, said)) = (worker.handle(), mpsc::channel());
        let thread = thread::spawn(move || worker.serve_with(options(), Echo(say)));
        Self { path, handle, thread, said }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream
    }

    fn says(&self, expected: &str) {
        assert_eq!(self.said.recv_timeout(WATCHDOG).unwrap(), expected);
    }

    fn end(self) {
        self.handle.disconnect().unwrap();
        self.thread.join().unwrap().unwrap();
        assert!(!self.path.exists());
    }
}

#[test]
fn unix_peers_have_no_address_and_are_told_apart_by_how_they_end() {
    let server = Server::start("ends");
    let mut client = server.connect();
    server.says("None at echo");
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut answer).unwrap(), 0);
    server.says("ByPeer");
    let mut rude = server.connect();
    server.says("None at echo");
    rude.write_all(b"x").unwrap();
    // What it has not read when it goes is lost.
    SockRef::from(&rude).peek(&mut [MaybeUninit::uninit()]).unwrap();
    drop(rude);
    server.says("Reset");
    server.end();
}

/// More than the buffers of both sides hold, so each side waits for the other again and again.
#[test]
fn unix_back_pressure_loses_nothing() {
    let server = Server::start("pressure");
    let client = server.connect();
    let sent: Vec<u8> = (0..LARGE).map(|byte| (byte % 251) as u8).collect();
    let received = thread::scope(|scope| {
        scope.spawn(|| {
            (&client).write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        (&client).read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == sent);
    server.end();
}

#[test]
fn descriptors_that_a_unix_client_sends_are_closed() {
    let server = Server::start("descriptors");
    let mut client = server.connect();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(WATCHDOG)).unwrap();
    let fds = [theirs.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(client.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).unwrap();
    drop(theirs);
    client.read_exact(&mut [0]).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "the other end is closed everywhere");
    drop(client);
    server.end();
}

#[test]
fn unix_clients_in_the_queue_of_a_drain_are_served_and_later_ones_refused() {
    let path = std::env::temp_dir().join(format!("mio-cluster-serve-{}-drain", std::process::id()));
    let worker = Cluster::new().listen(Listen::unix(&path)).standalone().unwrap();
    let mut waiting = UnixStream::connect(&path).unwrap();
    waiting.write_all(b"x").unwrap();
    worker.handle().disconnect().unwrap();
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let (say, _said) = mpsc::channel();
    let thread = thread::spawn(move || worker.serve_with(options().drain_grace(Duration::ZERO), Echo(say)));
    let mut answer = Vec::new();
    waiting.shutdown(Shutdown::Write).unwrap();
    waiting.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"x");
    thread.join().unwrap().unwrap();
}

/// Bytes.
const LARGE: usize = 8 << 20;
