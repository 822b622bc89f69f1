//! Deadlines: each one for itself, never early, on and off.

use std::{
    io::{Read, Write},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use mio_cluster::{Deadline, Io, Posted, Serve, Service, TimerId, Turn};

use crate::{
    harness::{Client, Closed, Server, ms, options},
    obedient::Obedient,
    order::What,
};

/// A line at a time; goes on when a deadline passes, as often as it was told.
struct Lines(u32);

impl Service for Lines {
    type Conn = u32;

    fn opened(&mut self, _io: &mut Io<'_>) -> u32 {
        self.0
    }

    fn received(&mut self, _left: &mut u32, io: &mut Io<'_>, input: &[u8]) -> usize {
        match input.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                io.write(&input[..=end]);
                end + 1
            }
            None => 0,
        }
    }

    fn timed_out(&mut self, left: &mut u32, io: &mut Io<'_>, _which: Deadline) {
        match *left {
            0 => io.close(),
            _ => *left -= 1,
        }
    }
}

/// None at all.
fn none() -> Serve {
    options().first_byte_timeout(None).request_timeout(None).idle_timeout(None).write_timeout(None)
}

const SHORT: Duration = ms(20);

fn is_late(then: Instant, now: Instant) {
    assert!(now - then >= SHORT, "{:?} is early", now - then);
}

#[test]
fn first_byte() {
    let server = Server::start(none().first_byte_timeout(SHORT), Obedient);
    let mut client = server.connect();
    let opened = server.wait(What::Opened).at;
    is_late(opened, server.wait(What::TimedOut(Deadline::FirstByte)).at);
    assert_eq!(server.closed(), "TimedOut(FirstByte)");
    client.ends();
}

#[test]
fn first_byte_is_no_longer_waited_for() {
    let (server, mut client) = early(none().first_byte_timeout(SHORT), TickingLines(Lines(0)), b"a");
    let received = server.fact(|what| matches!(what, What::Received { .. })).at;
    ticks(&server, received);
    assert_eq!(client.ask("b"), "ab");
    drop(client);
    assert_eq!(server.closed(), "ByPeer");
}

/// A client that has sent this before the deadlines begin.
fn early(options: Serve, service: impl Service + Send + 'static, bytes: &[u8]) -> (Server, Client) {
    let closed = Closed::new();
    let mut client = closed.connect();
    client.send(bytes);
    (closed.run(options, service), client)
}

/// Until twice the time has passed.
fn ticks(server: &Server, since: Instant) {
    while server.wait(What::Timer(TimerId(0))).at < since + 2 * SHORT {}
}

/// With a timer that makes the loop turn every millisecond.
struct TickingLines(Lines);

impl Service for TickingLines {
    type Conn = u32;

    fn started(&mut self, turn: &mut Turn<'_>) -> std::io::Result<()> {
        self.timer(turn, TimerId(0));
        Ok(())
    }

    fn opened(&mut self, io: &mut Io<'_>) -> u32 {
        self.0.opened(io)
    }

    fn received(&mut self, conn: &mut u32, io: &mut Io<'_>, input: &[u8]) -> usize {
        self.0.received(conn, io, input)
    }

    fn timed_out(&mut self, conn: &mut u32, io: &mut Io<'_>, which: Deadline) {
        self.0.timed_out(conn, io, which);
    }

    fn timer(&mut self, turn: &mut Turn<'_>, id: TimerId) {
        turn.set_timer(id, Some(ms(1)));
    }
}

/// Also in a loop that turns all the time.
#[test]
fn no_deadline_is_early() {
    let server = Server::start(none().first_byte_timeout(SHORT), TickingLines(Lines(20)));
    let _clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let mut since = std::collections::HashMap::new();
    let mut deadlines = 0;
    while deadlines < 400 {
        let fact = server.next();
        match fact.what {
            What::Opened => assert!(since.insert(fact.key, fact.at).is_none()),
            What::TimedOut(which) => {
                assert_eq!(which, Deadline::FirstByte);
                is_late(since.insert(fact.key, fact.at).unwrap(), fact.at);
                deadlines += 1;
            }
            _other => {}
        }
    }
}

