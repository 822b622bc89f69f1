//! Workers with the managed loop: stops and kills under load, shortages, and what they leave behind.

use std::{
    env,
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use socket2::SockRef;

use super::scoreboard::{FATE, Look, values, wait_for_closed};
use crate::harness::{Bench, Client, Run, cases};

cases!("serve":
    service_says_that_it_is_ready,
    stop_right_after_the_start_loses_nobody,
    stop_under_load_loses_nobody,
    term_to_a_worker_under_load_loses_nobody,
    queue_of_a_killed_worker_is_served,
    panic_in_a_callback_ends_the_worker,
    drain_waits_for_a_request,
    idle_connections_are_told,
    a_full_worker_says_so,
    shortage_of_descriptors_turns_clients_away,
    shortage_of_descriptors_makes_clients_wait,
    many_connections_leave_nothing,
    counts_of_several_workers_add_up,
    sleeps_while_nothing_happens,
);

/// Clients that connect, ask once and go, or ask some times, until they are refused.
struct Load {
    answers: AtomicUsize,
    /// Since when connections may be reset in the queue of a door that is being shut.
    stop: Mutex<Option<Instant>>,
}

impl Load {
    /// `stop` is called when there have been some answers.
    fn run(bench: &Bench, address: SocketAddr, stop: impl FnOnce()) {
        let load = Self { answers: AtomicUsize::new(0), stop: Mutex::new(None) };
        thread::scope(|scope| {
            let load = &load;
            let clients = [1, 5, 1, 5, 1, 5, 1, 5];
            let clients = clients.map(|questions| scope.spawn(move || while load.visit(bench, address, questions) {}));
            while load.answers.load(Ordering::Relaxed) < 1000 && clients.iter().any(|client| !client.is_finished()) {
                thread::yield_now();
            }
            *load.stop.lock().unwrap() = Some(Instant::now());
            stop();
        });
    }

    /// Whether there will be another one.
    fn visit(&self, bench: &Bench, address: SocketAddr, questions: usize) -> bool {
        let Ok(stream) = TcpStream::connect(address) else {
            assert!(self.is_stopping(Instant::now()), "refused while nobody has asked to stop");
            return false;
        };
        // A connection that was there, and a question that was on its way, when the signal was sent is served.
        let (mut since, mut client) = (Instant::now(), bench.client(stream));
        for _ in 0..questions {
            match client.try_ask("who") {
                Ok(_) => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
                Err(problem) => {
                    assert!(self.is_stopping(since), "lost: {problem}");
                    break;
                }
            }
            since = Instant::now();
        }
        true
    }

    fn is_stopping(&self, at: Instant) -> bool {
        self.stop.lock().unwrap().is_some_and(|stop| at >= stop)
    }
}

/// The worker may not have had its first turn.
fn stop_right_after_the_start_loses_nobody(bench: &Bench) {
    for _ in 0..10 {
        let mut run = bench.start("cluster mode=run listen=@:0 worker=managed");
        let mut client = bench.connect(run.ready());
        client.say("who");
        run.signal(Signal::SIGTERM);
        assert!(client.hear().unwrap().starts_with("1 0 "));
        run.end_with(0);
    }
}

fn stop_under_load_loses_nobody(bench: &Bench) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut run = bench.start("cluster mode=run listen=@:0 workers=2 worker=managed");
        let address = run.ready();
        Load::run(bench, address, || run.signal_group(signal));
        run.end_with(0);
        assert!(run.all("exit").iter().all(|exit| exit.how() == "code 0, asked"), "{:?}", run.all("exit"));
    }
}

/// Its clients are served to the end, and those in its queue by the next one.
fn term_to_a_worker_under_load_loses_nobody(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 worker=managed");
    let address = run.ready();
    run.expect("exited with code 0");
    let pid = run.all("ready")[0].get("pid");
    Load::run(bench, address, || {
        run.signal_to(pid, Signal::SIGTERM);
        run.fact_of("ready", 3);
        run.signal(Signal::SIGTERM);
    });
    run.end_with(0);
}

