//! Workers that have served for long enough are replaced, and no client notices.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Run, cases};

cases!("recycling":
    by_connections_one_at_a_time,
    by_requests_with_a_client_that_stays,
    by_memory,
    by_age_without_any_client,
    without_room_for_one_more_the_worker_leaves_first,
    while_successors_fail_the_worker_serves_on,
);

fn stop(mut run: Run) {
    assert!(run.all("rollout_started").is_empty() && run.all("rollout_ended").is_empty());
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// One client after the other, each answered, until so many workers were replaced.
fn serves_until_recycled(bench: &Bench, run: &mut Run, at: SocketAddr, workers: usize) {
    while run.all("exit").len() < workers {
        bench.ask(at, "who");
        run.pass(Duration::ZERO);
    }
    assert!(run.all("exit").iter().all(|exit| exit.how() == "code 0, recycled"), "{:?}", run.all("exit"));
}

fn by_connections_one_at_a_time(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 workers=2 settle=20 recycle_connections=30");
    let at = run.ready();
    serves_until_recycled(bench, &mut run, at, 6);
    for id in 3..=8 {
        assert!(id == 3 || run.comes_before(("ready", id - 1), ("fork", id)), "worker {id} was not alone");
        let slot: u64 = run.known("fork", id).get("slot");
        let mut former = run.all("fork").into_iter().filter(|fork| fork.get::<u64>("slot") == slot);
        let former: u64 = former.rfind(|fork| fork.get::<u64>("id") < id).unwrap().get("id");
        run.known("disconnect", former);
        assert!(run.comes_before(("ready", id), ("disconnect", former)), "{former} leaves before {id} is ready");
    }
    let line = run.log("connections and is replaced");
    let count: u64 = line.split_whitespace().skip_while(|word| *word != "served").nth(1).unwrap().parse().unwrap();
    assert!(count >= 24, "{line}");
    assert_eq!(run.logged("gives up"), 0, "every socket goes from hand to hand");
    stop(run);
}

fn by_requests_with_a_client_that_stays(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 settle=0 recycle_requests=100 jitter=0");
    let at = run.ready();
    let mut client = bench.client_of(at, 1);
    client.ask("requests 99");
    client.ask("requests 1");
    run.fact_of("ready", 2);
    bench.reaches(at, [2]);
    assert_eq!(client.worker(), 1, "it is served to the end");
    drop(client);
    assert_eq!(run.known("exit", 1).how(), "code 0, recycled");
    run.log("worker 1 (slot 0, pid");
    assert_eq!(run.logged("has answered 100 requests and is replaced"), 1);
    stop(run);
}

fn by_memory(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 worker=hogs settle=0 recycle_memory=64");
    let at = run.ready();
    serves_until_recycled(bench, &mut run, at, 1);
    run.log("MiB of memory and is replaced");
    bench.reaches(at, [2]);
    stop(run);
}

fn by_age_without_any_client(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 settle=0 recycle_age=1000 jitter=0");
    run.ready();
    let exit = run.fact("exit");
    assert_eq!(exit.how(), "code 0, recycled");
    assert!(exit.get::<u64>("uptime_ms") >= 1000, "{exit:?}");
    run.log("has run for 1.0s and is replaced");
    stop(run);
}

fn without_room_for_one_more_the_worker_leaves_first(bench: &Bench) {
    let mut run =
        bench.start("cluster signals listen=@:0 workers=2 settle=0 surge=0 unavailable=2 recycle_connections=20");
    let at = run.ready();
    serves_until_recycled(bench, &mut run, at, 2);
    for (old, new) in [(1, 3), (2, 3)] {
        let slot = |fact: &str, run: &mut Run, id| run.known(fact, id).get::<u64>("slot");
        if slot("fork", &mut run, old) == slot("fork", &mut run, new) {
            assert!(run.comes_before(("exit", old), ("fork", new)));
        }
    }
    stop(run);
}

fn while_successors_fail_the_worker_serves_on(bench: &Bench) {
    let mut run =
        bench.start("cluster signals listen=@:0 worker=released settle=0 recycle_connections=10 backoff=10,10");
    let at = run.ready();
    run.tell("release fails");
    ["failed: no disk", "exited with code 1"].iter().for_each(|text| run.expect(text));
    run.expect("worker 2 exited with code 1 before it was to take over; see what it logged; its replacement is tried");
    run.expect("serves on: ");
    while run.all("exit").len() < 3 {
        bench.reaches(at, [1]);
        run.pass(Duration::ZERO);
    }
    run.tell("release serve");
    assert_eq!(run.known("exit", 1).how(), "code 0, recycled");
    assert!(run.all("backoff").is_empty(), "its slot was never empty");
    stop(run);
}
