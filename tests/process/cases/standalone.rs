//! Workers without a fork: what they leave of a process, and the `--single` of the example servers.

use std::{net::SocketAddr, os::unix::process::ExitStatusExt};

use nix::sys::signal::Signal;

use crate::harness::{Bench, cases};

cases!("standalone":
    nothing_of_the_process_is_changed_or_left,
    beside_a_master,
    forked_worker_left_by_its_own_thread,
    single_server_is_announced_and_serves,
    single_server_ends_by_a_signal,
    single_server_exit_codes,
);

/// The harness compares the descriptors; here are signals and the parent-death signal.
fn nothing_of_the_process_is_changed_or_left(bench: &Bench) {
    let mut run = bench.start("standalone listen=@:0,a listen=@:0,b");
    let is = run.fact("is").rest().to_owned();
    assert!(is.ends_with("None"), "{is}");
    assert_eq!(run.fact("gone").rest(), "3");
    run.end_with(0);
    assert_eq!(run.all("was").len(), 3);
    assert!(run.all("was").iter().all(|was| was.rest() == is), "{is}, then {:?}", run.all("was"));
}

fn beside_a_master(bench: &Bench) {
    let mut run = bench.start("beside_a_master listen=@:0");
    let own = run.fact("own");
    // Its claim and its door.
    let address: SocketAddr = own.rest().strip_prefix("2 ").unwrap().parse().unwrap();
    let of_master = run.ready();
    run.expect_once("was killed by SIGKILL");
    let first: u32 = run.all("ready")[0].get("pid");
    run.signal_to(first, Signal::SIGKILL);
    run.fact_of("ready", 2);
    assert!(bench.ask(of_master, "who").starts_with("2 0 "));
    assert_eq!(bench.ask(address, "hello"), "standalone, draining: false");
    let inherited = run.all("inherited");
    assert!(inherited.len() == 2 && inherited.iter().all(|fact| fact.rest() == "0 gone"), "{inherited:?}");
    run.tell("stop");
    run.end_with(0);
}

/// As if its function had called `Worker::disconnect`: no replacement, and the loop wakes up.
fn forked_worker_left_by_its_own_thread(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=left_by_a_thread");
    let trigger: SocketAddr = run.first("trigger").rest().parse().unwrap();
    // By its answer the loop has long had its first turn.
    bench.ask(run.ready(), "who");
    drop(bench.connect(trigger));
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    assert_eq!(run.first("left").rest(), "Ok(Ok(()))");
    assert_eq!(run.fact("result").rest(), "ok");
    run.end_with(0);
    assert_eq!(run.all("fork").len(), 1);
}

fn single_server_is_announced_and_serves(bench: &Bench) {
    let mut run = bench.start("server --single --json --listen @:0");
    let listening = run.fact("listening");
    let address: SocketAddr = listening.get("address");
    assert_eq!((listening.get("slot"), listening.get("id"), listening.get("pid")), (0, 1, run.pid()));
    assert_eq!(run.ready(), address);
    run.log(&format!("listening on {address}"));
    assert_eq!(bench.ask(address, "who"), format!("1 0 {}", run.pid()));
    bench.connect(address).say("return");
    run.end_with(0);
}

fn single_server_ends_by_a_signal(bench: &Bench) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut run = bench.start("server --single --json --listen @:0");
        bench.ask(run.ready(), "who");
        run.signal(signal);
        assert_eq!(run.end().signal(), Some(signal as i32));
    }
}

fn single_server_exit_codes(bench: &Bench) {
    let mut fails = bench.start("server --single --json --listen @:0");
    let address = fails.ready();

    let mut refused = bench.start(&format!("server --single --listen {address}"));
    refused.expect_once("another copy of this one");
    refused.end_with(1);

    bench.connect(address).say("fail no disk");
    fails.expect_once("no disk");
    fails.end_with(1);

    let mut misused = bench.start("server --single --workers 2");
    assert!(misused.fact("usage").rest().contains("'--single' cannot be used with '--workers"));
    misused.end_with(2);

    let mut bad = bench.start("server --single --listen localhost:80");
    bad.expect_once("names are not resolved");
    bad.end_with(2);
}
