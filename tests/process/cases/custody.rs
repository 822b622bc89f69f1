//! Doors outlive their workers: what becomes of the clients in a queue.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Run, cases, listening_sockets};

cases!("custody":
    kill_9_loses_nobody_in_the_queue,
    hundred_clients_of_the_only_worker,
    panic_loses_nobody_in_the_queue,
    error_loses_nobody_in_the_queue,
    return_loses_nobody_in_the_queue,
    sigterm_to_a_worker_loses_nobody,
    every_address_is_inherited,
    given_up_at_back_off,
    served_by_a_sibling_at_back_off,
    given_up_when_nobody_follows,
    given_up_at_the_end_of_a_deaf_worker,
    given_up_when_the_replacement_is_late,
    dropped_listener_of_a_live_worker,
    worker_that_becomes_another_program,
    bare_socket_of_a_dropped_worker,
    another_listener_of_a_live_worker,
    program_that_forks_from_its_handler,
    listeners_not_kept,
    listeners_not_kept_are_lost_with_their_worker,
);

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// A cluster whose only worker is busy with one client while another waits in the queue.
fn busy<'a>(bench: &Bench, words: &str) -> (Run, Client, impl FnOnce() -> Client + use<'a>) {
    let mut run = bench.start(&format!("cluster mode=run listen=@:0 {words}"));
    let address = run.ready();
    let mut busy = bench.connect(address);
    assert!(busy.ask("who").starts_with("1 0 "));
    let waiting = bench.connect(address);
    (run, busy, move || waiting)
}

/// `last_words`: what the first client says to the worker.
fn survives(bench: &Bench, last_words: &str, how: &str, log: &str) {
    let (mut run, mut busy, waiting) = busy(bench, "");
    run.expect_once(log);
    busy.say(last_words);
    busy.closed();
    assert_eq!(run.fact_of("exit", 1).how(), how);
    assert!(waiting().ask("who").starts_with("2 0 "), "the replacement serves whoever waited");
    assert_eq!(run.logged("gives up"), 0);
    stop(run);
}

fn kill_9_loses_nobody_in_the_queue(bench: &Bench) {
    survives(bench, "raise 9", "signal 9, own", "was killed by SIGKILL");
}

fn panic_loses_nobody_in_the_queue(bench: &Bench) {
    let (mut run, mut busy, waiting) = busy(bench, "");
    run.expect_panic("no milk");
    run.expect("panicked: no milk");
    run.expect("exited with code 101");
    busy.say("panic no milk");
    assert!(waiting().ask("who").starts_with("2 0 "));
    stop(run);
}

fn error_loses_nobody_in_the_queue(bench: &Bench) {
    let (mut run, mut busy, waiting) = busy(bench, "");
    run.expect("failed: no milk");
    run.expect("exited with code 1");
    busy.say("fail no milk");
    assert!(waiting().ask("who").starts_with("2 0 "));
    stop(run);
}

/// A worker that ends by itself, after so many requests for example.
fn return_loses_nobody_in_the_queue(bench: &Bench) {
    survives(bench, "return", "code 0, own", "exited with code 0");
}

fn hundred_clients_of_the_only_worker(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let address = run.ready();
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGSTOP);
    let clients: Vec<Client> = (0..100).map(|_| bench.connect(address)).collect();
    run.expect_once("was killed by SIGKILL");
    run.signal_to(pid, Signal::SIGKILL);
    // In the order of the queue: the worker serves a client until it hangs up.
    for mut client in clients {
        assert!(client.ask("who").starts_with("2 0 "));
    }
    assert_eq!(run.logged("gives up"), 0);
    stop(run);
}

/// The socket is its replacement's, with whoever waits there: in every kind of loop.
fn sigterm_to_a_worker_loses_nobody(bench: &Bench) {
    for worker in ["serve", "managed", "threads", "bare"] {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0 worker={worker}"));
        let address = run.ready();
        run.expect_once("exited with code 0");
        run.signal_to(run.all("ready")[0].get("pid"), Signal::SIGTERM);
        while run.all("ready").len() < 2 {
            bench.ask(address, "who");
            run.pass(Duration::ZERO);
        }
        assert_eq!(run.fact("exit").how(), "code 0, own", "{worker}");
        bench.ask(address, "who");
        assert_eq!(run.logged("shut"), 0, "{worker}");
        stop(run);
    }
}

fn every_address_is_inherited(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0,a listen=@:0,b worker=both");
    let addresses = run.ready_at();
    run.expect_once("was killed by SIGKILL");
    run.expect("2 waiting clients reset");
    let mut busy = bench.connect(addresses[0]);
    busy.ask("who");
    let _of_b = TcpStream::connect(addresses[1]).unwrap();
    busy.say("raise 9");
    run.fact_of("ready", 2);
    // Nobody accepts at b; what waits there shows that both queues are one.
    let _of_b_too = TcpStream::connect(addresses[1]).unwrap();
    bench.ask(addresses[0], "who");
    stop(run);
}

/// There is nobody else.
fn given_up_at_back_off(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=short_lived backoff=60000,60000");
    run.expect("exited with code 7");
    run.expect("the next worker starts in");
    run.fact("backoff");
    let line = run.log("slot 0 gives up its socket");
    assert!(line.contains("its next worker starts later"), "{line}");
    let address: SocketAddr = run.first("listening").get("address");
    assert!(TcpStream::connect(address).is_err(), "better refused than left waiting");
    stop(run);
}

