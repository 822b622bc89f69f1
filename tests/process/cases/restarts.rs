//! What follows the death of a worker: a replacement, a delay, or the end of the cluster.

use nix::sys::signal::Signal;

use crate::harness::{Bench, Run, cases};

cases!("restarts":
    kill_9_is_replaced,
    kill_9_is_replaced_many_times,
    back_off_grows_and_is_capped,
    back_off_after_a_burst_of_deaths,
    intensity_gives_up,
    never_ready_gives_up_at_once,
    one_ready_worker_is_enough_to_go_on,
    stopped_while_starting_is_not_ready,
    told_workers_are_ready_when_they_say_so,
);

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn kill_9_is_replaced(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2");
    let address = run.ready();
    let victim = run.all("ready")[0].clone();
    run.signal_to(victim.get("pid"), Signal::SIGKILL);
    assert_eq!(run.fact_of("exit", victim.get("id")).how(), "signal 9, own");
    run.expect_once("was killed by SIGKILL");
    let next = run.fact_of("listening", 3);
    assert_eq!(next.get::<u64>("slot"), victim.get::<u64>("slot"));
    assert_eq!(run.fact("ready").get::<u64>("id"), 3);
    bench.ask(address, "who");
    assert!(run.all("backoff").is_empty() && run.all("all_ready").len() == 1);
    stop(run);
}

fn kill_9_is_replaced_many_times(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 backoff=1,1");
    let address = run.ready();
    run.expect("was killed by SIGKILL");
    // After 20 deaths within a second.
    run.expect("delayed start number");
    for id in 1..=50 {
        let pid = run.all("ready").last().unwrap().get("pid");
        run.signal_to(pid, Signal::SIGKILL);
        assert_eq!(run.fact_of("exit", id).how(), "signal 9, own");
        run.fact_of("ready", id + 1);
    }
    assert!(bench.ask(address, "who").starts_with("51 0 "));
    stop(run);
}

fn back_off_grows_and_is_capped(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 worker=fails_in_slot_1 backoff=10,80");
    for (deaths, delay) in [(1, 10.0), (2, 20.0), (3, 40.0), (4, 80.0), (5, 80.0)] {
        let fact = run.fact("backoff");
        assert_eq!((fact.get::<u64>("slot"), fact.get::<u64>("deaths")), (1, deaths));
        // ± 20 %, in whole milliseconds.
        let seen: f64 = fact.get("delay_ms");
        assert!(seen >= (delay * 0.8_f64).floor() && seen <= delay * 1.2, "{fact:?}");
    }
    run.expect("failed: no disk");
    run.expect("exited with code 1");
    run.expect("delayed start number 5");
    run.expect("slot 1: the next worker starts in");
    run.expect("(delayed start number 1): worker 2 exited with code 1 after");
    stop(run);
}

/// Healthy workers are replaced at once, but not more than 20 times a second.
fn back_off_after_a_burst_of_deaths(bench: &Bench) {
    let mut run = bench.start("cluster mode=run worker=returns backoff=50,50");
    let fact = run.fact("backoff");
    assert_eq!(fact.get::<u64>("deaths"), 1);
    assert!(run.all("exit").len() > 20, "{} deaths", run.all("exit").len());
    run.expect("exited with code 0");
    run.expect("delayed start number");
    stop(run);
}

fn intensity_gives_up(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 intensity=2,60000");
    run.ready();
    run.expect("was killed by SIGKILL");
    for _ in 0..2 {
        let pid = run.all("ready").last().unwrap().get("pid");
        run.signal_to(pid, Signal::SIGKILL);
        run.fact("ready");
    }
    let pid = run.all("ready").last().unwrap().get("pid");
    run.signal_to(pid, Signal::SIGKILL);
    // The other worker drains.
    run.fact("stopping");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    assert!(run.fact("result").rest().starts_with("gave_up"));
    run.end_with(4);
}

fn never_ready_gives_up_at_once(bench: &Bench) {
    for (worker, how, line) in [
        ("fails", "exited with code 1", "failed: no disk"),
        ("panics", "exited with code 101", "panicked: no disk"),
        ("exits_7", "exited with code 7", "exited with code 7"),
        ("returns", "exited with code 0", "exited with code 0"),
    ] {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0 workers=2 worker={worker}"));
        run.expect(line);
        run.expect(how);
        if worker == "panics" {
            run.expect_panic("no disk");
        }
        run.expect("delayed start number 1");
        let result = run.fact("result");
        let text = format!("never_ready no worker ever became ready (slot 0: {how}; slot 1: {how})");
        assert!(result.rest().starts_with(&text), "{result:?}");
        run.end_with(3);
    }
}

fn one_ready_worker_is_enough_to_go_on(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 worker=fails_once backoff=10,10");
    run.ready();
    run.expect_once("failed: no disk");
    run.expect("exited with code 1");
    run.expect_once("delayed start number 1");
    stop(run);
}

fn stopped_while_starting_is_not_ready(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=stopped ready_timeout=100");
    let exit = run.fact("exit");
    assert_eq!(exit.how(), "signal 9, not_ready");
    run.expect_once("it was not ready in time");
    assert!(run.fact("result").rest().contains("never_ready"));
    run.end_with(3);
}

fn told_workers_are_ready_when_they_say_so(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=told told");
    run.ready();
    let order: Vec<String> = ["listening", "listens", "ready"].map(|name| run.all(name)[0].name().to_owned()).into();
    assert_eq!(order, ["listening", "listens", "ready"]);
    stop(run);
}
