//! What `worker.serve` allocates: nothing per request, and nothing per connection once there were as many.
//!
//! One test in a process of its own, as everything is counted that any of its threads allocates; the client, which is
//! the test's thread, allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test program: a failure is a panic")]

use std::{
    alloc::System,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use mio_cluster::{Cluster, Deadline, Io, Serve, Service};
use socket2::SockRef;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Answers each line of 8 bytes by 64; `stream` by much more, piece by piece.
struct Lines;

impl Service for Lines {
    type Conn = usize;

    fn opened(&mut self, _io: &mut Io<'_>) -> usize {
        0
    }

    fn received(&mut self, left: &mut usize, io: &mut Io<'_>, input: &[u8]) -> usize {
        let Some(line) = input.first_chunk::<LINE>() else { return 0 };
        io.requests(1);
        match line {
            b"stream.\n" => {
                *left = STREAM;
                self.flushed(left, io);
            }
            _other => io.write(&ANSWER),
        }
        LINE
    }

    fn flushed(&mut self, left: &mut usize, io: &mut Io<'_>) {
        let piece = (*left).min(PIECE);
        io.write(&[b'.'; PIECE][..piece]);
        *left -= piece;
        if *left > 0 {
            io.want_flushed();
        }
    }

    fn timed_out(&mut self, _left: &mut usize, _io: &mut Io<'_>, _which: Deadline) {}
}

const LINE: usize = 8;
const ANSWER: [u8; 64] = [b'.'; 64];
const PIECE: usize = 1 << 15;
/// Of several turns.
const STREAM: usize = 1 << 21;

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// So many at once.
fn ask<const N: usize>(stream: &mut TcpStream) {
    stream.write_all([*b"a line.\n"; N].as_flattened()).unwrap();
    let mut answers = [[0; 64]; N];
    stream.read_exact(answers.as_flattened_mut()).unwrap();
}

/// In two segments.
fn ask_slowly(stream: &mut TcpStream) {
    stream.write_all(b"a li").unwrap();
    stream.write_all(b"ne.\n").unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
}

fn stream(stream: &mut TcpStream) {
    stream.write_all(b"stream.\n").unwrap();
    let (mut buffer, mut left) = ([0; 4096], STREAM);
    while left > 0 {
        left -= stream.read(&mut buffer).unwrap();
    }
}

/// The place of one that has ended, with a request on it.
fn come_and_go(at: SocketAddr) {
    let mut stream = connect(at);
    ask::<1>(&mut stream);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Allocations in the best of some rounds of so much work. How many buffers are needed at once depends on the pieces in
/// which requests arrive; when it is one more than ever before, it is allocated, once. What is allocated per request or
/// connection is so in every round.
fn count(times: usize, mut work: impl FnMut()) -> usize {
    let mut round = || {
        let region = Region::new(COUNTED);
        (0..times).for_each(|_| work());
        let change = region.change();
        change.allocations + change.reallocations
    };
    (0..2).fold(round(), |least, _| if least > 0 { least.min(round()) } else { 0 })
}

#[test]
fn requests_and_connections_allocate_nothing() {
    let worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
    let (at, handle) = (worker.addresses()[0].socket_addr().unwrap(), worker.handle());
    let server = thread::spawn(|| worker.serve_with(Serve::new().drain_grace(Duration::from_millis(1)), Lines));
    let mut clients: Vec<TcpStream> = (0..64).map(|_| connect(at)).collect();
    let all = |clients: &mut [TcpStream], work: fn(&mut TcpStream)| clients.iter_mut().for_each(work);
    // Up to what it will need.
    for _ in 0..3 {
        [ask::<1>, ask::<16>, ask_slowly, stream].into_iter().for_each(|work| all(&mut clients, work));
        (0..100).for_each(|_| come_and_go(at));
    }
    let counts = [
        ("10 000 requests", count(10_000, || ask::<1>(&mut clients[0]))),
        ("6 400 on 64 connections", count(100, || all(&mut clients, ask::<1>))),
        ("102 400, 16 at a time", count(100, || all(&mut clients, ask::<16>))),
        ("6 400 in two segments each", count(100, || all(&mut clients, ask_slowly))),
        ("64 large answers, piece by piece", count(1, || all(&mut clients, stream))),
        ("1 000 connections", count(1000, || come_and_go(at))),
    ];
    assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    handle.disconnect().unwrap();
    drop(clients);
    server.join().unwrap().unwrap();
}