/// The slot's next worker is never ready.
fn served_by_a_sibling_at_back_off(bench: &Bench) {
    let mut run = bench.start("cluster mode=run told listen=@:0 workers=2 worker=untold_in_slot_1");
    let (listening, other) = (run.fact("listening"), run.fact("listening"));
    let address = listening.get("address");
    let pid_of =
        |slot: u64| [&listening, &other].iter().find(|fact| fact.get::<u64>("slot") == slot).unwrap().get("pid");
    run.first("ready");
    // The kernel picks by a hash: of thirty some are behind each door.
    let address: SocketAddr = address;
    let mut clients: Vec<Client> = (0..30).map(|_| bench.connect(address)).collect();
    clients.iter_mut().for_each(|client| client.say("who"));
    run.expect("was killed by SIGKILL");
    run.expect("the next worker starts in");
    run.signal_to(pid_of(1), Signal::SIGKILL);
    bench.hear_all(clients).iter().for_each(|answer| assert!(answer.starts_with("1 0 "), "{answer}"));
    run.fact_of("listening", 3);
    assert_eq!(run.logged("gives up"), 0);
    stop(run);
}

fn given_up_when_nobody_follows(bench: &Bench) {
    let (mut run, mut busy, waiting) = busy(bench, "restart=never");
    run.expect_once("was killed by SIGKILL");
    busy.say("raise 9");
    let line = run.log("slot 0 gives up its socket");
    assert!(line.ends_with("it gets no further worker; 1 waiting client reset"), "{line}");
    waiting().closed();
    assert!(run.fact("result").rest().contains("none may be restarted"));
    run.end_with(1);
}

fn given_up_at_the_end_of_a_deaf_worker(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=deaf");
    let address = run.ready();
    let waiting = bench.connect(address);
    run.signal(Signal::SIGTERM);
    run.log("1 waiting client reset");
    waiting.closed();
    run.end_with(0);
}

fn given_up_when_the_replacement_is_late(bench: &Bench) {
    let (mut run, mut busy, waiting) = busy(bench, "worker=late_replacement");
    run.expect_once("was killed by SIGKILL");
    busy.say("raise 9");
    let line = run.log("slot 0 gives up its socket");
    assert!(line.contains("no worker has listened there for 1 s"), "{line}");
    waiting().closed();
    // It opens the socket anew that it has inherited.
    let at: SocketAddr = run.fact_of("listening", 2).get("address");
    assert!(bench.ask(at, "who").starts_with("2 0 "));
    stop(run);
}

fn dropped_listener_of_a_live_worker(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 worker=drops_in_slot_1");
    let address = run.ready();
    let line = run.log("slot 1 gives up its socket");
    assert!(line.contains("INFO") && line.ends_with("no worker has listened there for 1 s; nobody waited"), "{line}");
    for _ in 0..30 {
        assert_eq!(bench.ask(address, "who").split(' ').nth(1), Some("0"), "all go to the other worker");
    }
    stop(run);
}

/// It gets the socket that it had, and whoever waits there.
fn another_listener_of_a_live_worker(bench: &Bench) {
    let (mut run, mut busy, waiting) = busy(bench, "");
    let at: SocketAddr = run.first("listening").get("address");
    let sockets = listening_sockets(at);
    busy.say("relisten");
    drop(busy);
    assert!(waiting().ask("who").starts_with("1 0 "));
    assert_eq!((listening_sockets(at), run.logged("gives up")), (sockets, 0));
    stop(run);
}

fn worker_that_becomes_another_program(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=becomes_another_program");
    let address = run.ready();
    run.first("disconnect");
    let line = run.log("slot 0 gives up its socket");
    assert!(line.contains("no worker has listened there for 1 s"), "{line}");
    assert!(TcpStream::connect(address).is_err(), "better refused than left waiting");
    stop(run);
}

/// Its channel stays open: the socket is still used.
fn bare_socket_of_a_dropped_worker(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=bare_without_a_worker");
    let address = run.ready();
    run.first("dropped");
    // Long enough for a socket to be given up.
    run.pass(Duration::from_millis(1100));
    bench.ask(address, "who");
    assert_eq!((run.all("disconnect").len(), run.logged("gives up")), (0, 0));
    stop(run);
}

fn program_that_forks_from_its_handler(bench: &Bench) {
    let mut run = bench.start("cluster manual fork_on_exit=1 listen=@:0");
    run.tell("fork");
    let address = run.fact("listening").get::<SocketAddr>("address");
    let mut busy = bench.connect(address);
    busy.ask("who");
    let mut waiting = bench.connect(address);
    run.expect_once("was killed by SIGKILL");
    busy.say("raise 9");
    assert!(waiting.ask("who").starts_with("2 0 "));
    drop(waiting);
    run.tell("stop");
    run.end_with(0);
}

fn listeners_not_kept(bench: &Bench) {
    let mut run = bench.start("cluster mode=run keep=false listen=@:0,a listen=@:0,b workers=2 worker=both");
    let addresses = run.ready_at();
    assert_eq!(run.all("listening").len(), 4);
    bench.ask(addresses[0], "who");
    stop(run);
}

fn listeners_not_kept_are_lost_with_their_worker(bench: &Bench) {
    let (mut run, mut busy, waiting) = busy(bench, "keep=false");
    run.expect_once("was killed by SIGKILL");
    busy.say("raise 9");
    waiting().closed();
    let at: SocketAddr = run.fact_of("listening", 2).get("address");
    assert!(bench.ask(at, "who").starts_with("2 0 "));
    stop(run);
}
