//! What a program can ask of its master, and clusters in which nothing is forked but by the program.

use nix::sys::signal::Signal;

use crate::harness::{Bench, Run, cases};

cases!("commands":
    manual_forks_and_ends_when_none_is_left,
    manual_forks_again_from_the_last_exit,
    manual_forks_nothing_by_itself,
    fork_is_refused_when_all_slots_are_taken,
    fork_is_refused_beside_a_thread,
    fork_is_refused_while_stopping,
    kill_lets_the_rules_apply,
    disconnect_is_not_replaced,
    workers_are_listed_with_their_state,
    worker_that_nobody_replaces_is_listed_as_exited,
    shutdown_now_after_drain,
    commands_for_workers_that_are_gone,
    wait_returns_none_after_its_time,
    dispatch_never_blocks,
);

fn kind(run: &mut Run) -> String {
    run.fact("refused").rest().split(' ').next().unwrap().to_owned()
}

fn manual_forks_and_ends_when_none_is_left(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 manual");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "");
    for id in 1..=3 {
        run.tell("fork");
        assert_eq!(run.fact("ready").get::<u64>("slot"), id - 1);
    }
    run.expect("was killed by SIGKILL");
    for id in [2, 1, 3] {
        run.tell(&format!("kill {id} 9"));
        run.fact_of("exit", id);
    }
    assert_eq!(run.fact("result").rest(), "ok");
    run.end_with(0);
    assert!(run.all("all_ready").is_empty());
}

fn manual_forks_again_from_the_last_exit(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 manual fork_on_exit=5");
    run.expect("was killed by SIGKILL");
    run.tell("fork");
    for id in 1..=6 {
        run.fact_of("ready", id);
        run.tell(&format!("kill {id} 9"));
        assert_eq!(run.fact_of("exit", id).how(), "signal 9, killed");
    }
    run.end_with(0);
    assert!(run.all("fork").iter().all(|fork| fork.get::<u64>("slot") == 0));
}

fn manual_forks_nothing_by_itself(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 manual");
    run.expect("was killed by SIGKILL");
    for id in 1..=2 {
        run.tell("fork");
        run.fact_of("ready", id);
    }
    run.tell("kill 1 9");
    run.fact_of("exit", 1);
    run.tell("fork");
    let fork = run.fact("fork");
    assert_eq!((fork.get::<u64>("id"), fork.get::<u64>("slot")), (3, 0), "the lowest free slot");
    run.fact_of("ready", 3);
    run.tell("stop");
    run.end_with(0);
    assert_eq!(run.all("fork").len(), 3);
}

fn fork_is_refused_when_all_slots_are_taken(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 manual max_workers=2");
    (0..3).for_each(|_| run.tell("fork"));
    assert_eq!(kind(&mut run), "would_block");
    run.tell("stop");
    run.end_with(0);
}

fn fork_is_refused_beside_a_thread(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 manual");
    run.tell("thread");
    run.tell("fork");
    assert_eq!(kind(&mut run), "threads_running");
    run.tell("end_thread");
    run.tell("fork");
    run.fact("ready");
    run.tell("stop");
    run.end_with(0);
}

fn fork_is_refused_while_stopping(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let mut client = bench.connect(run.ready());
    client.ask("who");
    run.tell("stop");
    run.tell("fork");
    assert_eq!(kind(&mut run), "gone");
    drop(client);
    run.end_with(0);
}

fn kill_lets_the_rules_apply(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    run.ready();
    run.expect_once("was killed by SIGSTKFLT");
    // A no-op for a worker; afterwards something else kills it.
    run.tell("kill 1 10");
    run.tell("kill 1 16");
    assert_eq!(run.fact("exit").how(), "signal 16, killed");
    run.fact_of("ready", 2);
    run.tell("stop");
    run.end_with(0);
}

fn disconnect_is_not_replaced(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2");
    run.ready();
    run.tell("disconnect 1");
    run.tell("disconnect 1");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "1:2:Ready");
    run.tell("disconnect 2");
    assert_eq!(run.fact("result").rest(), "ok");
    run.end_with(0);
    assert_eq!(run.all("fork").len(), 2);
}

fn workers_are_listed_with_their_state(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2 signals");
    let mut client = bench.connect(run.ready());
    let id = client.ask("who").split(' ').next().unwrap().to_owned();
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 1:2:Ready");
    run.tell(&format!("disconnect {id}"));
    run.tell("workers");
    let list = run.fact("workers");
    assert!(list.rest().contains(&format!(":{id}:Draining")) && list.rest().contains(":Ready"), "{list:?}");
    drop(client);
    run.fact("exit");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Until the program forks there is nobody else to show.
fn worker_that_nobody_replaces_is_listed_as_exited(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2 restart=never");
    run.ready();
    run.expect("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact("exit");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Exited 1:2:Ready");
    run.tell("fork");
    run.fact_of("ready", 3);
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:3:Ready 1:2:Ready");
    run.tell("stop");
    run.end_with(0);
}

fn shutdown_now_after_drain(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let mut client = bench.connect(run.ready());
    client.ask("who");
    run.tell("stop");
    run.tell("stop");
    run.tell("stop_now");
    client.closed();
    assert_eq!(run.fact("exit").how(), "signal 9, asked");
    run.expect_once("stopping at once: 1 worker killed");
    run.end_with(0);
}

fn commands_for_workers_that_are_gone(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2 restart=never");
    run.ready();
    run.expect("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact("exit");
    run.tell("kill 1 9");
    assert_eq!(kind(&mut run), "gone");
    run.tell("disconnect 1");
    assert_eq!(kind(&mut run), "gone");
    run.tell("kill 2 65");
    assert_eq!(kind(&mut run), "invalid_config");
    run.tell("stop");
    run.end_with(0);
}

fn wait_returns_none_after_its_time(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    run.ready();
    for within in ["0", "1", "30"] {
        run.tell(&format!("wait {within}"));
        assert_eq!(run.fact("waited").rest(), "None true");
    }
    run.tell("stop");
    run.end_with(0);
}

fn dispatch_never_blocks(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    run.ready();
    run.tell("dispatch 1000");
    run.fact("dispatched");
    run.tell("stop");
    run.end_with(0);
}