/// Slowloris: a byte now and then, and the request is not complete for all that.
#[test]
fn request() {
    let server = Server::start(none().request_timeout(SHORT), Lines(0));
    let mut client = server.connect();
    assert_eq!(client.ask("quick"), "quick");
    let _ = server.fact(|what| matches!(what, What::Received { used: 6, .. }));
    client.send(b"s");
    let first = server.fact(|what| matches!(what, What::Received { .. })).at;
    // As fast as the server can be seen to take them, until it has enough.
    loop {
        let _ = client.0.write(b"l");
        match server.next() {
            fact if fact.what == What::TimedOut(Deadline::Request) => {
                is_late(first, fact.at);
                break;
            }
            fact => assert!(matches!(fact.what, What::Received { used: 0, .. }), "{fact:?}"),
        }
    }
    assert_eq!(server.closed(), "TimedOut(Request)");
    client.is_gone();
}

/// A request that is complete starts the time of the next one, which is here in part.
#[test]
fn each_request_has_its_own_time() {
    let server = Server::start(none().request_timeout(SHORT), Lines(0));
    let mut client = server.connect();
    client.send(b"a");
    let begin = Instant::now();
    // As long as this machine does not stop for so long that the server is right to close.
    while begin.elapsed() < 3 * SHORT && client.0.write(b"b\na").is_ok() {
        if !client.0.read(&mut [0; 10]).is_ok_and(|count| count > 0) {
            break;
        }
    }
    drop(client);
    let mut last = server.wait(What::Opened).at;
    loop {
        let fact = server.next();
        match fact.what {
            What::Received { used: 1.., .. } => last = fact.at,
            What::TimedOut(_) => is_late(last, fact.at),
            What::Closed(_) => break,
            _other => {}
        }
    }
}

#[test]
fn idle() {
    let server = Server::start(none().idle_timeout(SHORT), Lines(2));
    let mut client = server.connect();
    assert_eq!(client.ask("a"), "a");
    let mut last = server.fact(|what| matches!(what, What::Received { .. })).at;
    for _ in 0..3 {
        let now = server.wait(What::TimedOut(Deadline::Idle)).at;
        is_late(last, now);
        last = now;
    }
    assert_eq!(server.closed(), "TimedOut(Idle)");
    client.ends();
}

#[test]
fn what_is_off_never_comes() {
    let server = Server::start(none(), TickingLines(Lines(0)));
    let (_silent, mut idle, mut slow) = (server.connect(), server.connect(), server.connect());
    assert_eq!(idle.ask("a"), "a");
    slow.send(b"a");
    server.wait(What::Received { shown: 1, used: 0 });
    ticks(&server, Instant::now());
    assert_eq!((idle.ask("b"), slow.ask("b")), ("b".to_owned(), "ab".to_owned()));
    let is_late = |what: &What| matches!(what, What::TimedOut(which) if *which != Deadline::Drain);
    assert!(!server.end().iter().any(|fact| is_late(&fact.what)));
}

#[test]
fn own() {
    let server = Server::start(none(), Obedient);
    let mut client = server.connect();
    client.send(b"own 20\n");
    let set = server.fact(|what| matches!(what, What::Received { .. })).at;
    is_late(set, server.wait(What::TimedOut(Deadline::Own)).at);
    // It is moved, or taken back, and then it was the last.
    client.send(b"own 3600000\nown 20\n");
    let set = server.fact(|what| matches!(what, What::Received { .. })).at;
    is_late(set, server.wait(What::TimedOut(Deadline::Own)).at);
    drop(client);
    assert_eq!(server.closed(), "ByPeer");
}

/// Whatever it says of its own deadline, in the first and in the last callback.
#[test]
fn own_deadline_of_a_new_connection() {
    struct Doorman;
    impl Service for Doorman {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            io.set_deadline(Some(SHORT));
        }
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            io.set_deadline(None);
            io.write(input);
            input.len()
        }
    }
    let (server, mut first) = early(none(), Doorman, b"a");
    let mut second = server.connect();
    assert_eq!(first.take(1), b"a");
    second.ends();
    let end = server.fact(|what| matches!(what, What::Closed(_)));
    assert_eq!(end.what, What::Closed("TimedOut(Own)".to_owned()));
    first.send(b"b");
    assert_eq!(first.take(1), b"b");
}

