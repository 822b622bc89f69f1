//! Old workers that finish while their successors serve.

use nix::sys::signal::Signal;

use super::{is_done, leaves_for_a_successor, start, stop};
use crate::harness::{Bench, Run, cases};

cases!("rollouts::lingering":
    no_more_than_allowed,
    one_generation_by_default,
    they_have_their_own_time,
    a_stop_gives_them_no_more_time_than_others,
    they_are_asked_and_listed,
    limits_of_zero_are_refused,
);

/// The only slot has a new worker, while the old one has something to finish.
fn taken_over(run: &mut Run) {
    run.tell("rollout settle=0");
    run.fact_of("ready", 2);
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:2:Ready 0:1:Draining");
}

fn no_more_than_allowed(bench: &Bench) {
    let mut run = start(bench, "workers=2 max_lingering=1");
    let at = run.ready();
    let mut clients = bench.client_of_each(at, [1, 2]);
    run.tell("rollout settle=0");
    run.log("rollout 1: waits, 1 replaced worker may finish first (max_lingering)");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:3:Ready 0:1:Draining 1:2:Ready");
    assert_eq!(clients.each_mut().map(|client| client.worker()), [1, 2]);
    let [first, mut second] = clients;
    drop(first);
    run.fact_of("ready", 4);
    assert!(run.comes_before(("exit", 1), ("fork", 4)));
    assert_eq!(second.worker(), 2);
    drop(second);
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [3, 4]);
    stop(run);
}

fn one_generation_by_default(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    let mut old = bench.client_of_each(at, [1, 2]);
    run.tell("rollout settle=0");
    run.fact_of("ready", 4);
    run.tell("rollout settle=0");
    run.log("rollout 2: waits, 2 replaced workers may finish first");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:3:Ready 0:1:Draining 1:4:Ready 1:2:Draining");
    assert_eq!(old.each_mut().map(|client| client.worker()), [1, 2]);
    drop(old);
    is_done(bench, &mut run, at, 2);
    bench.reaches(at, [5, 6]);
    stop(run);
}

fn they_have_their_own_time(bench: &Bench) {
    let mut run = start(bench, "linger_timeout=100");
    let at = run.ready();
    let client = bench.client_of(at, 1);
    run.expect_once("worker 1 (pid");
    run.tell("rollout settle=0");
    run.log("has not finished within 100ms: it gets SIGTERM");
    client.closed();
    assert_eq!(run.fact_of("exit", 1).how(), "signal 15, rollout");
    bench.reaches(at, [2]);
    // The others keep theirs.
    let mut client = bench.client_of(at, 2);
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    client.worker();
    drop(client);
    run.end_with(0);
}

fn a_stop_gives_them_no_more_time_than_others(bench: &Bench) {
    let mut run = start(bench, "linger_timeout=60000 drain_timeout=100");
    let at = run.ready();
    let mut client = bench.client_of(at, 1);
    taken_over(&mut run);
    assert_eq!(client.worker(), 1);
    run.expect_once("has not finished within 100ms: it gets SIGTERM");
    run.signal(Signal::SIGTERM);
    client.closed();
    run.end_with(0);
}

fn they_are_asked_and_listed(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    let client = bench.client_of(at, 1);
    taken_over(&mut run);
    // It leaves already, and its slot is none of its business any more.
    run.tell("disconnect 1");
    run.fact("done");
    drop(client);
    run.fact_of("exit", 1);
    bench.reaches(at, [2]);
    assert_eq!(run.all("fork").len(), 2);
    stop(run);
}

fn limits_of_zero_are_refused(bench: &Bench) {
    for (words, text) in [
        ("max_lingering=0", "max_lingering(0): no rollout could replace a worker"),
        ("linger_timeout=0", "linger_timeout(0): no worker can finish at once"),
    ] {
        let mut run = start(bench, words);
        assert!(run.fact("result").rest().contains(text));
        run.end_with(2);
    }
}
