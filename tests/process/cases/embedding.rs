//! A master beside other things in one program: in its loop, beside its signals, children and threads.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::harness::{Bench, Run, cases, free_port};

cases!("embedding":
    embedded_events_come_in_order,
    embedded_events_after_a_thousand_wakeups,
    dropped_master_kills_and_reaps,
    dropped_master_leaves_other_children_alone,
    two_masters_in_one_process,
    one_of_two_masters_is_dropped,
    two_masters_cannot_both_own_the_signals,
    values_of_another_process_close_nothing,
    worker_is_not_taken_along_into_a_cluster_inside,
    term_to_a_worker_is_not_heard_by_the_program,
    children_of_the_program_stay_its_own,
    program_that_reaps_every_child,
    program_that_ignores_sigchld,
);

fn stop(mut run: Run) {
    run.tell("stop");
    run.end_with(0);
}

/// In a mio loop of the program, which is edge-triggered. The harness checks the order of every worker's events in all
/// cases.
fn embedded_events_come_in_order(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=3");
    run.ready();
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 2 9");
    run.fact_of("ready", 4);
    run.tell("stop");
    run.end_with(0);
    for id in 1..=4 {
        let of_worker = ["fork", "online", "listening", "ready", "disconnect", "exit"].map(|name| run.all(name));
        assert!(of_worker.iter().all(|facts| facts.iter().filter(|fact| fact.get::<u64>("id") == id).count() == 1));
    }
    assert_eq!((run.all("all_ready").len(), run.all("stopping").len()), (1, 1));
}

fn embedded_events_after_a_thousand_wakeups(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=4 backoff=1,1");
    run.ready();
    run.expect("was killed by SIGKILL");
    run.expect("delayed start number");
    let (mut wakeups, mut first) = (0, 1);
    while wakeups < 1000 {
        (first..first + 4).for_each(|id| run.tell(&format!("kill {id} 9")));
        first += 4;
        // Ids are given in the order of the deaths: these are the next four.
        (first..first + 4).for_each(|_| drop(run.fact("ready")));
        run.tell("wakeups");
        wakeups = run.fact("wakeups").rest().parse().unwrap();
    }
    run.tell("stop");
    run.end_with(0);
    for name in ["fork", "online", "listening", "ready", "disconnect", "exit"] {
        assert_eq!(run.all(name).len(), first + 3, "{name}");
    }
}

fn dropped_master_kills_and_reaps(bench: &Bench) {
    for worker in ["serve", "stubborn"] {
        let mut run = bench.start(&format!("cluster listen=@:0 workers=3 worker={worker}"));
        let address = run.ready();
        run.tell("drop");
        run.fact("dropped");
        run.tell("reap_all");
        assert_eq!(run.fact("reaped").rest(), "Err(ECHILD)");
        free_port(address).expect("the port is free");
        run.tell("quit");
        run.end_with(0);
    }
}

fn dropped_master_leaves_other_children_alone(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2");
    run.ready();
    run.tell("child");
    run.tell("drop");
    run.fact("dropped");
    run.tell("end_child");
    assert_eq!(run.fact("child").rest(), "exit status: 5");
    run.tell("quit");
    run.end_with(0);
}

/// The workers of the second one inherit nothing of the first: each has its channel and no other socket.
fn two_masters_in_one_process(bench: &Bench) {
    let mut run = bench.start("two_masters listen=@:0");
    assert_eq!(run.fact("first").rest(), "1");
    assert_eq!(run.fact("second").rest(), "1");
    let both = run.fact("both");
    let addresses: Vec<SocketAddr> = both.rest().split(' ').map(|at| at.parse().unwrap()).collect();
    assert_ne!(addresses[0], addresses[1]);
    run.end_with(0);
}