/// A body that is consumed as it comes is still one request.
#[test]
fn a_request_that_is_consumed_piece_by_piece() {
    let server = Server::start(none().request_timeout(SHORT), Obedient);
    let mut client = server.connect();
    client.send(b"body 1000000\n");
    let begin = server.fact(|what| matches!(what, What::Received { .. })).at;
    loop {
        let _ = client.0.write(b".");
        match server.next() {
            fact if fact.what == What::TimedOut(Deadline::Request) => {
                is_late(begin, fact.at);
                break;
            }
            fact => assert!(matches!(fact.what, What::Received { .. }), "{fact:?}"),
        }
    }
    assert_eq!(server.closed(), "TimedOut(Request)");
    client.is_gone();
}

#[test]
fn a_request_that_was_consumed_piece_by_piece_is_over() {
    let options = none().request_timeout(SHORT).idle_timeout(ms(60));
    let server = Server::start(options, Obedient);
    let mut client = server.connect();
    client.send(b"body 10\n0123456789");
    assert_eq!(client.line(), "got 10");
    assert_eq!(server.closed(), "TimedOut(Idle)");
    client.ends();
}

/// A service that waits for a thread or a backend is not to blame its client.
struct Employer {
    at_once: bool,
    gate: Option<Receiver<()>>,
}

impl Employer {
    fn employ(&mut self, io: &mut Io<'_>) {
        let gate = self.gate.take().unwrap();
        io.spawn(move || gate.recv().unwrap()).unwrap();
    }
}

impl Service for Employer {
    type Conn = ();

    fn started(&mut self, turn: &mut Turn<'_>) -> std::io::Result<()> {
        self.timer(turn, TimerId(0));
        Ok(())
    }

    fn opened(&mut self, io: &mut Io<'_>) {
        if self.at_once {
            self.employ(io);
        }
    }

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        if self.gate.is_none() {
            return 0;
        }
        self.employ(io);
        input.len() - 1
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, _value: Posted) {
        io.write(b"done");
        io.close();
    }

    fn timer(&mut self, turn: &mut Turn<'_>, id: TimerId) {
        turn.set_timer(id, Some(ms(1)));
    }
}

fn waits_for_a_job(at_once: bool, what: fn(&What) -> bool) {
    let all = none().first_byte_timeout(SHORT).request_timeout(SHORT).idle_timeout(SHORT).threads(1);
    let (open, gate) = mpsc::channel();
    let service = Employer { at_once, gate: Some(gate) };
    let (server, mut client) = early(all, service, if at_once { b"" } else { b"ab" });
    let since = server.fact(what).at;
    ticks(&server, since);
    open.send(()).unwrap();
    assert_eq!(client.rest(), b"done");
}

#[test]
fn no_deadline_runs_while_a_job_does() {
    waits_for_a_job(false, |what| matches!(what, What::Received { .. }));
}

#[test]
fn no_deadline_runs_while_a_job_of_a_new_connection_does() {
    waits_for_a_job(true, |what| *what == What::Opened);
}

/// As good as off.
#[test]
fn deadlines_of_all_time_are_none() {
    struct Patient;
    impl Service for Patient {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            io.set_deadline(Some(Duration::MAX));
            io.turn().set_timer(TimerId(1), Some(Duration::MAX));
        }
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            io.write(input);
            input.len()
        }
    }
    let for_ever = options().first_byte_timeout(Duration::MAX).idle_timeout(Duration::MAX).write_timeout(Duration::MAX);
    let server = Server::start(for_ever.request_timeout(Duration::MAX), Patient);
    let mut client = server.connect();
    assert_eq!(client.ask("a"), "a");
    drop(client);
    assert_eq!(server.closed(), "ByPeer");
}
