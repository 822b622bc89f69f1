//! Forks that cannot be: too many processes, a second thread.

use nix::sys::signal::Signal;

use crate::harness::{Bench, cases};

cases!("forks":
    second_thread_at_start,
    second_thread_later,
    limit_of_processes,
    limit_of_processes_at_start,
    limit_of_descriptors,
    hook_before_each_fork,
    fork_from_an_event_handler,
);

/// In the master, with the slot, for replacements too.
fn hook_before_each_fork(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2 before_fork");
    run.ready();
    run.expect("was killed by SIGKILL");
    run.tell("kill 2 9");
    run.fact_of("ready", 3);
    run.tell("stop");
    run.end_with(0);
    let slots: Vec<String> = run.all("before_fork").iter().map(|fact| fact.rest().to_owned()).collect();
    assert_eq!(slots, ["0", "1", "1"]);
}

fn second_thread_at_start(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 second_thread");
    let result = run.fact("result");
    assert!(result.rest().starts_with("threads_running start: this process runs 2 threads"), "{result:?}");
    assert!(result.rest().contains("start threads inside the worker function"), "{result:?}");
    run.end_with(1);
    assert!(run.all("fork").is_empty());
}

/// One error line, events for every attempt, and recovery by itself once the thread has ended.
fn second_thread_later(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2 intensity=2,60000");
    let address = run.ready();
    run.tell("thread");
    run.expect("was killed by SIGKILL");
    run.tell("kill 1 9");
    let failed = run.fact("fork_failed");
    assert_eq!((failed.get::<u64>("slot"), failed.get::<u64>("id")), (0, 3));
    assert!(failed.field("error").unwrap().contains("this process runs 2 threads"));
    // Another event is a reason to look again, and so is the passing of a second.
    run.tell("kill 2 9");
    while run.all("fork_failed").len() < 4 {
        run.fact("fork_failed");
    }
    run.tell("end_thread");
    run.fact("ready");
    run.fact("ready");
    bench.ask(address, "who");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker: this process runs 2 threads");
    run.log("forking works again");
    run.tell("stop");
    run.end_with(0);
    assert!(run.all("backoff").is_empty());
    assert_eq!(run.all("fork").len(), 4, "no id was spent on an attempt");
}

fn limit_of_processes(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 unprivileged count_apart backoff=5,20");
    let address = run.ready();
    if let Some(why) = run.all("impossible").first() {
        run.tell("stop");
        run.end_with(0);
        bench.cannot(why.rest());
    }
    run.tell("limit 1");
    run.fact("limited");
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    for deaths in 1..=4 {
        let failed = run.fact("fork_failed");
        assert!(
            failed.field("error").unwrap().contains("the limit of processes is reached (`ulimit -u`"),
            "{failed:?}"
        );
        assert_eq!(run.fact("backoff").get::<u64>("deaths"), deaths);
    }
    run.tell("limit 100");
    run.fact_of("ready", 2);
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker failed, it is tried again");
    run.expect("delayed start number");
    run.log("slot 0: forking works again");
    bench.ask(address, "who");
    run.tell("stop");
    run.end_with(0);
}

/// The socket that a worker hands over is lost on the way, then the replacement cannot be forked; both say what is missing.
fn limit_of_descriptors(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 backoff=5,20");
    let address = run.ready();
    let mut client = bench.connect(address);
    client.ask("who");
    run.tell("files 3");
    run.fact("limited");
    run.expect_once("failed: listening on");
    run.expect_once("exited with code 1");
    client.say("relisten");
    assert!(
        run.log("worker 1 (slot 0) failed").contains("the master could not take the socket, it is out of descriptors")
    );
    let failed = run.fact("fork_failed");
    assert!(failed.field("error").unwrap().contains("the master is out of descriptors (`ulimit -n`)"), "{failed:?}");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker failed, it is tried again");
    run.expect("delayed start number");
    run.tell("files 1024");
    run.fact_of("ready", 2);
    bench.ask(address, "who");
    run.tell("stop");
    run.end_with(0);
}

/// No worker was ready within the ready deadline: the cluster ends.
fn limit_of_processes_at_start(bench: &Bench) {
    let mut run =
        bench.start("cluster listen=@:0 unprivileged count_apart limit_before ready_timeout=100 backoff=5,20");
    let result = run.fact("result");
    if let Some(why) = run.all("impossible").first() {
        run.end();
        bench.cannot(why.rest());
    }
    assert!(result.rest().starts_with("never_ready") && result.rest().contains("limit of processes"), "{result:?}");
    run.expect_once("ERROR mio_cluster::master: slot 0: forking a worker failed");
    run.expect("delayed start number");
    run.end_with(3);
}

/// In `run_with`'s closure; an embedded master's handlers are in `commands`. Only the master comes back from it.
fn fork_from_an_event_handler(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 fork_on_ready=3");
    (1..=4).for_each(|id| drop(run.fact_of("ready", id)));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    let forked: Vec<String> = run.all("forked").iter().map(|fact| fact.rest().to_owned()).collect();
    assert_eq!(forked, [2, 3, 4].map(|id| format!("{id} by {}", run.pid())));
    assert_eq!(run.all("fork").len(), 4);
}
