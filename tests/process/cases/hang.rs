//! Workers that do not come back to their loop: they are told of, and in the end killed and replaced.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Run, cases};

cases!("hang":
    told_of_once_and_when_it_is_over,
    told_of_again_when_it_hangs_again,
    killed_and_replaced_and_nobody_else_notices,
    the_only_worker_is_killed_and_its_queue_is_served,
    aborted_first,
    one_that_is_stopped_is_killed_as_well,
    never_killed,
    threads_that_say_nothing_are_told_of_and_not_killed,
    one_that_leaves_is_given_its_time,
    an_idle_worker_does_not_hang,
    a_worker_with_a_limit_of_its_own_does_not_hang,
    a_stopped_master_accuses_nobody,
    a_stopped_master_hears_before_it_judges,
    nonsense_in_its_row_harms_nobody_else,
);

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn start(bench: &Bench, words: &str) -> (Run, SocketAddr) {
    let mut run = bench.start(&format!("cluster signals listen=@:0 {words}"));
    let at = run.ready();
    (run, at)
}

/// Worker 1 talks to this client until it hangs up.
fn busy(bench: &Bench, words: &str) -> (Run, SocketAddr, Client) {
    let (run, at) = start(bench, words);
    let client = bench.client_of(at, 1);
    (run, at, client)
}

/// It was not killed for that.
fn goes_on(mut run: Run, client: Client) {
    drop(client);
    let recovered = run.fact_of("recovered", 1);
    let hung = run.all("hung");
    assert_eq!(hung.len(), 1);
    assert!(recovered.get::<u64>("for_ms") >= hung[0].get("for_ms"));
    run.log("goes on after");
    stop(run);
}

fn told_of_once_and_when_it_is_over(bench: &Bench) {
    let (mut run, _, mut client) = busy(bench, "workers=2 hang=200");
    run.expect_once("worker 1 (slot 0");
    let hung = run.fact("hung");
    assert_eq!((hung.get::<u64>("id"), hung.get::<u64>("slot")), (1, 0));
    assert!(hung.get::<u64>("for_ms") >= 200);
    run.log("has not come back to its loop");
    // Twice as long again.
    run.pass(Duration::from_millis(400));
    assert_eq!(client.worker(), 1);
    goes_on(run, client);
}

fn told_of_again_when_it_hangs_again(bench: &Bench) {
    let (mut run, at, client) = busy(bench, "hang=100");
    run.expect("has not come back to its loop");
    run.fact_of("hung", 1);
    drop(client);
    run.fact_of("recovered", 1);
    let client = bench.client_of(at, 1);
    run.fact_of("hung", 1);
    drop(client);
    run.fact_of("recovered", 1);
    stop(run);
}

fn is_killed(bench: &Bench, words: &str, how: &str, clients: &str) {
    // These come back to their loops after each client.
    let (mut run, at, mut client) = busy(bench, &format!("worker=managed told hang=100,1000 {words}"));
    run.expect(clients);
    run.expect("it hung");
    client.say("spin");
    run.fact_of("hung", 1);
    let crowd = bench.crowd(at, 40);
    assert_eq!(run.fact_of("exit", 1).how(), how);
    client.closed();
    assert!(bench.answered(crowd).iter().all(|id| *id != 1));
    let next = run.fact("ready").get("id");
    bench.client_of(at, next);
    assert_eq!((run.all("exit").len(), run.logged("gives up")), (1, 0));
    stop(run);
}

fn killed_and_replaced_and_nobody_else_notices(bench: &Bench) {
    is_killed(bench, "workers=3", "signal 9, hung", "clients go to the others");
}

fn the_only_worker_is_killed_and_its_queue_is_served(bench: &Bench) {
    is_killed(bench, "", "signal 9, hung", "clients wait");
}

fn aborted_first(bench: &Bench) {
    is_killed(bench, "workers=2 abort", "signal 6, hung", "clients go to the others");
}

/// Somebody waits for it, and it does not come; that it was waiting itself is no excuse.
fn one_that_is_stopped_is_killed_as_well(bench: &Bench) {
    let (mut run, at) = start(bench, "workers=2 worker=managed told hang=100,1000");
    run.expect("has not come back to its loop");
    run.expect("it hung");
    let (stopped, pid) = (run.all("ready")[0].get("id"), run.all("ready")[0].get("pid"));
    run.freeze(pid);
    assert_eq!(bench.answered(bench.crowd(at, 60)), [3 - stopped].into());
    run.fact_of("hung", stopped);
    assert_eq!(run.fact_of("exit", stopped).how(), "signal 9, hung");
    run.fact_of("ready", 3);
    // It has nothing to do, and has looked.
    run.pass(Duration::from_millis(1500));
    assert_eq!(run.all("exit").len(), 1);
    bench.reaches(at, [3 - stopped, 3]);
    stop(run);
}

