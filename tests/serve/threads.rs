//! Threads beside the loop: jobs, values from foreign threads, values between connections.

use std::{
    panic,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use mio_cluster::{Error, Io, Key, Mailbox, Posted, Service, Turn};

use crate::{
    harness::{Client, Server, options},
    order::What,
};

/// Runs what the test has given it, once per byte, and answers with the result, or with a word about the error.
struct Jobs(Receiver<Job>);

type Job = Box<dyn FnOnce() -> u8 + Send>;

impl Service for Jobs {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, _input: &[u8]) -> usize {
        let job = self.0.recv().unwrap();
        if let Err(error) = io.spawn(job) {
            io.write(kind(&error).as_bytes());
        }
        1
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, value: Posted) {
        assert!(value.is::<u8>());
        io.write(&[value.downcast::<u8>().unwrap()]);
    }
}

fn kind(error: &Error) -> &'static str {
    match (error.is_would_block(), error.is_invalid_config()) {
        (true, _) => "full",
        (_, true) if error.to_string().contains("Serve::threads") => "none",
        _other => panic!("{error:#}"),
    }
}

fn jobs() -> (Sender<Job>, Jobs) {
    let (give, given) = mpsc::channel();
    (give, Jobs(given))
}

/// A job that says that it has begun, and waits.
fn gated(result: u8) -> (Job, Receiver<()>, Sender<()>) {
    let ((begin, begun), (open, gate)) = (mpsc::channel(), mpsc::channel());
    let job = move || {
        begin.send(()).unwrap();
        gate.recv().unwrap();
        result
    };
    (Box::new(job), begun, open)
}

#[test]
fn each_result_comes_to_its_own_connection() {
    let (give, service) = jobs();
    let server = Server::start(options().threads(4), service);
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    let mut gates = Vec::new();
    for (number, client) in (0..).zip(&mut clients) {
        let (job, begun, open) = gated(number);
        give.send(job).unwrap();
        client.send(b".");
        begun.recv().unwrap();
        gates.push(open);
    }
    // In another order, and all of them run at once.
    for (number, (client, open)) in (0..4).zip(clients.iter_mut().zip(gates)).rev() {
        open.send(()).unwrap();
        assert_eq!(client.take(1), [number]);
    }
}

#[test]
fn a_full_queue_is_an_error() {
    let (give, service) = jobs();
    let server = Server::start(options().threads(1).queue(2), service);
    let mut client = server.connect();
    let (job, begun, open) = gated(b'0');
    give.send(job).unwrap();
    client.send(b".");
    begun.recv().unwrap();
    for number in [b'1', b'2', b'3'] {
        give.send(Box::new(move || number)).unwrap();
        client.send(b".");
    }
    assert_eq!(client.take(4), b"full");
    open.send(()).unwrap();
    assert_eq!(client.take(3), b"012");
    give.send(Box::new(|| b'4')).unwrap();
    client.send(b".");
    assert_eq!(client.take(1), b"4");
}

#[test]
fn no_threads_is_an_error() {
    let (give, service) = jobs();
    let server = Server::start(options(), service);
    let mut client = server.connect();
    give.send(Box::new(|| 0)).unwrap();
    client.send(b".");
    assert_eq!(client.take(4), b"none");
}

/// The connection is told by its end, and the thread goes on.
#[test]
fn a_job_that_panics_closes_its_connection() {
    let (give, service) = jobs();
    let server = Server::start(options().threads(1), service);
    let (mut first, mut second) = (server.connect(), server.connect());
    for _ in 0..3 {
        // Without the hook's message in the output of the tests.
        give.send(Box::new(|| panic::resume_unwind(Box::new("no disk")))).unwrap();
        first.send(b".");
        let why = server.closed();
        assert!(why.starts_with("Failed") && why.contains("no disk"), "{why}");
        first.ends();
        first = server.connect();
    }
    give.send(Box::new(|| b'a')).unwrap();
    second.send(b".");
    assert_eq!(second.take(1), b"a");
}

/// Nobody waits for its result, so its last answer comes all the same.
#[test]
fn a_job_that_panics_takes_nothing_from_a_connection_that_closes() {
    struct Hasty;
    impl Service for Hasty {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            if input == b"panic" {
                io.spawn(|| -> u8 { panic::resume_unwind(Box::new("no disk")) }).unwrap();
                io.write(&vec![b'.'; LARGE]);
                io.close();
            } else {
                io.spawn(|| b'a').unwrap();
            }
            input.len()
        }
        fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, value: Posted) {
            io.write(&[value.downcast::<u8>().unwrap()]);
        }
    }
    /// More than the kernel takes.
    const LARGE: usize = 15_000_000;
    let server = Server::start(options().threads(1), Hasty);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.send(b"panic");
    first.skip(1);
    // The one thread does one after the other.
    second.send(b".");
    assert_eq!(second.take(1), b"a");
    first.skip(LARGE - 1);
    first.ends();
    assert_eq!(server.closed(), "ByService");
}