/// The other one's worker serves on, and is replaced when it dies.
fn one_of_two_masters_is_dropped(bench: &Bench) {
    let mut run = bench.start("two_masters listen=@:0 drop_first");
    let addresses: Vec<SocketAddr> = run.fact("both").rest().split(' ').map(|at| at.parse().unwrap()).collect();
    run.fact("dropped");
    free_port(addresses[0]).expect("the port of the dropped one is free");
    let mut client = bench.connect(addresses[1]);
    assert!(client.ask("who").starts_with("1 0 "));
    run.expect_once("exited with code 7");
    client.say("exit 7");
    assert_eq!(run.fact("replaced").rest(), "2");
    run.end_with(0);
}

fn two_masters_cannot_both_own_the_signals(bench: &Bench) {
    let mut run = bench.start("two_masters listen=@:0 signals");
    let second = run.fact("second");
    assert!(second.rest().starts_with("invalid_config signals(true): another master"), "{second:?}");
    run.end_with(0);
}

/// A listener that crosses a fork is of no use in the child, and dropping it there does no harm.
fn values_of_another_process_close_nothing(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 restart=never worker=nested_with_a_listener");
    assert_eq!(run.fact("accepts").rest(), "NotConnected");
    assert_eq!(run.fact("files").rest(), "8");
    run.expect("exited with code 0");
    run.end_with(0);
}

/// It reads nothing from what has the numbers now, and the outer worker is as deaf as if nobody had asked.
fn worker_is_not_taken_along_into_a_cluster_inside(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=nested_with_a_worker");
    assert_eq!(run.fact("uses").rest(), "4 BrokenPipe true None");
    run.fact("used");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
}

/// The handler of signal-hook writes into a pipe, and a worker has a copy of both.
fn term_to_a_worker_is_not_heard_by_the_program(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 term_pipe");
    let address = run.ready();
    bench.ask(address, "who");
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGTERM);
    run.expect_once("exited with code 0");
    assert_eq!(run.known("exit", 1).how(), "code 0, own");
    run.known("ready", 2);
    run.tell("pipe");
    assert_eq!(run.fact("pipe").rest(), "WouldBlock");
    // The program's own TERM is heard as before; it then stops the cluster.
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("pipe").rest(), "1");
    run.end_with(0);
}

fn children_of_the_program_stay_its_own(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    run.ready();
    run.expect("was killed by SIGKILL");
    run.tell("child");
    run.tell("kill 1 9");
    run.fact_of("ready", 2);
    run.tell("end_child");
    assert_eq!(run.fact("child").rest(), "exit status: 5");
    // One that ends at the same time as a worker.
    run.tell("kill_beside_child 2 9");
    assert_eq!(run.fact("child").rest(), "exit status: 6");
    assert_eq!(run.fact_of("exit", 2).how(), "signal 9, killed");
    run.fact_of("ready", 3);
    stop(run);
}

/// The status is read from the kernel where that keeps it (Linux 6.15), else it is unknown.
fn program_that_reaps_every_child(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    run.ready();
    run.tell("kill_and_reap 1 9");
    run.fact("reaped");
    let how = run.fact("exit").how();
    let line = if how == "signal 9, killed" { "was killed by SIGKILL" } else { "somebody else took its exit status" };
    assert!(how == "signal 9, killed" || how == "unknown, own", "{how}");
    run.expect_once(line);
    run.fact_of("ready", 2);
    stop(run);
}

fn program_that_ignores_sigchld(bench: &Bench) {
    let mut run = bench.start_by(&["env", "--ignore-signal=CHLD"], "cluster listen=@:0 backoff=1,1");
    let address = run.ready();
    run.expect("worker");
    for (id, command, expected) in
        [(1, "exit 7", "code 7, own"), (2, "abort", "signal 6, own"), (3, "return", "code 0, own")]
    {
        let mut client = bench.connect(address);
        client.say(command);
        client.closed();
        let how = run.fact_of("exit", id).how();
        assert!(how == expected || how == "unknown, own", "{command}: {how}");
        run.fact_of("ready", id + 1);
    }
    stop(run);
}