/// With a worker that has started to listen and says nothing, it would not be.
fn service_says_that_it_is_ready(bench: &Bench) {
    let mut run = bench.start("cluster mode=run told listen=@:0 workers=2 worker=managed");
    let address = run.ready();
    assert_eq!(run.all("ready").len(), 2);
    assert!(bench.ask(address, "who").contains(' '));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn queue_of_a_killed_worker_is_served(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=managed");
    let address = run.ready();
    let pid = run.all("ready")[0].get("pid");
    let mut accepted = bench.connect(address);
    accepted.ask("who");
    run.signal_to(pid, Signal::SIGSTOP);
    let mut queued: Vec<Client> = (0..100).map(|_| bench.connect(address)).collect();
    queued.iter_mut().for_each(|client| client.say("who"));
    run.expect_once("was killed by SIGKILL");
    run.signal_to(pid, Signal::SIGKILL);
    accepted.closed();
    assert!(queued.iter_mut().all(|client| client.hear().unwrap().starts_with("2 0 ")));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn panic_in_a_callback_ends_the_worker(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=managed");
    let address = run.ready();
    run.expect_panic("a line said so");
    run.expect_once("exited with code 101");
    run.expect("panicked: a line said so");
    let mut client = bench.connect(address);
    client.say("panic");
    client.closed();
    run.fact_of("ready", 2);
    assert!(bench.ask(address, "who").starts_with("2 0 "));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn drain_waits_for_a_request(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=managed");
    let mut client = bench.connect(run.ready());
    client.ask("who");
    client.begin("wh");
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    // Longer than idle ones are kept.
    run.log("drains, open connections: 1");
    run.pass(Duration::from_millis(1200));
    assert!(client.ask("o").starts_with("1 0 "));
    client.closed();
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
}

fn idle_connections_are_told(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=managed");
    let address = run.ready();
    let [mut silent, mut idle] = [(); 2].map(|()| bench.connect(address));
    idle.ask("who");
    run.signal(Signal::SIGTERM);
    for client in [&mut silent, &mut idle] {
        assert_eq!(client.hear(), Err("the connection was closed without an answer".to_owned()));
    }
    run.end_with(0);
}

/// Clients until one is turned away.
fn fill(bench: &Bench, address: SocketAddr) -> Vec<Client> {
    let mut clients = Vec::new();
    loop {
        let mut client = bench.connect(address);
        match client.try_ask("who") {
            Ok(_) => clients.push(client),
            Err(problem) => {
                assert_eq!(problem, "the connection was closed without an answer", "no reset");
                return clients;
            }
        }
    }
}

fn a_full_worker_says_so(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=managed_few");
    let address = run.ready();
    let full = |run: &mut Run| Look::at(run).one("row").get::<bool>("full");
    let mut first = bench.connect(address);
    first.ask("who");
    assert!(!full(&mut run));
    let [mut second, mut third] = [(); 2].map(|()| bench.connect(address));
    second.ask("who");
    third.say("who");
    // Set at the end of the turn in which it was accepted.
    while !full(&mut run) {}
    drop(first);
    third.hear().unwrap();
    drop((second, third));
    while full(&mut run) {}
    run.tell("stop");
    run.end_with(0);
}

fn shortage_of_descriptors_turns_clients_away(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=managed_short");
    let address = run.ready();
    run.expect_once("pauses accepting at");
    let mut clients = fill(bench, address);
    assert!((10..30).contains(&clients.len()), "{}", clients.len());
    // One after the other, in order.
    let mut waiting: Vec<Client> = (0..6).map(|_| bench.connect(address)).collect();
    waiting.iter_mut().for_each(|client| client.say("who"));
    let begin = Instant::now();
    for client in &mut waiting {
        assert_eq!(client.hear(), Err("the connection was closed without an answer".to_owned()));
    }
    assert!(begin.elapsed() >= Duration::from_millis(200), "one every 50 ms: {:?}", begin.elapsed());
    // The others do not notice. There is room for exactly as many again.
    let most = clients.len();
    clients.iter_mut().for_each(|client| drop(client.ask("who")));
    clients.truncate(5);
    clients.extend((5..most).map(|_| bench.connect(address)));
    clients.iter_mut().for_each(|client| drop(client.ask("who")));
    // When nobody comes for a while, those who come then are told all the same.
    assert_eq!(clients[0].ask("ticks 10"), "ticked");
    let mut late = [(); 3].map(|()| bench.connect(address));
    late.iter_mut().for_each(|client| client.say("who"));
    for client in &mut late {
        assert_eq!(client.hear(), Err("the connection was closed without an answer".to_owned()));
    }
    // Each was counted just after it saw its end.
    let counts = |run: &mut Run| values(Look::at(run).one("total"), ["shed", "failed"]);
    while counts(&mut run) != [1 + 6 + 3, 0] {}
    run.tell("stop");
    run.end_with(0);
}

fn shortage_of_descriptors_makes_clients_wait(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=managed_short_and_patient");
    let address = run.ready();
    run.expect_once("pauses accepting at");
    let mut clients: Vec<Client> = (0..60).map(|_| bench.connect(address)).collect();
    clients.iter_mut().for_each(|client| client.say("who"));
    run.log("pauses accepting at");
    // In the order in which they have come; each that goes makes room for the next one.
    for mut client in clients {
        client.hear().unwrap();
    }
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Opened, used and reset, a few at a time: no descriptor, no memory, no count is off. `CONNECTIONS=100000` for more.
fn many_connections_leave_nothing(bench: &Bench) {
    let connections: u64 = env::var("CONNECTIONS").map_or(20_000, |count| count.parse().unwrap());
    let mut run = bench.start("cluster listen=@:0 worker=managed");
    let address = run.ready();
    let mut steady = bench.connect(address);
    let visits = |count: u64| {
        thread::scope(|scope| {
            for client in 0..4 {
                scope.spawn(move || (0..count / 4).for_each(|visit| come_and_go(bench, address, client + visit)));
            }
        });
    };
    visits(connections / 10);
    wait_for_closed(&mut run, connections / 10);
    let open: u32 = steady.ask("descriptors").parse().unwrap();
    let before: u64 = steady.ask("memory").parse().unwrap();
    visits(connections);
    let total = connections + connections / 10;
    let look = wait_for_closed(&mut run, total);
    assert_eq!(values(look.one("total"), FATE), [total + 1, total, 1, 0]);
    // A client that leaves its answer unread is a reset, too, and none of them has finished in order.
    assert_eq!(values(look.one("total"), ["by_reset", "failed"]), [total, 0]);
    assert_eq!(steady.ask("descriptors"), open.to_string());
    let after: u64 = steady.ask("memory").parse().unwrap();
    assert!(after <= before + 1024, "from {before} to {after} KiB");
    drop(steady);
    run.tell("stop");
    run.end_with(0);
}

/// In one of several ways, always with a reset, so that no port is left waiting.
fn come_and_go(bench: &Bench, address: SocketAddr, way: u64) {
    let stream = TcpStream::connect(address).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    let mut client = bench.client(stream);
    match way % 4 {
        0 => {}
        1 => client.say("who"),
        _ => drop(client.ask("who")),
    }
}

fn counts_of_several_workers_add_up(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=3 worker=managed");
    let address = run.ready();
    let clients: Vec<Client> = (0..100)
        .map(|number| {
            let mut client = bench.connect(address);
            (0..number % 4).for_each(|_| drop(client.ask("who")));
            client
        })
        .collect();
    drop(clients);
    let look = wait_for_closed(&mut run, 100);
    assert_eq!(values(look.one("total"), FATE), [100, 100, 0, 0]);
    assert_eq!(look.one("total").get::<u64>("requests"), 150);
    let sum = |key| look.all("row").iter().map(|row| row.get::<u64>(key)).sum::<u64>();
    assert_eq!((look.all("row").len(), sum("accepted"), sum("requests")), (3, 100, 150));
    run.tell("stop");
    run.end_with(0);
}

/// Connections that wait for something: silent, idle, in the middle of a line, half closed, full of unsent output. The
/// loop turns for its timers and for nothing else.
fn sleeps_while_nothing_happens(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=managed");
    let address = run.ready();
    let [_silent, mut idle, mut partial, mut half, mut full] = [(); 5].map(|()| bench.connect(address));
    idle.ask("who");
    partial.begin("wh");
    half.ask("stay");
    half.finish();
    full.say("flood");
    // After all of this has been dealt with.
    idle.ask("ticks 1");
    let turns = |run: &mut Run| Look::at(run).one("row").get::<u64>("turns");
    let before = turns(&mut run);
    assert_eq!(idle.ask("ticks 5"), "ticked");
    let after = turns(&mut run);
    // One for the question, one for each tick and the last, some that came a little too early, and the answer.
    assert!((6..30).contains(&(after - before)), "{} turns", after - before);
    run.tell("stop");
    drop((idle, partial, half, full));
    run.end_with(0);
}
