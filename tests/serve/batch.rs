//! Connections that have news at the same time.

use std::{
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use mio_cluster::{Deadline, Io, Service};

use crate::{
    harness::{Client, Server, WATCHDOG, ms, options},
    order::What,
};

/// | line | |
/// |---|---|
/// | `wait` | until the test says so, and longer than a batch may take: meanwhile others gather |
/// | `own` | an answer and a deadline |
///
/// Each is answered with itself.
struct Gate(Receiver<()>);

impl Service for Gate {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        match input {
            b"wait\n" => {
                self.0.recv_timeout(WATCHDOG).expect("the test opens the gate");
                // Nothing is waited for: that an answer takes this long, or longer, is what the test is about.
                thread::sleep(ms(1));
            }
            b"own\n" => io.set_deadline(Some(ms(1))),
            other => panic!("{other:?}: sent at once, so read at once"),
        }
        io.write(input);
        input.len()
    }

    fn timed_out(&mut self, _conn: &mut (), io: &mut Io<'_>, _which: Deadline) {
        io.close();
    }
}

fn start(clients: usize) -> (Server, Sender<()>, Vec<Client>) {
    let (open, gate) = mpsc::channel();
    let server = Server::start(options(), Gate(gate));
    let clients = (0..clients).map(|_| server.connect()).collect::<Vec<_>>();
    clients.iter().for_each(|_| drop(server.wait(What::Opened)));
    (server, open, clients)
}

/// All but the first say this while that one waits, so their news come in one turn.
fn together(open: &Sender<()>, clients: &mut [Client], line: &str) {
    let (first, others) = clients.split_first_mut().unwrap();
    first.send("wait\n");
    others.iter_mut().for_each(|client| client.send(format!("{line}\n")));
    open.send(()).unwrap();
    assert_eq!(first.line(), "wait");
}

/// More than one batch.
#[test]
fn each_gets_its_own_answer_and_its_own_deadline() {
    let (server, open, mut clients) = start(100);
    together(&open, &mut clients, "own");
    for client in &mut clients[1..] {
        assert_eq!(client.rest(), b"own\n");
    }
    drop(server);
}

/// A worker whose answers take long does not hold one back until the next ones are made.
#[test]
fn slow_answers_are_sent_one_by_one() {
    let (server, open, mut clients) = start(9);
    (1..clients.len()).for_each(|_| open.send(()).unwrap());
    together(&open, &mut clients, "wait");
    clients[1..].iter_mut().for_each(|client| assert_eq!(client.line(), "wait", "now it is known how long they take"));
    together(&open, &mut clients, "wait");
    for client in &mut clients[1..] {
        open.send(()).unwrap();
        assert_eq!(client.line(), "wait", "the next ones are not made yet");
    }
    drop(server);
}
