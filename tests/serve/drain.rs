//! A worker that is to leave finishes what it has accepted, and no more.

use std::{io::ErrorKind, net::TcpStream, time::Duration};

use mio_cluster::{Deadline, Io, Service};

use crate::{
    harness::{Client, Closed, Server, ms, options},
    obedient::Obedient,
    order::{Fact, What},
};

/// A line at a time; in a drain the answer is the last one.
struct Polite {
    /// Says goodbye instead of waiting for the grace to pass.
    takes_leave: bool,
}

const POLITE: Polite = Polite { takes_leave: false };

impl Service for Polite {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        match &input[..=end] {
            b"leave\n" => io.turn().disconnect().unwrap(),
            line => io.write(line),
        }
        if io.is_draining() && !self.takes_leave {
            io.close();
        }
        end + 1
    }

    fn draining(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        if self.takes_leave {
            io.write(b"bye\n");
            io.close();
        }
    }
}

const LONG: Duration = ms(3_600_000);

fn opened(server: &Server) -> Client {
    let client = server.connect();
    server.wait(What::Opened);
    client
}

fn is_refused(server: &Server) {
    assert_eq!(TcpStream::connect(server.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn idle_connections_are_kept_for_the_grace() {
    let grace = ms(30);
    let server = Server::start(options().drain_grace(grace), POLITE);
    let (mut silent, mut idle) = (opened(&server), opened(&server));
    assert_eq!(idle.ask("a"), "a");
    server.disconnect();
    let begin = server.wait(What::Draining).at;
    for _ in 0..2 {
        let end = server.fact(|what| matches!(what, What::Closed(_)));
        assert_eq!(end.what, What::Closed("Drained".to_owned()));
        assert!(end.at - begin >= grace, "{:?}", end.at - begin);
    }
    silent.ends();
    idle.ends();
    is_refused(&server);
}

/// When the grace is over.
#[test]
fn a_service_may_say_goodbye_to_those_who_are_still_idle() {
    struct Late;
    impl Service for Late {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
            input.len()
        }
        fn timed_out(&mut self, _conn: &mut (), io: &mut Io<'_>, which: Deadline) {
            assert_eq!(which, Deadline::Drain);
            io.write(b"bye");
        }
    }
    let server = Server::start(options(), Late);
    let mut client = opened(&server);
    server.disconnect();
    assert_eq!(client.rest(), b"bye");
    assert_eq!(server.closed(), "Drained");
}

#[test]
fn a_request_in_the_grace_is_answered() {
    let server = Server::start(options().drain_grace(LONG), POLITE);
    let (mut silent, mut idle) = (opened(&server), opened(&server));
    assert_eq!(idle.ask("a"), "a");
    server.disconnect();
    for client in [&mut silent, &mut idle] {
        assert_eq!(client.ask("b"), "b");
        client.ends();
    }
}

#[test]
fn a_service_may_say_goodbye() {
    let server = Server::start(options().drain_grace(LONG), Polite { takes_leave: true });
    let (mut first, mut second) = (opened(&server), opened(&server));
    server.disconnect();
    assert_eq!((first.rest(), second.rest()), (b"bye\n".to_vec(), b"bye\n".to_vec()));
    assert_eq!(server.closed(), "ByService");
}

/// The grace is for those who are idle.
#[test]
fn who_is_in_the_middle_of_something_is_waited_for() {
    let server = Server::start(options().threads(1), Obedient);
    let _idle = opened(&server);
    let [mut in_line, mut in_body, mut in_stream] = [(); 3].map(|()| opened(&server));
    in_line.send(b"sa");
    server.wait(What::Received { shown: 2, used: 0 });
    in_body.send(b"body 10\n12345");
    server.wait(What::Received { shown: 5, used: 5 });
    in_stream.send(b"stream 100000000\n");
    in_stream.skip(1);
    server.disconnect();
    // The idle one, so the grace is over.
    assert_eq!(server.closed(), "Drained");
    in_line.send(b"y a\n");
    assert_eq!(in_line.rest(), b"a\n");
    in_body.send(b"67890");
    assert_eq!(in_body.rest(), b"got 10\n");
    in_stream.skip(100_000_000 - 1);
    in_stream.ends();
    for _ in 0..3 {
        // They are idle now, and have the grace for themselves.
        assert_eq!(server.closed(), "Drained");
    }
}

#[test]
fn a_lingering_connection_is_waited_for() {
    let server = Server::start(options(), Obedient);
    let mut client = opened(&server);
    client.send(b"say no\nlinger\n");
    assert_eq!(client.rest(), b"no\n");
    server.disconnect();
    client.send(b"this is dropped");
    drop(client);
    assert_eq!(server.closed(), "ByService");
}

/// Whoever has connected is served, though the worker was told to leave before it looked for the first time.
#[test]
fn the_queue_is_served() {
    for most in [usize::MAX, 10] {
        let facts = serve_the_queue(most, POLITE, b"hello\n");
        assert!(!facts.iter().any(|fact| fact.what == What::Draining), "their answer was the last one");
    }
}

/// And then told, once: a service that closes at once closes nobody who waits for an answer.
#[test]
fn the_queue_is_told_when_it_is_served() {
    for most in [usize::MAX, 10] {
        let facts = serve_the_queue(most, Polite { takes_leave: true }, b"hello\nbye\n");
        let of = |key, wanted: &What| facts.iter().position(|fact| fact.key == key && fact.what == *wanted);
        let told: Vec<_> = facts.iter().filter(|fact| fact.what == What::Draining).map(|fact| fact.key).collect();
        assert_eq!(told.len(), 100);
        for key in told {
            assert!(of(key, &What::Received { shown: 6, used: 6 }) < of(key, &What::Draining));
        }
    }
}

/// A hundred clients that have all said hello; what has happened then.
fn serve_the_queue(most: usize, service: Polite, answer: &[u8]) -> Vec<Fact> {
    let closed = Closed::new();
    let mut clients: Vec<Client> = (0..100).map(|_| closed.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(b"hello\n"));
    closed.handle().disconnect().unwrap();
    let server = closed.run(options().drain_grace(LONG).max_connections(most), service);
    for mut client in clients {
        assert_eq!(client.rest(), answer);
    }
    server.end()
}

/// Nobody who is silent keeps a worker that is full from leaving.
#[test]
fn the_queue_of_a_full_worker_is_served() {
    let server = Server::start(options().max_connections(2), POLITE);
    let _silent = [opened(&server), opened(&server)];
    let mut waiting: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(b"hello\n"));
    server.disconnect();
    for client in &mut waiting {
        assert_eq!(client.rest(), b"hello\n");
    }
    let facts = server.end();
    let drained = facts.iter().filter(|fact| fact.what == What::Closed("Drained".to_owned())).count();
    assert_eq!((facts.len() > 10, drained), (true, 2));
}

#[test]
fn a_callback_may_ask_the_worker_to_leave() {
    let server = Server::start(options(), POLITE);
    let (mut first, mut second) = (opened(&server), opened(&server));
    first.send(b"leave\n");
    first.ends();
    second.ends();
    server.fact(|what| matches!(what, What::Event(event) if event.starts_with("Drain")));
    assert_eq!([server.closed(), server.closed()], ["Drained", "Drained"]);
    is_refused(&server);
}

#[test]
fn without_connections_it_leaves_at_once() {
    let server = Server::start(options().drain_grace(LONG), POLITE);
    server.wait(What::Started);
    assert!(server.end().iter().all(|fact| matches!(fact.what, What::Event(_))));
}

/// Sends a line every other millisecond, whoever listens.
struct Ticker;

impl Service for Ticker {
    type Conn = ();

    fn opened(&mut self, io: &mut Io<'_>) {
        io.set_deadline(Some(ms(2)));
    }

    fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
        input.len()
    }

    fn timed_out(&mut self, _conn: &mut (), io: &mut Io<'_>, which: Deadline) {
        if which == Deadline::Own {
            io.write(b"tick\n");
            io.set_deadline(Some(ms(2)));
        }
    }
}

#[test]
fn a_subscriber_does_not_keep_the_worker() {
    let server = Server::start(options().drain_grace(ms(20)), Ticker);
    let mut client = server.connect();
    client.send(b"a");
    assert_eq!([client.line(), client.line()], ["tick", "tick"]);
    server.disconnect();
    assert!(client.rest().ends_with(b"tick\n"));
    assert_eq!(server.closed(), "Drained");
}
