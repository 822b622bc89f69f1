//! `on_reload`: what the program reads anew before a rollout.

use nix::sys::signal::Signal;

use super::rollouts::{ended, is_done, leaves_for_a_successor, start, stop};
use crate::harness::{Bench, Run, cases};

cases!("reload":
    workers_find_what_it_has_read,
    it_is_called_once_per_request,
    an_error_touches_no_worker,
    a_panic_touches_no_worker,
    what_it_has_read_is_there_after_a_crash,
    an_error_does_not_end_a_rollout_under_way,
    not_called_where_nothing_can_begin,
);

fn begin(bench: &Bench, words: &str) -> Run {
    start(bench, &format!("on_reload {words}"))
}

/// The releases that the workers of a cluster have, and nobody else.
fn releases(bench: &Bench, run: &mut Run, workers: [u64; 2], release: &str) {
    let at = run.known("listening", 1).get("address");
    bench.reaches(at, workers);
    for id in workers {
        assert_eq!(bench.client_of(at, id).ask("release"), release, "worker {id}");
    }
}

fn workers_find_what_it_has_read(bench: &Bench) {
    let mut run = begin(bench, "workers=2 settle=0");
    let at = run.ready();
    releases(bench, &mut run, [1, 2], "");
    run.tell("next ok serve");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [1, 2]);
    releases(bench, &mut run, [3, 4], "serve");
    run.signal(Signal::SIGHUP);
    is_done(bench, &mut run, at, 2);
    leaves_for_a_successor(&mut run, [3, 4]);
    releases(bench, &mut run, [5, 6], "serve");
    stop(run);
}

fn it_is_called_once_per_request(bench: &Bench) {
    let mut run = begin(bench, "workers=2");
    let at = run.ready();
    run.tell("rollout settle=300");
    run.fact_of("ready", 3);
    // Of these only the last one begins.
    run.tell("rollout settle=0");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 3);
    assert_eq!(run.all("reloads").len(), 3);
    assert_eq!((run.all("rollout_started").len(), run.all("rollout_ended").len()), (2, 3));
    stop(run);
}

fn an_error_touches_no_worker(bench: &Bench) {
    for how in ["tell", "signal"] {
        let mut run = begin(bench, "workers=2 settle=0");
        let at = run.ready();
        run.tell("next err greeting.txt: no such file");
        run.expect_once("rollout 1: aborted: on_reload: greeting.txt: no such file; no worker was touched");
        match how {
            "tell" => run.tell("rollout"),
            _signal => {
                // The console has spoken before the signal does.
                run.tell("workers");
                run.fact("workers");
                run.signal(Signal::SIGHUP);
            }
        }
        let end = ended(bench, &mut run, at, 1);
        assert_eq!(end.field("result"), Some("aborted"));
        assert_eq!(
            (end.field("slot"), end.field("why")),
            (Some("null"), Some("on_reload: greeting.txt: no such file"))
        );
        releases(bench, &mut run, [1, 2], "");
        assert_eq!((run.all("fork").len(), run.all("rollout_started").len()), (2, 0));
        run.tell("next ok serve");
        run.tell("rollout settle=0");
        is_done(bench, &mut run, at, 2);
        leaves_for_a_successor(&mut run, [1, 2]);
        releases(bench, &mut run, [3, 4], "serve");
        stop(run);
    }
}

fn a_panic_touches_no_worker(bench: &Bench) {
    let mut run = begin(bench, "workers=2");
    let at = run.ready();
    run.expect_panic("no milk");
    run.expect("rollout 1: aborted: on_reload: it panicked: no milk; no worker was touched");
    run.tell("next panic no milk");
    run.tell("rollout");
    let end = ended(bench, &mut run, at, 1);
    assert_eq!((end.field("slot"), end.field("why")), (Some("null"), Some("on_reload: it panicked: no milk")));
    releases(bench, &mut run, [1, 2], "");
    // It is called again.
    run.tell("next ok serve");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 2);
    assert_eq!(run.all("reloads").len(), 2);
    stop(run);
}

/// Also while old workers still serve: a replacement is a fork of the master as it is now.
fn what_it_has_read_is_there_after_a_crash(bench: &Bench) {
    let mut run = begin(bench, "workers=2");
    let at = run.ready();
    run.tell("next ok serve");
    run.tell("rollout settle=60000");
    run.fact_of("ready", 3);
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 2 9");
    run.fact_of("ready", 4);
    assert_eq!(bench.client_of(at, 4).ask("release"), "serve");
    stop(run);
}

fn an_error_does_not_end_a_rollout_under_way(bench: &Bench) {
    let mut run = begin(bench, "workers=2");
    let at = run.ready();
    run.tell("rollout settle=300");
    run.fact_of("ready", 3);
    run.expect_once("rollout 2: aborted: on_reload: no milk");
    run.tell("next err no milk");
    run.tell("rollout settle=0");
    is_done(bench, &mut run, at, 1);
    let ends: Vec<u64> = run.all("rollout_ended").iter().map(|end| end.get("id")).collect();
    assert_eq!(ends, [2, 1]);
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [3, 4]);
    stop(run);
}

fn not_called_where_nothing_can_begin(bench: &Bench) {
    let mut run = begin(bench, "");
    let client = bench.client_of(run.ready(), 1);
    run.tell("rollout surge=0");
    assert!(run.fact("refused").rest().starts_with("invalid_config"));
    run.tell("stop");
    run.tell("rollout");
    assert!(run.fact("refused").rest().starts_with("gone"));
    run.expect_once("SIGHUP ignored: rollout: the cluster is stopping");
    run.signal(Signal::SIGHUP);
    run.log("SIGHUP ignored");
    drop(client);
    run.end_with(0);
    assert_eq!((run.all("reloads").len(), run.all("rollout_ended").len()), (0, 0));
}
