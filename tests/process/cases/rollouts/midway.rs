//! What happens while a rollout is under way.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use super::{ended, is_done, leaves_for_a_successor, rolls, start, stop};
use crate::harness::{Bench, Client, Run, cases, listening_sockets};

cases!("rollouts::midway":
    it_begins_while_the_first_worker_starts,
    the_first_worker_starts_later_than_its_successor,
    the_last_of_several_requests_wins,
    each_sighup_counts,
    a_stop_ends_it_while_the_successor_starts,
    a_stop_ends_it_while_the_successor_settles,
    a_stop_ends_it_while_old_workers_linger,
    quit_ends_it_at_once,
    the_master_is_killed,
    a_worker_that_dies_is_succeeded_at_once,
    a_worker_that_dies_before_its_successor_is_ready,
    a_worker_of_a_manual_cluster_dies,
    a_worker_that_returns_and_is_not_restarted,
    a_new_worker_that_dies_later_is_replaced,
    sigterm_to_the_predecessor,
    sigterm_to_the_successor,
    the_predecessor_leaves_by_itself,
    the_program_asks_the_predecessor_to_leave,
    another_slot_crashes_and_is_new_already,
);

fn result(bench: &Bench, run: &mut Run, at: SocketAddr, id: u64) -> String {
    ended(bench, run, at, id).get("result")
}

/// The successor was forked before the slot had a socket. Whoever listens second gets the one that is there.
fn it_begins_while_the_first_worker_starts(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 worker=late");
    let first: SocketAddr = run.fact("late").rest().parse().unwrap();
    run.tell("rollout settle=0");
    let second: SocketAddr = run.fact("late").rest().parse().unwrap();
    drop(bench.stream(first));
    let at = run.fact_of("listening", 1).get("address");
    let sockets = listening_sockets(at);
    drop(bench.stream(second));
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [1]);
    bench.reaches(at, [2]);
    assert_eq!((listening_sockets(at), run.logged("gives up")), (sockets, 0));
    stop(run);
}

/// The successor is faster. Whom it succeeds opens no socket any more.
fn the_first_worker_starts_later_than_its_successor(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 worker=late");
    let first: SocketAddr = run.fact("late").rest().parse().unwrap();
    run.tell("rollout settle=0");
    drop(bench.stream(run.fact("late").rest().parse::<SocketAddr>().unwrap()));
    let at = run.fact_of("listening", 2).get("address");
    run.fact_of("ready", 2);
    let sockets = listening_sockets(at);
    drop(bench.stream(first));
    assert_eq!(run.fact_of("exit", 1).how(), "code 0, rollout");
    is_done(bench, &mut run, at, 1);
    bench.reaches(at, [2]);
    assert_eq!((listening_sockets(at), run.logged("gives up")), (sockets, 0));
    stop(run);
}

/// The one that had not begun at once, the one that had begun when its step is over.
fn the_last_of_several_requests_wins(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("rollout settle=300");
    run.fact_of("ready", 3);
    run.tell("rollout settle=0");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 3);
    let ends = run.all("rollout_ended");
    let ends: Vec<(u64, String)> = ends.iter().map(|end| (end.get("id"), end.get("result"))).collect();
    let [second, first, third] =
        [(2, "superseded"), (1, "superseded"), (3, "done")].map(|(id, how)| (id, how.to_owned()));
    assert_eq!(ends, [second, first, third]);
    let begun: Vec<u64> = run.all("rollout_started").iter().map(|fact| fact.get("id")).collect();
    assert_eq!(begun, [1, 3]);
    // The one that the first rollout has brought is old, too.
    leaves_for_a_successor(&mut run, 1..=3);
    bench.reaches(at, [4, 5]);
    stop(run);
}

fn each_sighup_counts(bench: &Bench) {
    let mut run = start(bench, "workers=2 settle=20");
    let at = run.ready();
    for id in 1..=10 {
        run.signal(Signal::SIGHUP);
        run.log("received SIGHUP");
        if id % 4 == 0 {
            result(bench, &mut run, at, id);
        }
    }
    is_done(bench, &mut run, at, 10);
    assert_eq!(run.all("rollout_ended").len(), 10);
    stop(run);
}

fn is_stopped(mut run: Run, signal: Signal, clients: Vec<Client>) {
    run.signal(signal);
    run.fact("stopping");
    drop(clients);
    run.end_with(0);
    assert_eq!(run.all("rollout_ended")[0].get::<String>("result"), "stopped");
    let forks = run.all("fork").len();
    assert_eq!(run.all("exit").len(), forks);
    assert!(run.all("exit").iter().all(|exit| exit.how().ends_with(", asked")), "{:?}", run.all("exit"));
}

fn a_stop_ends_it_while_the_successor_starts(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    run.ready();
    run.tell("release idle");
    run.tell("rollout");
    run.fact_of("online", 3);
    is_stopped(run, Signal::SIGTERM, Vec::new());
}

fn a_stop_ends_it_while_the_successor_settles(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("rollout settle=60000");
    run.tell("rollout");
    run.fact_of("ready", 3);
    let clients = (0..6).map(|_| bench.connect(at)).collect();
    is_stopped(run, Signal::SIGTERM, clients);
}

fn a_stop_ends_it_while_old_workers_linger(bench: &Bench) {
    let mut run = start(bench, "workers=2 max_lingering=1");
    let at = run.ready();
    let mut client = bench.client_of(at, 1);
    run.tell("rollout settle=0");
    run.log("rollout 1: waits");
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    assert_eq!(client.worker(), 1);
    drop(client);
    run.end_with(0);
    leaves_for_a_successor(&mut run, [1]);
    assert_eq!(run.all("rollout_ended")[0].get::<String>("result"), "stopped");
}

