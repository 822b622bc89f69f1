//! More and fewer workers at run time.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use super::rollouts::{is_done, leaves_for_a_successor, start, stop};
use crate::harness::{Bench, Fact, Run, cases, listening_sockets};

cases!("scaling":
    signals_change_the_number_by_one,
    more_workers_at_once,
    fewer_workers_lose_nobody,
    up_and_down_again_and_again,
    bounds_are_named,
    manual_clusters_and_those_that_stop_refuse,
    a_slot_that_is_being_left_stays_after_all,
    a_slot_whose_worker_was_asked_is_filled_again,
    a_slot_that_waits_is_left,
    a_worker_that_starts_is_left,
    slots_left_by_disconnect_are_filled_and_retired_ones_are_not,
    beside_workers_that_the_program_forks,
    who_dies_while_it_leaves_is_not_replaced,
    more_during_a_rollout,
    fewer_during_a_rollout,
    stop_while_slots_are_left,
);

fn how(exit: &Fact) -> String {
    exit.how()
}

fn signals_change_the_number_by_one(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 max_workers=3");
    let at = run.ready();
    for id in [2, 3] {
        run.signal(Signal::SIGTTIN);
        run.log(&format!("the number of workers goes from {} to {id}", id - 1));
        assert_eq!(run.fact_of("ready", id).get::<u64>("slot"), id - 1);
    }
    run.expect_once("SIGTTIN ignored: scale(4): there are 3 slots, raise max_workers(3)");
    run.signal(Signal::SIGTTIN);
    run.log("SIGTTIN ignored");
    bench.reaches(at, 1..=3);
    for id in [3, 2] {
        run.signal(Signal::SIGTTOU);
        run.log(&format!("the number of workers goes from {id} to {}", id - 1));
        assert_eq!(how(&run.fact_of("exit", id)), "code 0, scaled");
    }
    run.expect_once("SIGTTOU ignored: scale(0): 0 workers serve nobody");
    run.signal(Signal::SIGTTOU);
    run.log("SIGTTOU ignored");
    bench.reaches(at, [1]);
    stop(run);
}

fn more_workers_at_once(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("scale 6");
    run.until("ready", 6);
    assert_eq!(listening_sockets(at).len(), 6);
    bench.reaches(at, 1..=6);
    // No news.
    run.tell("scale 6");
    run.fact("done");
    assert_eq!((run.all("fork").len(), run.logged("the number of workers goes")), (6, 1));
    stop(run);
}

fn asks_until(bench: &Bench, run: &mut Run, at: SocketAddr, name: &str, count: usize) {
    while run.all(name).len() < count {
        bench.connect(at).worker();
        run.pass(Duration::ZERO);
    }
}

/// Some wait behind the sockets of those who leave, others come meanwhile.
fn fewer_workers_lose_nobody(bench: &Bench) {
    let mut run = bench.start("cluster signals told listen=@:0 workers=4 worker=managed");
    let at = run.ready();
    let pids: Vec<u32> = run.all("ready").iter().map(|fact| fact.get("pid")).collect();
    pids.iter().for_each(|pid| run.freeze(*pid));
    let mut waiting: Vec<_> = (0..40).map(|_| bench.connect(at)).collect();
    waiting.iter_mut().for_each(|client| client.say("who"));
    run.tell("scale 1");
    run.fact("done");
    pids.iter().for_each(|pid| run.signal_to(*pid, Signal::SIGCONT));
    for client in &mut waiting {
        client.hear().unwrap();
    }
    drop(waiting);
    bench.reaches(at, [1]);
    asks_until(bench, &mut run, at, "exit", 3);
    assert!(run.all("exit").iter().all(|exit| how(exit) == "code 0, scaled"), "{:?}", run.all("exit"));
    run.pass_until(|| listening_sockets(at).len() == 1);
    assert_eq!(run.logged("reset"), 0);
    bench.reaches(at, [1]);
    stop(run);
}

fn up_and_down_again_and_again(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    for round in 1..=3 {
        run.tell("scale 4");
        asks_until(bench, &mut run, at, "ready", 1 + 3 * round);
        run.tell("scale 1");
        asks_until(bench, &mut run, at, "exit", 3 * round);
    }
    bench.reaches(at, [1]);
    assert_eq!((run.all("fork").len(), run.logged("reset")), (10, 0));
    stop(run);
}

fn refused(run: &mut Run, command: &str) -> String {
    run.tell(command);
    run.fact("refused").rest().to_owned()
}

fn bounds_are_named(bench: &Bench) {
    let mut run = start(bench, "workers=2 max_workers=4");
    run.ready();
    let nobody = refused(&mut run, "scale 0");
    assert_eq!(nobody, "invalid_config scale(0): 0 workers serve nobody, give 1 or more, or stop by shutdown()");
    let many = refused(&mut run, "scale 5");
    assert_eq!(many, "invalid_config scale(5): there are 4 slots, raise max_workers(4)");
    run.tell("scale 4");
    run.until("ready", 4);
    stop(run);
    // Without a word there is some room.
    let mut run = start(bench, "");
    run.ready();
    assert_eq!(refused(&mut run, "scale 65"), "invalid_config scale(65): there are 64 slots, raise max_workers(64)");
    stop(run);
}

