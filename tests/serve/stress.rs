//! Clients that nobody would write, many of them, for a moment: the [`Recorder`](crate::order::Recorder) judges.

use std::{
    env,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::mpsc,
    thread,
};

use mio_cluster::{Cluster, Listen, Serve, Service};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    harness::{Client, Closed, Server, WATCHDOG, ms, options},
    layered::Layered,
    obedient::Obedient,
    order::{Recorder, What},
};

/// A line of input and what comes of it.
fn exchange() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    prop_oneof![
        "[a-z]{0,20}".prop_map(|text| (format!("say {text}\n").into(), format!("{text}\n").into())),
        (0..5000_usize).prop_map(|count| (format!("bytes {count}\n").into(), vec![b'.'; count])),
        (0..20_000_usize).prop_map(|count| (format!("stream {count}\n").into(), vec![b'.'; count])),
        vec(any::<u8>(), 0..3000).prop_map(|body| {
            let answer = format!("got {}\n", body.len());
            ([format!("body {}\n", body.len()).into(), body].concat(), answer.into())
        }),
        "[a-z]{1,9}".prop_map(|text| (format!("job {text}\n").into(), format!("{text}\n").into())),
    ]
}

/// However the stream is cut into segments, and however small the buffers are.
#[test]
fn any_split_gives_the_same_answers() {
    any_split(Listen::from(ANY), small(), Obedient);
}

#[test]
fn any_split_gives_the_same_answers_through_a_layer() {
    any_split(Listen::from(ANY), small(), inside(Obedient));
}

#[test]
fn any_split_gives_the_same_answers_at_a_deferring_listener() {
    any_split(Listen::from(ANY).defer_accept(WATCHDOG), small(), Obedient);
}

#[test]
fn any_split_gives_the_same_answers_in_a_busy_loop() {
    any_split(Listen::from(ANY), small().busy_poll(ms(1)), Obedient);
}

const ANY: &str = "127.0.0.1:0";

fn small() -> Serve {
    options().water_marks(100, 1000).max_input(40).threads(2)
}

/// The order of what the inner service sees is checked, too.
fn inside(service: Obedient) -> Layered<Recorder<Obedient>> {
    Layered::new(Recorder::new(service, mpsc::channel().0))
}

fn any_split(at: Listen, options: Serve, service: impl Service + Send + 'static) {
    let server = Closed(Cluster::new().listen(at).standalone().unwrap()).run(options, service);
    let cases = (vec(exchange(), 0..12), vec(1..200_usize, 1..6), any::<bool>());
    let mut runner =
        TestRunner::new(Config { cases: 100, max_shrink_iters: 200, failure_persistence: None, ..Config::default() });
    let result = runner.run(&cases, |(exchanges, sizes, closes)| {
        let (lines, answers): (Vec<_>, Vec<_>) = exchanges.into_iter().unzip();
        let end = if closes { &b"close\n"[..] } else { b"" };
        let stream = [&lines.concat(), end].concat();
        let mut client = server.connect();
        let mut sizes = sizes.iter().cycle();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (segment, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            client.send(segment);
            rest = later;
        }
        if !closes {
            client.finish();
        }
        prop_assert_eq!(client.rest(), answers.concat());
        Ok(())
    });
    result.unwrap();
}

/// What comes next, from a seed.
struct Random(u64);

impl Random {
    /// splitmix64, as its author published it.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a [u8]]) -> &'a [u8] {
        of[self.below(of.len())]
    }
}

/// What is sent, whole or in part, in whatever order.
const PIECES: &[&[u8]] = &[
    b"say hello\n",
    b"say ",
    b"\n",
    b"bytes 100\n",
    b"bytes 300000\n",
    b"bytes 9000000\n",
    b"stream 100000\n",
    b"stream 900000000\n",
    b"body 100\n",
    b"body 100000\n",
    b"own 1\n",
    b"job ready\n",
    b"close\n",
    b"linger\n",
    b"abort\n",
    b"\0\xff garbage \r\n",
    &[b'x'; 3000],
];

/// Small limits and short deadlines, so that all of them are met.
fn hostile() -> Serve {
    options()
        .first_byte_timeout(ms(30))
        .request_timeout(ms(20))
        .idle_timeout(ms(20))
        .write_timeout(ms(20))
        .max_input(1000)
        .max_output(8_000_000)
        .max_connections(60)
        .water_marks(500, 2000)
        .threads(2)
        .queue(3)
}

/// Whatever happens to its connections, the client goes on.
fn misbehave(at: SocketAddr, random: &mut Random) {
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..800 {
        if clients.is_empty() || (clients.len() < 30 && random.below(4) == 0) {
            let client = Client::connect(at);
            client.0.set_nonblocking(true).unwrap();
            clients.push(client);
        }
        let chosen = random.below(clients.len());
        if acts(&clients[chosen].0, random) {
            continue;
        }
        let client = clients.swap_remove(chosen);
        match random.below(4) {
            0 => client.reset(),
            _ => drop(client),
        }
        // It takes part as fast as the server does, which is to have room again.
        if random.below(2) == 0 {
            is_served(at);
        }
    }
}

fn is_served(at: SocketAddr) {
    let mut client = Client::connect(at);
    client.send(b"say well\nclose\n");
    assert_eq!(client.rest(), b"well\n");
}

/// Whether it stays.
fn acts(mut stream: &std::net::TcpStream, random: &mut Random) -> bool {
    let done = match random.below(12) {
        0 => return false,
        1 => stream.shutdown(std::net::Shutdown::Write).map(|()| 1),
        2..=4 => stream.read(&mut vec![0; 1 + random.below(200_000)]),
        5 => {
            let piece = random.one(PIECES);
            stream.write(&piece[..random.below(piece.len() + 1)])
        }
        _ => stream.write(random.one(PIECES)),
    };
    done.is_ok() || done.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// `SEED=n` runs another one, or one again.
#[test]
fn clients_that_do_anything_at_any_time() {
    anything(Obedient);
}

#[test]
fn clients_that_do_anything_at_any_time_through_a_layer() {
    anything(inside(Obedient));
}

fn anything(service: impl Service + Send + 'static) {
    let seed = env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let server = Server::start(hostile(), service);
    thread::scope(|scope| {
        for thread in 0..4 {
            let at = server.address;
            scope.spawn(move || misbehave(at, &mut Random(seed * 4 + thread)));
        }
    });
    let facts = server.end();
    let ends = |text: &str| facts.iter().filter(|fact| matches!(&fact.what, What::Closed(why) if why == text)).count();
    for why in ["ByService", "ByPeer", "Reset"] {
        assert!(ends(why) > 0, "seed {seed}: it has not met {why}");
    }
    let failed = facts.iter().find(|fact| matches!(&fact.what, What::Closed(why) if why.starts_with("Failed")));
    assert!(failed.is_none(), "seed {seed}: nothing has failed but the peers: {failed:?}");
    let count = |wanted: fn(&What) -> bool| facts.iter().filter(|fact| wanted(&fact.what)).count();
    assert_eq!(count(|what| *what == What::Opened), count(|what| matches!(what, What::Closed(_))), "seed {seed}");
}