fn never_killed(bench: &Bench) {
    let (mut run, _, mut client) = busy(bench, "workers=2 hang=50");
    run.expect_once("has not come back to its loop");
    run.fact_of("hung", 1);
    run.pass(Duration::from_secs(1));
    assert_eq!(client.worker(), 1);
    assert_eq!(run.all("fork").len(), 2);
    goes_on(run, client);
}

/// What they do cannot be known.
fn threads_that_say_nothing_are_told_of_and_not_killed(bench: &Bench) {
    let (mut run, at) = start(bench, "workers=2 worker=by_threads hang=100,300");
    run.expect_once("hangs");
    let pid = run.known("ready", 1).get("pid");
    run.freeze(pid);
    assert_eq!(bench.answered(bench.crowd(at, 60)), [2].into());
    run.fact_of("hung", 1);
    run.pass(Duration::from_secs(1));
    assert!(run.all("exit").is_empty());
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(at, [1, 2]);
    run.fact_of("recovered", 1);
    stop(run);
}

/// It finishes with its client.
fn one_that_leaves_is_given_its_time(bench: &Bench) {
    let (mut run, at, mut client) = busy(bench, "workers=2 hang=1000,1500");
    run.tell("disconnect 1");
    run.fact("done");
    // Also when it was asked.
    run.pass(Duration::from_millis(3000));
    assert_eq!(client.worker(), 1);
    drop(client);
    assert_eq!(run.fact_of("exit", 1).how(), "code 0, asked");
    assert!(run.all("hung").is_empty());
    bench.reaches(at, [2]);
    stop(run);
}

/// Nobody waits for it.
fn an_idle_worker_does_not_hang(bench: &Bench) {
    let (mut run, at) = start(bench, "workers=2 worker=managed told hang=100,300");
    let mut client = bench.client_of(at, 2);
    let pid = run.known("ready", 1).get("pid");
    run.freeze(pid);
    for _ in 0..10 {
        client.worker();
        run.pass(Duration::from_millis(100));
    }
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(at, [1, 2]);
    assert!(run.all("hung").is_empty());
    stop(run);
}

/// It sleeps, with room for nobody, and turns when it is called.
fn a_worker_with_a_limit_of_its_own_does_not_hang(bench: &Bench) {
    let (mut run, at) = start(bench, "workers=2 worker=by_poll_with_room_for_one hang=100,600");
    let mut client = bench.client_of(at, 1);
    assert_eq!(bench.answered(bench.crowd(at, 60)), [2].into());
    run.pass(Duration::from_millis(2500));
    assert_eq!(client.worker(), 1);
    drop(client);
    bench.reaches(at, [1, 2]);
    assert!(run.all("hung").is_empty() && run.all("exit").is_empty());
    stop(run);
}

/// In one turn of the worker, as far as the master can see, and in many of the others'.
fn a_stopped_master_accuses_nobody(bench: &Bench) {
    let (mut run, at, mut client) = busy(bench, "workers=3 hang=2000,2900");
    let mut others = bench.client_of_each(at, [2, 3]);
    run.freeze(run.pid());
    run.pass(Duration::from_secs(3));
    run.signal(Signal::SIGCONT);
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 1:2:Ready 2:3:Ready");
    assert_eq!(client.worker(), 1);
    assert_eq!(others.each_mut().map(Client::worker), [2, 3]);
    drop((client, others));
    bench.reaches(at, 1..=3);
    assert!(run.all("hung").is_empty() && run.all("exit").is_empty());
    stop(run);
}

/// Of a worker that starts meanwhile: it has said in time that it listens.
fn a_stopped_master_hears_before_it_judges(bench: &Bench) {
    let mut run = bench.start("cluster mode=run signals listen=@:0 worker=late ready_timeout=2000");
    let trigger: SocketAddr = run.fact("late").rest().parse().unwrap();
    // It sleeps when it is stopped.
    run.pass(Duration::from_millis(300));
    run.freeze(run.pid());
    drop(bench.connect(trigger));
    run.pass(Duration::from_secs(3));
    run.signal(Signal::SIGCONT);
    run.ready();
    assert!(run.all("exit").is_empty());
    stop(run);
}

/// What follows from it follows for itself.
fn nonsense_in_its_row_harms_nobody_else(bench: &Bench) {
    let (mut run, at, mut client) = busy(bench, "workers=2 hang=100");
    run.allow("hangs");
    assert_eq!(client.ask("overwrite"), "overwritten");
    let mut other = bench.client_of(at, 2);
    run.pass(Duration::from_millis(300));
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact_of("exit", 1);
    assert_eq!(other.worker(), 2);
    drop((client, other));
    run.fact_of("ready", 3);
    bench.reaches(at, [2, 3]);
    stop(run);
}
