//! Connections that end when nobody expects it, and what comes for them afterwards.

use std::{
    collections::HashMap,
    sync::mpsc::{self, Receiver, Sender},
};

use mio_cluster::{Closed, Deadline, Io, Key, Posted, Service, Turn};

use crate::{
    harness::{self, Client, Server, options},
    obedient::Obedient,
    order::What,
};

fn is_reset(server: &Server) {
    assert_eq!(server.closed(), "Reset");
}

#[test]
fn reset_before_it_is_accepted() {
    let closed = harness::Closed::new();
    closed.connect().reset();
    let mut silent = closed.connect();
    let server = closed.run(options(), Obedient);
    // In Linux it is accepted all the same.
    is_reset(&server);
    assert_eq!(silent.ask("say a"), "a");
}

#[test]
fn reset_of_a_silent_connection() {
    let server = Server::start(options(), Obedient);
    let client = server.connect();
    server.wait(What::Opened);
    client.reset();
    is_reset(&server);
}

#[test]
fn reset_in_the_middle_of_a_message() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"say");
    server.wait(What::Received { shown: 3, used: 0 });
    client.reset();
    is_reset(&server);
}

#[test]
fn reset_in_the_middle_of_a_body() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"body 10\n12345");
    server.wait(What::Received { shown: 5, used: 5 });
    client.reset();
    is_reset(&server);
}

/// It is not read at that time.
#[test]
fn reset_while_output_waits() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"bytes 15000000\nsay a\n");
    client.skip(1);
    client.reset();
    is_reset(&server);
}

#[test]
fn reset_while_the_last_output_waits() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"bytes 15000000\nclose\n");
    client.skip(1);
    client.reset();
    is_reset(&server);
}

#[test]
fn reset_in_the_middle_of_a_stream() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"stream 1000000000\n");
    client.skip(10_000_000);
    client.reset();
    is_reset(&server);
}

#[test]
fn reset_while_it_lingers() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"say no\nlinger\n");
    assert_eq!(client.rest(), b"no\n");
    client.reset();
    is_reset(&server);
}

/// Nothing has to be read or written any more, and yet it is noticed.
#[test]
fn reset_after_the_end_of_input() {
    struct Waits;
    impl Service for Waits {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
            input.len()
        }
        fn end_of_input(&mut self, _conn: &mut (), _io: &mut Io<'_>) {}
    }
    let server = Server::start(options(), Waits);
    let mut client = server.connect();
    client.finish();
    server.wait(What::EndOfInput);
    client.reset();
    is_reset(&server);
}

/// It is not read at that time, and has nothing to write.
#[test]
fn reset_while_its_input_is_held_back() {
    struct Holds;
    impl Service for Holds {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            io.hold_input(true);
            input.len()
        }
    }
    let server = Server::start(options(), Holds);
    let mut client = server.connect();
    client.send(b".");
    server.wait(What::Received { shown: 1, used: 1 });
    client.reset();
    is_reset(&server);
}

#[test]
fn reset_while_a_job_runs() {
    let (server, mut client, jobs) = employer();
    client.send(b".");
    let job = jobs.recv().unwrap();
    client.reset();
    is_reset(&server);
    job.send(1).unwrap();
    // Its result comes to nobody.
    assert!(!server.end().iter().any(|fact| fact.what == What::Posted));
}

/// The place of a connection is given to the next one while its job runs.
#[test]
fn results_do_not_come_to_the_next_connection_at_the_same_place() {
    let (server, mut first, jobs) = employer();
    first.send(b".");
    let late = jobs.recv().unwrap();
    first.reset();
    assert_eq!(server.closed(), "Reset");
    let mut second = server.connect();
    second.send(b".");
    // There is one thread: the late result comes first.
    let mine = jobs.recv().unwrap();
    late.send(1).unwrap();
    mine.send(2).unwrap();
    assert_eq!(second.take(1), [2]);
}

/// A job per byte, one after the other, each of which ends when the test says so.
struct Employer(Sender<Sender<u8>>);

fn employer() -> (Server, Client, Receiver<Sender<u8>>) {
    let (said, jobs) = mpsc::channel();
    let server = Server::start(options().threads(1), Employer(said));
    let client = server.connect();
    (server, client, jobs)
}

impl Service for Employer {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, _input: &[u8]) -> usize {
        let (end, ended) = mpsc::channel();
        self.0.send(end).unwrap();
        io.spawn(move || ended.recv().unwrap()).unwrap();
        1
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, value: Posted) {
        io.write(&[value.downcast::<u8>().unwrap()]);
    }
}

/// Everybody may send a value to everybody, also to those who are gone.
#[derive(Default)]
struct Party {
    guests: HashMap<u8, Key>,
}

impl Service for Party {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        match *input {
            [b'i', name, ..] => {
                self.guests.insert(name, io.key());
                io.write(b"welcome\n");
                2
            }
            [b't', name, ..] => {
                let key = self.guests[&name];
                io.turn().post(key, name);
                io.write(b"told\n");
                2
            }
            [..] => 0,
        }
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, value: Posted) {
        io.write(&[b'h', value.downcast::<u8>().unwrap(), b'\n']);
    }

    fn timed_out(&mut self, _conn: &mut (), _io: &mut Io<'_>, _which: Deadline) {}

    fn closed(&mut self, _conn: (), turn: &mut Turn<'_>, _why: Closed) {
        // Among them the one that has just gone.
        self.guests.values().for_each(|&key| turn.post(key, b'x'));
    }
}

#[test]
fn values_for_those_who_are_gone_are_dropped() {
    let server = Server::start(options(), Party::default());
    let (mut a, mut b) = (server.connect(), server.connect());
    a.send(b"ia");
    b.send(b"ib");
    assert_eq!((a.line(), b.line()), ("welcome".to_owned(), "welcome".to_owned()));
    a.send(b"tb");
    assert_eq!((a.line(), b.line()), ("told".to_owned(), "hb".to_owned()));
    drop(b);
    assert_eq!(a.line(), "hx");
    // At b's place.
    let mut c = server.connect();
    a.send(b"tb");
    assert_eq!(a.line(), "told");
    c.send(b"ic");
    assert_eq!(c.line(), "welcome");
    c.send(b"tc");
    let mut lines = [c.line(), c.line()];
    lines.sort();
    assert_eq!(lines, ["hc", "told"]);
}

/// Many of them at once, so that one batch of events holds ends and news of the same places.
#[test]
fn connections_that_come_and_go_by_hundreds() {
    let server = Server::start(options(), Obedient);
    for round in 0..10 {
        let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("say {round} {number}\nsay again\n"));
        }
        for (number, mut client) in clients.into_iter().enumerate() {
            match number % 4 {
                0 => client.reset(),
                1 => drop(client),
                _ => {
                    assert_eq!((client.line(), client.line()), (format!("{round} {number}"), "again".to_owned()));
                }
            }
        }
    }
    let mut other = server.connect();
    assert_eq!(other.ask("say a"), "a");
    drop(other);
    let facts = server.end();
    let count = |wanted: fn(&What) -> bool| facts.iter().filter(|fact| wanted(&fact.what)).count();
    assert_eq!(count(|what| *what == What::Opened), 2001);
    assert_eq!(count(|what| matches!(what, What::Closed(_))), 2001);
}
