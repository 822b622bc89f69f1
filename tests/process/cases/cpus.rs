//! On which CPUs workers may run.

use std::{fs, process};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Fact, Run, cases};

cases!("cpus":
    pinned_workers_have_the_cpu_of_their_slot,
    pinned_workers_stay_within_what_the_master_may_use,
    workers_may_run_anywhere_unless_they_are_pinned,
);

/// As the kernel writes it: `0-3,6`.
fn allowed(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("the kernel says where a process may run").trim().to_owned()
}

/// Those of the harness, which its fixtures inherit.
fn cpus() -> Vec<usize> {
    let list = allowed(process::id());
    let ranges = list.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().unwrap()..=last.parse().unwrap()
    });
    ranges.flatten().collect()
}

fn allowed_of(fact: &Fact) -> String {
    allowed(fact.get("pid"))
}

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn pinned_workers_have_the_cpu_of_their_slot(bench: &Bench) {
    let cpus = cpus();
    // One more than there are CPUs, but no crowd.
    let workers = (cpus.len() + 1).min(8);
    let mut run = bench.start(&format!("cluster mode=run listen=@:0 pinned workers={workers}"));
    run.ready();
    for fact in run.all("ready") {
        let slot: usize = fact.get("slot");
        assert_eq!(allowed_of(&fact), cpus[slot % cpus.len()].to_string(), "slot {slot}");
    }
    let victim = run.all("ready")[workers - 1].clone();
    let before = allowed_of(&victim);
    run.expect_once("was killed by SIGKILL");
    run.signal_to(victim.get("pid"), Signal::SIGKILL);
    let next = run.fact_of("ready", workers as u64 + 1);
    assert_eq!(next.get::<u64>("slot"), victim.get::<u64>("slot"));
    assert_eq!(allowed_of(&next), before);
    assert_eq!(allowed(run.pid()), allowed(process::id()), "the master is free");
    stop(run);
}

fn pinned_workers_stay_within_what_the_master_may_use(bench: &Bench) {
    let last = cpus().pop().unwrap().to_string();
    let mut run = bench.start_by(&["taskset", "-c", &last], "cluster mode=run listen=@:0 pinned workers=2");
    run.ready();
    assert!(run.all("ready").iter().all(|worker| allowed_of(worker) == last));
    stop(run);
}

fn workers_may_run_anywhere_unless_they_are_pinned(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2");
    run.ready();
    assert!(run.all("ready").iter().all(|worker| allowed_of(worker) == allowed(process::id())));
    stop(run);
}
