//! What is wrong before anything runs: one clear error, all of it at once, and the exit code.

use crate::harness::{Bench, cases};

cases!("configuration":
    no_workers,
    too_many_workers,
    unparsable_addresses,
    overlapping_addresses,
    all_problems_at_once,
    wrong_names_are_answered_with_the_right_ones,
    one_listener_per_address,
    exit_codes,
);

/// Runs a cluster that must not start; the error contains every one of `texts`.
fn refused(bench: &Bench, script: &str, texts: &[&str]) {
    let mut run = bench.start(&format!("cluster mode=run {script}"));
    let result = run.fact("result");
    for text in ["invalid_config"].iter().chain(texts) {
        assert!(result.rest().contains(text), "{text:?} is missing in {result:?}");
    }
    assert!(run.all("fork").is_empty());
    run.end_with(2);
}

fn no_workers(bench: &Bench) {
    refused(bench, "listen=@:0 workers=0", &["0 workers", "give 1 or more"]);
}

fn too_many_workers(bench: &Bench) {
    refused(bench, "listen=@:0 workers=1025", &["1025 workers", "limit of 1024"]);
    refused(bench, "listen=@:0 workers=3 max_workers=2", &["3 workers", "max_workers(2)"]);
}

fn unparsable_addresses(bench: &Bench) {
    for text in ["localhost:8000", "8000", "127.0.0.1", "127.0.0.1:99999", "::1:8000", "[::1]"] {
        refused(bench, &format!("listen={text}"), &[text, "write IP:PORT"]);
    }
    refused(bench, "listen=@:0,v6_only", &["v6_only cannot apply"]);
}

fn overlapping_addresses(bench: &Bench) {
    refused(bench, "listen=@:8000 listen=@:8000,other", &[&format!("{}:8000 is given twice", bench.ip())]);
    refused(bench, "listen=0.0.0.0:8000 listen=@:8000", &["0.0.0.0:8000", &format!("{}:8000", bench.ip()), "overlap"]);
    refused(bench, "listen=[::]:8000 listen=@:8000", &["[::]:8000", "overlap"]);
    refused(bench, "listen=@:0,http listen=[::1]:0,http", &["two addresses are called", "http"]);
}

fn all_problems_at_once(bench: &Bench) {
    let script =
        "workers=0 no_restart_on=256 backoff=5,2 intensity=1,0 ready_timeout=0 listen=x:1 listen=[::]:9 listen=@:9";
    let words =
        ["0 workers", "no_restart_on(256)", "backoff(5ms, 2ms)", "intensity()", "ready_timeout(0)", "x:1", "overlap"];
    refused(bench, script, &words);
}

fn wrong_names_are_answered_with_the_right_ones(bench: &Bench) {
    for (worker, text) in
        [("wrong_name", "no address of that name"), ("no_name", "several addresses, choose one by listen_on")]
    {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0,a listen=@:0,b restart=never worker={worker}"));
        let line = run.log(text);
        assert!(line.contains("\"a\", \"b\""), "{line}");
        assert_eq!(run.fact("exit").how(), "code 1, own");
        run.expect_once("exited with code 1");
        assert!(run.fact("result").rest().starts_with("never_ready"));
        run.end_with(3);
    }
}

fn one_listener_per_address(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=twice signals");
    let again = run.first("again");
    assert!(again.rest().contains("drop that listener first"), "{again:?}");
    bench.ask(run.ready(), "who");
    run.tell("stop");
    run.end_with(0);
}

/// Of `Cluster::main`, which has nothing but the log and its exit code.
fn exit_codes(bench: &Bench) {
    let mut stopped = bench.start("cluster mode=main listen=@:0");
    stopped.log("all ready");
    stopped.signal(nix::sys::signal::Signal::SIGTERM);
    stopped.end_with(0);

    let taken = std::net::TcpListener::bind((bench.ip(), 0)).unwrap();
    let mut failed = bench.start(&format!("cluster mode=main listen={}", taken.local_addr().unwrap()));
    failed.expect_once("ERROR mio_cluster::master: claiming");
    failed.end_with(1);

    let mut misused = bench.start("cluster mode=main listen=@:0 workers=0");
    misused.expect_once("ERROR mio_cluster::master: invalid configuration");
    misused.end_with(2);

    let mut never_ready = bench.start("cluster mode=main listen=@:0 worker=fails");
    never_ready.expect_once("failed: no disk");
    never_ready.expect("exited with code 1");
    never_ready.expect_once("no worker ever became ready (slot 0: exited with code 1)");
    never_ready.end_with(3);

    let mut gave_up = bench.start("cluster mode=main worker=returns intensity=2,60000");
    gave_up.expect("exited with code 0");
    gave_up.expect_once("gave up restarting: more than 2 within 60s");
    gave_up.end_with(4);
}