#[test]
fn a_drain_waits_for_a_running_job() {
    let (give, service) = jobs();
    let server = Server::start(options().threads(1), service);
    let (_idle, mut client) = (server.connect(), server.connect());
    let (job, begun, open) = gated(b'a');
    give.send(job).unwrap();
    client.send(b".");
    begun.recv().unwrap();
    server.disconnect();
    // The grace is over.
    assert_eq!(server.closed(), "Drained");
    open.send(()).unwrap();
    assert_eq!(client.take(1), b"a");
    assert_eq!(server.closed(), "Drained");
    client.ends();
}

/// Gives its mailbox away, and sends on what comes.
struct Post(Sender<(Mailbox, Key)>);

impl Service for Post {
    type Conn = ();

    fn opened(&mut self, io: &mut Io<'_>) {
        self.0.send((io.mailbox(), io.key())).unwrap();
    }

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        io.write(input);
        input.len()
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, value: Posted) {
        match value.downcast::<[u8; 2]>() {
            Ok(bytes) => io.write(&bytes),
            Err(other) => assert_eq!(other.downcast::<&str>().unwrap(), "close", "it can be asked again"),
        }
    }
}

#[test]
fn values_of_foreign_threads_arrive_in_order() {
    const EACH: usize = 2000;
    let (said, heard) = mpsc::channel();
    let server = Server::start(options(), Post(said));
    let mut client = server.connect();
    let (mailbox, key) = heard.recv().unwrap();
    let bytes = thread::scope(|scope| {
        for name in 0..4 {
            let mailbox = mailbox.clone();
            scope.spawn(move || {
                (0..EACH).for_each(|number| mailbox.post(key, [name, (number % 251) as u8]).unwrap());
                mailbox.post(key, "close").unwrap();
            });
        }
        client.take(4 * EACH * 2)
    });
    for name in 0..4 {
        let numbers: Vec<u8> = bytes.chunks(2).filter(|pair| pair[0] == name).map(|pair| pair[1]).collect();
        assert!(numbers == (0..EACH).map(|number| (number % 251) as u8).collect::<Vec<_>>());
    }
}

#[test]
fn a_mailbox_knows_when_the_loop_is_over() {
    let (said, heard) = mpsc::channel();
    let server = Server::start(options(), Post(said));
    let client = server.connect();
    let (mailbox, key) = heard.recv().unwrap();
    drop(client);
    assert_eq!(server.closed(), "ByPeer");
    mailbox.post(key, [0, 0]).expect("the loop lives, and drops it");
    server.end();
    assert!(mailbox.post(key, [0, 0]).unwrap_err().is_gone());
}

/// Two connections, or one, that never come to rest.
struct PingPong {
    players: Vec<Key>,
    by: fn(&mut Io<'_>, Key),
    count: u64,
}

impl Service for PingPong {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        match input {
            b"join" => {
                self.players.push(io.key());
                let first = self.players[0];
                (self.by)(io, first);
                io.write(b"joined\n");
            }
            _ask => io.write(format!("{}\n", self.count).as_bytes()),
        }
        input.len()
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, _value: Posted) {
        self.count += 1;
        let to = self.players.iter().copied().find(|&key| key != io.key());
        let to = to.unwrap_or(io.key());
        (self.by)(io, to);
    }
}

fn never_comes_to_rest(players: usize, by: fn(&mut Io<'_>, Key)) {
    let server = Server::start(options(), PingPong { players: Vec::new(), by, count: 0 });
    let mut clients: Vec<Client> = (0..players).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(b"join");
        assert_eq!(client.line(), "joined");
    }
    let mut other = server.connect();
    let mut before = 0;
    for _ in 0..20 {
        other.send(b"?");
        let now: u64 = other.line().parse().unwrap();
        assert!(now > before, "it goes on all the time");
        before = now;
    }
    // It ends with its players.
    drop(clients);
    (0..players).for_each(|_| assert_eq!(server.closed(), "ByPeer"));
    other.send(b"?");
    other.line();
}

#[test]
fn values_that_cause_values_starve_nobody() {
    never_comes_to_rest(2, |io, to| io.turn().post(to, ()));
}

#[test]
fn values_through_the_mailbox_that_cause_values_starve_nobody() {
    never_comes_to_rest(2, |io, to| io.mailbox().post(to, ()).unwrap());
}

#[test]
fn a_connection_that_sends_values_to_itself_starves_nobody() {
    never_comes_to_rest(1, |io, to| io.turn().post(to, ()));
}

/// What `closed` does to others is done.
#[test]
fn the_last_word_of_a_connection_reaches_another_one() {
    struct Heir(Option<Key>);
    impl Service for Heir {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            self.0.get_or_insert(io.key());
        }
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
            input.len()
        }
        fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, _value: Posted) {
            io.write(b"bye");
            io.close();
        }
        fn closed(&mut self, _conn: (), turn: &mut Turn<'_>, _why: mio_cluster::Closed) {
            turn.post(self.0.unwrap(), ());
        }
    }
    let server = Server::start(options(), Heir(None));
    let mut heir = server.connect();
    server.wait(What::Opened);
    drop(server.connect());
    assert_eq!(heir.rest(), b"bye");
}