fn manual_clusters_and_those_that_stop_refuse(bench: &Bench) {
    let mut run = start(bench, "manual");
    let text = "scale: the cluster is manual(), use fork() and disconnect()";
    assert_eq!(refused(&mut run, "scale 2"), format!("invalid_config {text}"));
    run.expect_once(&format!("SIGTTIN ignored: {text}"));
    run.signal(Signal::SIGTTIN);
    run.log("SIGTTIN ignored");
    stop(run);
    let mut run = start(bench, "");
    let client = bench.client_of(run.ready(), 1);
    run.tell("stop");
    assert_eq!(refused(&mut run, "scale 2"), "gone scale: the cluster is stopping");
    run.expect_once("SIGTTOU ignored: scale: the cluster is stopping");
    run.signal(Signal::SIGTTOU);
    run.log("SIGTTOU ignored");
    drop(client);
    run.end_with(0);
}

/// Within the second in which newcomers are led elsewhere. They come back.
fn a_slot_that_is_being_left_stays_after_all(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("scale 1");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 1:2:Draining");
    bench.reaches(at, [1]);
    run.tell("scale 2");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 1:2:Ready");
    bench.reaches(at, [1, 2]);
    // Longer than that second: nobody has remembered.
    run.pass(Duration::from_millis(1100));
    bench.reaches(at, [1, 2]);
    assert_eq!((run.all("fork").len(), run.all("exit").len()), (2, 0));
    stop(run);
}

fn a_slot_whose_worker_was_asked_is_filled_again(bench: &Bench) {
    let mut run = start(bench, "workers=2 balance=kernel");
    let at = run.ready();
    let mut client = bench.client_of(at, 2);
    run.tell("scale 1");
    run.tell("scale 2");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 1:2:Draining");
    assert_eq!(client.worker(), 2);
    drop(client);
    assert_eq!(how(&run.fact_of("exit", 2)), "code 0, scaled");
    assert_eq!(run.fact_of("ready", 3).get::<u64>("slot"), 1);
    bench.reaches(at, [1, 3]);
    stop(run);
}

fn a_slot_that_waits_is_left(bench: &Bench) {
    let mut run = start(bench, "workers=2 backoff=60000,60000");
    run.ready();
    run.tell("release fails");
    let warnings = ["was killed by SIGKILL", "failed: no disk", "exited with code 1", "delayed start number 1"];
    warnings.iter().for_each(|text| run.expect(text));
    run.tell("kill 2 9");
    run.fact("backoff");
    run.tell("scale 1");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready");
    // Its delay is not forgotten.
    run.tell("scale 2");
    assert_eq!(run.fact("backoff").get::<u64>("slot"), 1);
    stop(run);
}

fn a_worker_that_starts_is_left(bench: &Bench) {
    let mut run = start(bench, "");
    run.ready();
    run.tell("release idle");
    run.tell("scale 2");
    run.fact_of("online", 2);
    run.tell("scale 1");
    assert_eq!(how(&run.fact_of("exit", 2)), "code 0, scaled");
    assert_eq!(run.all("fork").len(), 2);
    stop(run);
}

fn slots_left_by_disconnect_are_filled_and_retired_ones_are_not(bench: &Bench) {
    let mut run = start(bench, "workers=3 no_restart_on=0");
    let at = run.ready();
    run.tell("disconnect 2");
    run.fact_of("exit", 2);
    run.expect("exited with code 0");
    bench.client_of(at, 3).say("return");
    run.fact_of("exit", 3);
    run.tell("scale 3");
    assert_eq!(run.fact_of("ready", 4).get::<u64>("slot"), 1);
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 1:4:Ready 2:3:Exited");
    stop(run);
}

/// They count: each is one more that is wanted.
fn beside_workers_that_the_program_forks(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("fork");
    run.fact_of("ready", 2);
    run.signal(Signal::SIGTTIN);
    run.fact_of("ready", 3);
    bench.reaches(at, 1..=3);
    run.tell("scale 1");
    run.until("exit", 2);
    assert!(run.all("exit").iter().all(|exit| how(exit) == "code 0, scaled"));
    run.tell("fork");
    assert_eq!(run.fact("ready").get::<u64>("slot"), 1);
    stop(run);
}

fn who_dies_while_it_leaves_is_not_replaced(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("scale 1");
    run.tell("kill 2 9");
    assert_eq!(how(&run.fact_of("exit", 2)), "signal 9, scaled");
    bench.reaches(at, [1]);
    run.pass_until(|| listening_sockets(at).len() == 1);
    assert_eq!(run.all("fork").len(), 2);
    stop(run);
}

/// Those that come are new already.
fn more_during_a_rollout(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("rollout settle=300");
    run.fact_of("ready", 3);
    run.tell("scale 3");
    run.fact_of("ready", 4);
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, 3..=5);
    assert_eq!(run.all("fork").len(), 5);
    stop(run);
}

/// Successors of slots that are left go at once.
fn fewer_during_a_rollout(bench: &Bench) {
    let mut run = start(bench, "workers=3");
    let at = run.ready();
    run.tell("rollout surge=3 settle=60000");
    run.until("ready", 6);
    run.tell("scale 2");
    leaves_for_a_successor(&mut run, [6]);
    assert_eq!(how(&run.known("exit", 3)), "code 0, scaled");
    assert!(run.all("rollout_ended").is_empty());
    run.tell("scale 1");
    leaves_for_a_successor(&mut run, [5]);
    bench.connect(at).worker();
    run.tell("workers");
    assert!(run.fact("workers").rest().starts_with("0:1:Ready 0:4:Ready"));
    stop(run);
}

fn stop_while_slots_are_left(bench: &Bench) {
    let mut run = start(bench, "workers=3");
    let at = run.ready();
    let mut client = bench.client_of(at, 3);
    run.tell("scale 1");
    run.fact("done");
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    assert_eq!(client.worker(), 3);
    drop(client);
    run.end_with(0);
    let mut ends: Vec<String> = run.all("exit").iter().map(how).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["code 0, asked", "code 0, scaled", "code 0, scaled"]);
}
