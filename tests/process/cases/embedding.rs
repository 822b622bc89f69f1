//! A master beside other things in one program: in its loop, beside its signals, children, threads and files.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Fact, Run, cases, free_port};

cases!("embedding":
    embedded_events_come_in_order,
    embedded_events_after_a_thousand_wakeups,
    dropped_master_kills_and_reaps,
    two_masters_in_one_process,
    two_masters_cannot_both_own_the_signals,
    values_of_another_process_close_nothing,
    term_to_a_worker_is_not_heard_by_the_program,
    children_of_the_program_stay_its_own,
    program_that_reaps_every_child,
    program_that_ignores_sigchld,
    captured_file_and_logger_in_every_generation,
    workers_that_close_what_they_inherit,
    workers_that_keep_what_they_inherit,
    program_without_stdio,
    program_whose_stderr_is_full,
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

/// The handler of signal-hook writes into a pipe, and a worker has a copy of both.
fn term_to_a_worker_is_not_heard_by_the_program(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 term_pipe");
    let address = run.ready();
    bench.ask(address, "who");
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGTERM);
    assert_eq!(run.fact("exit").how(), "code 0, own");
    run.expect_once("exited with code 0");
    run.fact_of("ready", 2);
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

fn captured_file_and_logger_in_every_generation(bench: &Bench) {
    let mut run = bench.start("captured listen=@:0 generations=100 log_to_file");
    assert_eq!(run.fact("file").rest(), "101");
    assert_eq!(run.fact("log").rest(), "101");
    run.end_with(0);
}

/// The program closes its listener and a connection; the workers have no copy of either, those forked later included.
fn workers_that_close_what_they_inherit(bench: &Bench) {
    let (mut run, address, own, client) = serves_something_itself(bench, "close_inherited");
    assert_eq!(bench.ask(address, "holds /dev/zero"), "false");
    assert_eq!(bench.ask(address, "has_stdio"), "true");
    run.tell("close_own");
    client.closed();
    free_port(own).expect("nobody listens there any more");
    stop(run);
}

fn workers_that_keep_what_they_inherit(bench: &Bench) {
    let (mut run, address, own, client) = serves_something_itself(bench, "");
    assert_eq!(bench.ask(address, "holds /dev/zero"), "true");
    run.tell("close_own");
    run.fact("closed");
    drop(bench.connect(own));
    // It ends along with the worker.
    stop(run);
    client.closed();
}

/// A client is connected to the program, and the only worker was forked after that.
fn serves_something_itself(bench: &Bench, words: &str) -> (Run, SocketAddr, SocketAddr, Client) {
    let mut run = bench.start(&format!("cluster listen=@:0 {words}"));
    let address = run.ready();
    run.tell(&format!("serve_own {}", bench.ip()));
    let own: SocketAddr = run.fact("own").rest().parse().unwrap();
    let client = bench.connect(own);
    run.fact("accepted");
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact_of("ready", 2);
    (run, address, own, client)
}

/// It prints and logs all the time; nothing of that reaches a descriptor of the library or a client, in no process.
fn program_without_stdio(bench: &Bench) {
    for words in ["", "close_inherited"] {
        let mut run = bench.start(&format!("without_stdio listen=@:0 workers=2 {words}"));
        let address = run.ready();
        assert_eq!(run.fact("low").rest(), "[]");
        // One by exit, one by a signal; each replacement serves.
        for (id, command) in [(3, "exit 7"), (4, "abort")] {
            let mut client = bench.connect(address);
            assert_eq!(client.ask("has_stdio"), "true");
            client.say(command);
            client.closed();
            run.fact_of("ready", id);
        }
        run.signal(Signal::SIGTERM);
        run.end_with(0);
        let ends: Vec<String> = run.all("exit").iter().map(Fact::how).collect();
        assert_eq!(ends, ["code 7, own", "signal 6, own", "code 0, asked", "code 0, asked"]);
    }
}

/// Neither master nor worker stumbles over its last words.
fn program_whose_stderr_is_full(bench: &Bench) {
    for logger in ["", "no_logger"] {
        let start =
            |words| bench.start_by(&["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"], &format!("{words} {logger}"));
        let mut run = start("cluster mode=run worker=fails restart=never");
        assert_eq!(run.fact("exit").how(), "code 1, own");
        run.end_with(1);
        start("cluster mode=main workers=0").end_with(2);
    }
}
