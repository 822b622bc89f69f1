//! Nobody keeps the others waiting, and nobody is let in beyond the limit.

use std::{
    collections::HashMap,
    io::{Read, Write},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use mio_cluster::{Io, Service};

use crate::{
    harness::{Client, Closed, Server, options},
    obedient::Obedient,
    order::What,
};

/// Counts bytes and sends back lines that are short.
struct Lines;

impl Service for Lines {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        if input.len() < 100 {
            io.write(input);
        }
        input.len()
    }
}

/// One sends without end, and all of it is read; others want their answers.
#[test]
fn one_that_sends_without_end_beside_others() {
    let (server, over) = (Server::start(options(), Lines), AtomicBool::new(false));
    thread::scope(|scope| {
        let mut greedy = server.connect();
        let _end = End(&over);
        let over = &over;
        scope.spawn(move || {
            let mib = vec![b'.'; 1 << 20];
            while !over.load(Ordering::Relaxed) {
                greedy.0.write_all(&mib).unwrap();
            }
        });
        are_served(&server);
    });
    let (mut per_turn, mut open) = (HashMap::new(), 11);
    while open > 0 {
        let fact = server.next();
        match fact.what {
            What::Received { shown, .. } => *per_turn.entry((fact.key, fact.at)).or_insert(0) += shown,
            What::Closed(_) => open -= 1,
            _other => {}
        }
    }
    assert!(per_turn.values().all(|&bytes| bytes <= 16 * (64 << 10)), "{:?}", per_turn.values().max());
}

/// One asks without end, and takes all its answers.
#[test]
fn one_that_asks_without_end_beside_others() {
    let (server, over) = (Server::start(options(), Obedient), AtomicBool::new(false));
    thread::scope(|scope| {
        let greedy = server.connect();
        let (mut asks, mut takes) = (greedy.0.try_clone().unwrap(), greedy.0);
        let _end = End(&over);
        let over = &over;
        scope.spawn(move || {
            let questions = b"say hello\nbytes 1000\n".repeat(1000);
            while !over.load(Ordering::Relaxed) {
                asks.write_all(&questions).unwrap();
            }
            asks.shutdown(std::net::Shutdown::Write).unwrap();
        });
        scope.spawn(move || {
            let mut answers = vec![0; 1 << 20];
            while takes.read(&mut answers).unwrap() > 0 {}
        });
        are_served(&server);
    });
}

/// Of those who would never end, also if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn are_served(server: &Server) {
    let mut others: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for _ in 0..20 {
        for client in &mut others {
            assert_eq!(client.ask("say a").trim_start_matches("say "), "a");
        }
    }
}

#[test]
fn accepts_of_a_burst_are_spread_over_turns() {
    let closed = Closed::new();
    let clients: Vec<Client> = (0..200).map(|_| closed.connect()).collect();
    let server = closed.run(options(), Obedient);
    let mut per_turn = HashMap::new();
    for _ in &clients {
        *per_turn.entry(server.wait(What::Opened).at).or_insert(0) += 1;
    }
    assert!(per_turn.len() >= 4 && per_turn.values().all(|&count| count <= 64), "{per_turn:?}");
}

/// They wait in the queue; the loop sleeps meanwhile, and turns for the others.
#[test]
fn no_more_connections_than_are_allowed() {
    let server = Server::start(options().max_connections(2), Obedient);
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_eq!((first.ask("say a"), second.ask("say b")), ("a".to_owned(), "b".to_owned()));
    let mut waiting: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(b"say c\nclose\n"));
    for _ in 0..10 {
        assert_eq!((first.ask("say a"), second.ask("say b")), ("a".to_owned(), "b".to_owned()));
    }
    drop(first);
    waiting.iter_mut().for_each(|client| assert_eq!(client.rest(), b"c\n"));
    assert_eq!(second.ask("say b"), "b");
    let mut open = 0;
    for fact in server.end() {
        match fact.what {
            What::Opened => open += 1,
            What::Closed(_) => open -= 1,
            _other => {}
        }
        assert!(open <= 2);
    }
}
