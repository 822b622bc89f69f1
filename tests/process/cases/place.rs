//! What `ps` and the kernel's out-of-memory killer see of a worker.

use std::fs;

use nix::{sys::signal::Signal, unistd::Uid};

use crate::harness::{Bench, Fact, Run, cases};

cases!("place":
    workers_are_named_after_their_slot,
    workers_are_ended_before_their_master_when_memory_runs_out,
    an_unprivileged_master_is_ended_after_its_workers,
    a_master_that_may_not_change_its_place_works_on,
);

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap().trim_end().to_owned()
}

fn oom_score_adj(pid: u32) -> i32 {
    read(pid, "oom_score_adj").parse().unwrap()
}

fn pid(ready: &Fact) -> u32 {
    ready.get("pid")
}

/// Two workers, and the successor of the second one.
fn each_worker(mut run: Run, check: impl Fn(&Run, &Fact)) {
    run.ready();
    run.all("ready").iter().for_each(|ready| check(&run, ready));
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 2 9");
    let successor = run.fact_of("ready", 3);
    check(&run, &successor);
    run.tell("stop");
    run.end_with(0);
}

/// The kernel keeps 15 bytes of a name. A master keeps its own.
fn workers_are_named_after_their_slot(bench: &Bench) {
    let run = bench.start("cluster listen=@:0 workers=2");
    let before = read(run.pid(), "comm");
    each_worker(run, |run, ready| {
        let expected: String = format!("w{} {before}", ready.get::<usize>("slot")).chars().take(15).collect();
        assert_eq!(read(pid(ready), "comm"), expected);
        assert_eq!(read(run.pid(), "comm"), before);
    });
}

fn workers_are_ended_before_their_master_when_memory_runs_out(bench: &Bench) {
    let own = oom_score_adj(std::process::id());
    for (master, worker) in [(own, (own + 100).min(1000)), (950.max(own), 1000)] {
        let set = format!("echo {master} >/proc/self/oom_score_adj; exec \"$@\"");
        let run = bench.start_by(&["sh", "-c", &set, "sh"], "cluster listen=@:0 workers=2");
        each_worker(run, |run, ready| {
            assert_eq!(oom_score_adj(pid(ready)), worker);
            assert_eq!(oom_score_adj(run.pid()), master);
        });
    }
}

/// What it can do is the same: nobody lowers anything.
fn an_unprivileged_master_is_ended_after_its_workers(bench: &Bench) {
    let own = oom_score_adj(std::process::id());
    let run = bench.start("cluster listen=@:0 workers=2 unprivileged");
    each_worker(run, |run, ready| {
        assert_eq!(oom_score_adj(pid(ready)), (own + 100).min(1000));
        assert_eq!(oom_score_adj(run.pid()), own);
    });
}

/// The files of a process that was root are root's.
fn a_master_that_may_not_change_its_place_works_on(bench: &Bench) {
    if !Uid::effective().is_root() {
        bench.cannot("only root can give up being root");
    }
    let mut run = bench.start("cluster mode=run listen=@:0 unprivileged undumpable");
    let at = run.ready();
    run.log("/proc/self/oom_score_adj: Permission denied");
    assert!(bench.ask(at, "who").starts_with("1 0 "));
    assert_eq!(oom_score_adj(pid(&run.all("ready")[0])), oom_score_adj(run.pid()));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}
