//! The master itself is out of descriptors, or of processes, while workers die: it keeps watching, says so once, and
//! all is well when there is room again.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::harness::{Bench, Run, cases};

cases!("shortage":
    workers_die_while_there_are_no_descriptors,
    workers_die_while_there_are_no_processes,
    a_stop_while_there_are_no_descriptors,
    newcomers_are_steered_again_after_it,
);

fn start(bench: &Bench, words: &str) -> (Run, SocketAddr) {
    let mut run = bench.start(&format!("cluster signals listen=@:0 workers=3 backoff=5,20 {words}"));
    let at = run.ready();
    if let Some(why) = run.all("impossible").first() {
        let why = why.rest().to_owned();
        stop(run);
        bench.cannot(&why);
    }
    (run, at)
}

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn limited(run: &mut Run, command: &str) {
    run.tell(command);
    run.fact("limited");
}

fn kill_9(run: &mut Run, id: u64) {
    run.expect("was killed by SIGKILL");
    let pid = run.known("fork", id).get("pid");
    run.signal_to(pid, Signal::SIGKILL);
    run.fact_of("exit", id);
}

/// Two of three die; the third one serves, and both are replaced at last.
fn two_die(bench: &Bench, (mut run, at): (Run, SocketAddr), (little, enough): (&str, &str), advice: &str) {
    limited(&mut run, little);
    kill_9(&mut run, 1);
    kill_9(&mut run, 2);
    let failures =
        |run: &Run, slot| run.all("fork_failed").iter().filter(|failed| failed.get::<u64>("slot") == slot).count();
    while failures(&run, 0) < 3 || failures(&run, 1) < 3 {
        let failed = run.fact("fork_failed");
        assert!(failed.field("error").unwrap().contains(advice), "{failed:?}");
    }
    bench.reaches(at, [3]);
    run.tell("workers");
    assert!(run.fact("workers").rest().ends_with("2:3:Ready"), "commands work");
    limited(&mut run, enough);
    let ids = [run.fact("ready").get("id"), run.fact("ready").get("id")];
    bench.reaches(at, [3, ids[0], ids[1]]);
    run.expect("delayed start number");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker failed, it is tried again");
    [0, 1].iter().for_each(|slot| assert_eq!(run.logged(&format!("slot {slot}: forking works again")), 1));
    stop(run);
}

fn workers_die_while_there_are_no_descriptors(bench: &Bench) {
    two_die(bench, start(bench, ""), ("files 3", "files 1024"), "the master is out of descriptors (`ulimit -n`)");
}

fn workers_die_while_there_are_no_processes(bench: &Bench) {
    let cluster = start(bench, "unprivileged count_apart");
    two_die(bench, cluster, ("limit 1", "limit 100"), "the limit of processes is reached (`ulimit -u`");
}

/// A client holds up the last worker until there are some again, which the fixture needs for its own end.
fn a_stop_while_there_are_no_descriptors(bench: &Bench) {
    let (mut run, at) = start(bench, "");
    let client = bench.client_of(at, 2);
    limited(&mut run, "files 3");
    kill_9(&mut run, 1);
    run.fact("backoff");
    run.expect("delayed start number");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker failed, it is tried again");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact_of("exit", 3).how(), "code 0, asked");
    limited(&mut run, "files 1024");
    drop(client);
    assert_eq!(run.fact_of("exit", 2).how(), "code 0, asked");
    run.end_with(0);
}

/// Who listens at the address could not be seen: the worker that left meanwhile went without, and the next one does
/// not.
fn newcomers_are_steered_again_after_it(bench: &Bench) {
    let (mut run, at) = start(bench, "");
    limited(&mut run, "files 3");
    run.tell("disconnect 1");
    assert_eq!(run.fact_of("exit", 1).how(), "code 0, asked");
    assert_eq!(run.logged("new connections go to others"), 0);
    limited(&mut run, "files 1024");
    run.tell("disconnect 2");
    run.log("slot 1: new connections go to others");
    assert_eq!(run.fact_of("exit", 2).how(), "code 0, asked");
    bench.reaches(at, [3]);
    stop(run);
}
