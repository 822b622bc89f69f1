//! Nobody keeps the others waiting, and nobody is let in beyond the limit.

use std::{
    collections::HashMap,
    io::{Read, Write},
    iter,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread,
};

use mio_cluster::{Cluster, Io, Listen, Posted, Service};

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

/// Nor do values that come for it give it more of a turn than a read each.
#[test]
fn one_that_sends_without_end_and_gets_values() {
    struct Told;
    impl Service for Told {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            let key = io.key();
            io.turn().post(key, ());
            input.len()
        }
        fn posted(&mut self, _conn: &mut (), _io: &mut Io<'_>, _value: Posted) {}
    }
    let server = Server::start(options(), Told);
    let mut greedy = server.connect();
    let mib = vec![b'.'; 1 << 20];
    (0..100).for_each(|_| greedy.send(&mib));
    drop(greedy);
    let (mut received, mut posted) = (HashMap::new(), HashMap::new());
    for fact in iter::from_fn(|| Some(server.next())).take_while(|fact| !matches!(fact.what, What::Closed(_))) {
        match fact.what {
            What::Received { .. } => *received.entry(fact.at).or_insert(0) += 1,
            What::Posted => *posted.entry(fact.at).or_insert(0) += 1,
            _other => {}
        }
    }
    for (turn, reads) in received {
        let values = posted.get(&turn).copied().unwrap_or_default();
        assert!(reads <= 16 + values, "{reads} reads and {values} values in one turn");
    }
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

/// Those who wait at one address keep nobody out who waits at another one.
#[test]
fn a_full_worker_accepts_at_all_addresses_in_turn() {
    struct Names(Sender<String>);
    impl Service for Names {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            self.0.send(io.address().to_owned()).unwrap();
        }
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            io.close();
            input.len()
        }
    }
    let [busy, quiet] = ["busy", "quiet"];
    let listens = [busy, quiet].map(|name| Listen::from("127.0.0.1:0").name(name));
    let worker = listens.into_iter().fold(Cluster::new(), Cluster::listen).standalone().unwrap();
    let addresses: Vec<_> = worker.addresses().iter().map(|address| address.socket_addr().unwrap()).collect();
    let mut clients: Vec<Client> = [0, 0, 0, 0, 1, 1].map(|place| Client::connect(addresses[place])).into();
    clients.iter_mut().for_each(|client| client.send(b"."));
    let (said, heard) = mpsc::channel();
    let server = Closed(worker).run(options().max_connections(1), Names(said));
    clients.iter_mut().for_each(Client::ends);
    server.end();
    let order: Vec<String> = heard.iter().collect();
    assert_eq!(order, [busy, quiet, busy, quiet, busy, busy]);
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
