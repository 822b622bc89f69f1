//! A release that does not work replaces nobody.

use nix::sys::signal::Signal;

use super::{ended, is_done, leaves_for_a_successor, start, stop};
use crate::harness::{Bench, Run, cases};

cases!("rollouts::aborts":
    successor_that_fails,
    successor_that_panics,
    successor_that_exits,
    successor_that_dies_when_it_is_ready,
    successor_that_is_never_ready,
    successor_that_is_killed,
    successor_that_the_program_asks_to_leave,
    successor_that_cannot_be_forked_beside_a_thread,
    successor_that_cannot_be_forked_at_the_limit,
    who_was_replaced_stays,
    successors_on_their_way_are_taken_back,
    slot_that_was_left_first_is_tried_again,
);

/// The release fails in slot 0, for this reason; the old workers serve on, and the next release replaces them.
fn aborts(bench: &Bench, release: &str, warnings: &[&str], why: &str) {
    let mut run = start(bench, "workers=2 ready_timeout=1000");
    let at = run.ready();
    run.tell(&format!("release {release}"));
    run.tell("rollout settle=500");
    warnings.iter().for_each(|warning| run.expect(warning));
    aborted(bench, &mut run, why);
    run.known("exit", 3);
    assert_eq!((run.all("fork").len(), run.all("exit").len()), (3, 1), "one successor, and no second try");
    run.tell("release serve");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 2);
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [4, 5]);
    stop(run);
}

fn aborted(bench: &Bench, run: &mut Run, why: &str) {
    let at = run.known("listening", 1).get("address");
    let end = ended(bench, run, at, 1);
    assert_eq!((end.get::<String>("result"), end.get::<u64>("slot")), ("aborted".to_owned(), 0));
    assert!(end.get::<String>("why").starts_with("slot 0: ") && end.get::<String>("why").contains(why), "{end:?}");
    run.expect_once("the workers that were not replaced serve on");
    run.log("rollout 1: aborted: slot 0: ");
    bench.reaches(at, [1, 2]);
}

fn successor_that_fails(bench: &Bench) {
    aborts(bench, "fails", &["failed: no disk", "exited with code 1"], "worker 3 exited with code 1 before it was");
}

fn successor_that_panics(bench: &Bench) {
    let warnings = ["thread 'main'", "no disk", "RUST_BACKTRACE=1", "exited with code 101"];
    aborts(bench, "panics", &warnings, "worker 3 exited with code 101 before it was");
}

fn successor_that_exits(bench: &Bench) {
    aborts(bench, "exits_7", &["exited with code 7"], "worker 3 exited with code 7 before it was");
}

fn successor_that_dies_when_it_is_ready(bench: &Bench) {
    aborts(bench, "short_lived", &["exited with code 7"], "worker 3 exited with code 7 before it was");
}

fn successor_that_is_never_ready(bench: &Bench) {
    aborts(bench, "idle", &["it was not ready in time"], "worker 3 was not ready within 1s");
}

fn successor_that_is_killed(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    run.ready();
    run.tell("rollout settle=60000");
    let pid = run.fact_of("ready", 3).get("pid");
    run.expect("was killed by SIGKILL");
    run.signal_to(pid, Signal::SIGKILL);
    aborted(bench, &mut run, "worker 3 was killed by SIGKILL before it was");
    assert_eq!(run.all("fork").len(), 3);
    stop(run);
}

fn successor_that_the_program_asks_to_leave(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    run.ready();
    run.tell("rollout settle=60000");
    run.fact_of("ready", 3);
    run.tell("disconnect 3");
    aborted(bench, &mut run, "its successor, worker 3, leaves before it was to take over");
    assert_eq!(run.known("exit", 3).how(), "code 0, asked");
    stop(run);
}

fn successor_that_cannot_be_forked_beside_a_thread(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    run.tell("thread");
    run.tell("rollout settle=0");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker: this process runs 2 threads");
    aborted(bench, &mut run, "its worker could not be forked: ");
    assert_eq!(run.all("fork_failed").len(), 1);
    run.tell("end_thread");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 2);
    stop(run);
}

fn successor_that_cannot_be_forked_at_the_limit(bench: &Bench) {
    let mut run = start(bench, "workers=2 unprivileged count_apart");
    run.ready();
    if let Some(why) = run.all("impossible").first() {
        let why = why.rest().to_owned();
        stop(run);
        bench.cannot(&why);
    }
    run.tell("limit 1");
    run.fact("limited");
    run.tell("rollout settle=0");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker failed");
    aborted(bench, &mut run, "its worker could not be forked: ");
    stop(run);
}

/// Slot 0 has its new worker when slot 1 fails.
fn who_was_replaced_stays(bench: &Bench) {
    let mut run = start(bench, "workers=3");
    let at = run.ready();
    run.tell("release fails_in_slot_1");
    run.tell("rollout settle=0");
    ["failed: no disk", "exited with code 1", "rollout 1: aborted"].iter().for_each(|text| run.expect(text));
    let end = ended(bench, &mut run, at, 1);
    assert_eq!((end.get::<String>("result"), end.get::<u64>("slot")), ("aborted".to_owned(), 1));
    leaves_for_a_successor(&mut run, [1]);
    bench.reaches(at, [4, 2, 3]);
    assert_eq!((run.all("fork").len(), run.all("exit").len()), (5, 2));
    stop(run);
}

/// They are asked, also those that serve already.
fn successors_on_their_way_are_taken_back(bench: &Bench) {
    let mut run = start(bench, "workers=3");
    let at = run.ready();
    run.tell("rollout surge=3 settle=60000");
    let pid = run.fact_of("ready", 5).get("pid");
    [4, 6].iter().for_each(|id| drop(run.known("ready", *id)));
    let mut client = bench.connect(at);
    while client.worker() == 5 {
        client = bench.connect(at);
    }
    run.expect("was killed by SIGKILL");
    run.expect("rollout 1: aborted: slot 1: ");
    run.signal_to(pid, Signal::SIGKILL);
    assert_eq!(run.known("rollout_ended", 1).get::<u64>("slot"), 1);
    client.worker();
    drop(client);
    leaves_for_a_successor(&mut run, [4, 6]);
    bench.reaches(at, 1..=3);
    assert_eq!(run.all("fork").len(), 6);
    stop(run);
}

/// Nobody serves there any more: its restart rules apply, while the other slot is not touched.
fn slot_that_was_left_first_is_tried_again(bench: &Bench) {
    let mut run = start(bench, "workers=2 backoff=10,10");
    let at = run.ready();
    run.tell("release fails");
    run.tell("rollout surge=0 unavailable=1");
    let warnings = ["failed: no disk", "exited with code 1", "delayed start number", "rollout 1: aborted: slot 0: "];
    warnings.iter().for_each(|text| run.expect(text));
    let end = ended(bench, &mut run, at, 1);
    assert_eq!(end.get::<String>("result"), "aborted");
    leaves_for_a_successor(&mut run, [1]);
    run.tell("release serve");
    let ready = run.fact("ready");
    assert_eq!(ready.get::<u64>("slot"), 0);
    bench.reaches(at, [2, ready.get("id")]);
    stop(run);
}