fn quit_ends_it_at_once(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    run.ready();
    run.tell("rollout settle=60000");
    run.fact_of("ready", 3);
    run.expect_once("stopping at once: 3 workers killed");
    is_stopped(run, Signal::SIGQUIT, Vec::new());
}

/// Successors and those that linger follow it.
fn the_master_is_killed(bench: &Bench) {
    let mut run = start(bench, "workers=2 max_lingering=1");
    let at = run.ready();
    let client = bench.client_of(at, 1);
    run.tell("rollout settle=60000");
    // A worker that still starts may have time to say that its master is gone.
    run.fact_of("ready", 3);
    run.dies_by(Signal::SIGKILL);
    client.closed();
    run.end();
}

/// Who waits finds the successor, and nobody else is forked.
fn a_worker_that_dies_is_succeeded_at_once(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("rollout settle=300");
    run.fact_of("ready", 2);
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    assert_eq!(run.fact_of("exit", 1).how(), "signal 9, killed");
    is_done(bench, &mut run, at, 1);
    bench.reaches(at, [2]);
    assert_eq!((run.all("fork").len(), run.logged("gives up")), (2, 0));
    stop(run);
}

/// No other slot is touched until it is.
fn a_worker_that_dies_before_its_successor_is_ready(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("release late");
    run.tell("rollout settle=0");
    let trigger: SocketAddr = run.fact("late").rest().parse().unwrap();
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact_of("exit", 1);
    run.tell("release serve");
    // Nobody else is behind that door until then.
    for _ in 0..20 {
        assert_eq!(bench.connect(at).worker(), 2);
    }
    drop(bench.stream(trigger));
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [2]);
    bench.reaches(at, [3, 4]);
    assert_eq!(run.all("fork").len(), 4);
    stop(run);
}

/// Nobody else would replace it there.
fn a_worker_of_a_manual_cluster_dies(bench: &Bench) {
    let mut run = start(bench, "manual");
    run.tell("fork");
    run.fact_of("ready", 1);
    let at = run.known("listening", 1).get("address");
    run.tell("rollout settle=300");
    run.fact_of("ready", 2);
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact_of("exit", 1);
    is_done(bench, &mut run, at, 1);
    bench.reaches(at, [2]);
    stop(run);
}

/// Its successor is not to take its place either.
fn a_worker_that_returns_and_is_not_restarted(bench: &Bench) {
    let mut run = start(bench, "workers=2 no_restart_on=0");
    let at = run.ready();
    run.tell("rollout settle=60000");
    run.fact_of("ready", 3);
    // Whoever of the two has this client, somebody is left.
    let mut client = bench.client_of(at, 1);
    client.say("return");
    run.fact_of("exit", 1);
    run.expect("exited with code 0");
    assert_eq!(run.known("exit", 3).how(), "code 0, rollout");
    run.fact_of("ready", 4);
    bench.reaches(at, [2, 4]);
    stop(run);
}

/// It has settled: that is a crash like any other.
fn a_new_worker_that_dies_later_is_replaced(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    rolls(bench, &mut run, at, "settle=0");
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 4 9");
    run.fact_of("ready", 5);
    bench.reaches(at, [3, 5]);
    assert_eq!(run.known("exit", 4).how(), "signal 9, killed");
    stop(run);
}

/// It leaves before the successor has settled, which has the slot then.
fn sigterm_to_the_predecessor(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("rollout settle=2000");
    run.fact_of("ready", 2);
    let pid = run.known("ready", 1).get("pid");
    run.expect_once("exited with code 0");
    run.signal_to(pid, Signal::SIGTERM);
    is_done(bench, &mut run, at, 1);
    assert_eq!(run.known("exit", 1).how(), "code 0, own");
    bench.reaches(at, [2]);
    assert_eq!(run.all("fork").len(), 2);
    stop(run);
}

fn sigterm_to_the_successor(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("rollout settle=60000");
    let pid = run.fact_of("ready", 2).get("pid");
    run.expect("rollout 1: aborted: slot 0: its successor, worker 2, leaves before it was to take over");
    run.signal_to(pid, Signal::SIGTERM);
    assert_eq!(result(bench, &mut run, at, 1), "aborted");
    run.known("exit", 2);
    bench.reaches(at, [1]);
    stop(run);
}

/// The slot is left for good, as it would be without a rollout.
fn the_predecessor_leaves_by_itself(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    let mut client = bench.client_of(at, 1);
    run.tell("rollout settle=60000");
    run.fact_of("ready", 3);
    client.say("leave");
    client.hear().unwrap();
    drop(client);
    slot_is_left(bench, run, at);
}

fn the_program_asks_the_predecessor_to_leave(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("rollout settle=60000");
    run.fact_of("ready", 3);
    run.tell("disconnect 1");
    slot_is_left(bench, run, at);
}

fn slot_is_left(bench: &Bench, mut run: Run, at: SocketAddr) {
    assert_eq!(run.known("exit", 3).how(), "code 0, rollout");
    assert_eq!(run.known("exit", 1).how(), "code 0, asked");
    // The other slot is next.
    run.fact_of("ready", 4);
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "1:2:Ready 1:4:Ready");
    bench.connect(at).worker();
    stop(run);
}

/// Whoever was forked since the rollout began is new.
fn another_slot_crashes_and_is_new_already(bench: &Bench) {
    let mut run = start(bench, "workers=3");
    let at = run.ready();
    run.tell("rollout settle=300");
    run.fact_of("ready", 4);
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 3 9");
    run.fact_of("ready", 5);
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, 4..=6);
    run.pass(Duration::ZERO);
    assert_eq!(run.all("fork").len(), 6);
    stop(run);
}
