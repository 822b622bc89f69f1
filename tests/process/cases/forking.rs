//! What a fork copies, as the examples show it and as the guide `docs::forking` tells.

use std::{collections::HashSet, net::SocketAddr};

use nix::sys::signal::Signal;
use rustls::HandshakeKind;

use super::tls;
use crate::harness::{Bench, Run, cases};

cases!("forking":
    fork_hygiene_shows_each_effect_and_its_cure,
    a_file_lock_that_a_worker_drops_is_free_for_all,
    a_poll_that_a_worker_changes_is_changed_for_all,
    workers_have_the_memory_layout_of_their_master,
    tls_sessions_resume_on_whatever_worker_they_reach,
    tickets_of_each_worker_are_of_no_use_to_the_others,
    tls_tickets_needs_a_certificate,
);

/// What workers 1 and 2 say about something: what becomes of the copies, and the cure.
fn of_workers(run: &Run, what: &str, cure: &str) -> [(String, String); 2] {
    [1, 2].map(|id| {
        let about = format!("{id}: {what} ");
        let facts = run.all("worker");
        let told = facts.iter().find_map(|fact| fact.rest().strip_prefix(&about)).expect(what);
        let (copied, cured) = told.split_once(&format!(", {cure} ")).expect(cure);
        (copied.to_owned(), cured.to_owned())
    })
}

fn fork_hygiene_shows_each_effect_and_its_cure(bench: &Bench) {
    let mut run = bench.example("fork_hygiene");
    run.expect("exited with code 0");
    run.end_with(0);
    for (what, cure) in [("hash", "in a thread of its own"), ("random", "seeded anew")] {
        let [one, two] = of_workers(&run, what, cure);
        assert_eq!(one.0, two.0, "{what}");
        assert_ne!(one.1, two.1, "{what}");
    }
    for told in of_workers(&run, "lock that main held", "that nobody held") {
        assert_eq!(told, ("locked".to_owned(), "free".to_owned()));
    }
    let reads = of_workers(&run, "reads from the copied descriptor", "from one of its own");
    assert_eq!(HashSet::from(reads.clone().map(|told| told.0)), HashSet::from(["one".to_owned(), "two".to_owned()]));
    assert!(reads.iter().all(|told| told.1 == "one"));
    let master = run.all("master:");
    for told in [
        "start beside a thread refused",
        "lines of a buffer that was copied 2, that was flushed 1",
        "file whose guard was copied gone, stayed in main there",
    ] {
        assert!(master.iter().any(|fact| fact.rest() == told), "{told}: {master:?}");
    }
}

fn a_file_lock_that_a_worker_drops_is_free_for_all(bench: &Bench) {
    let mut run = bench.start("copied_file_lock");
    run.expect("exited with code 0");
    run.end_with(0);
    let is_free = |when: &str| run.all(when)[0].rest() == "true";
    assert!(!is_free("free_while_held") && is_free("free_after_a_worker_has_dropped_it"));
}

fn a_poll_that_a_worker_changes_is_changed_for_all(bench: &Bench) {
    let mut run = bench.start("copied_poll");
    run.expect("exited with code 0");
    assert_eq!(run.fact("master_hears").rest(), "0");
    run.end_with(0);
}

/// What one of them gives away is known of all.
fn workers_have_the_memory_layout_of_their_master(bench: &Bench) {
    let mut run = bench.start("copied_layout");
    run.expect("exited with code 0");
    run.end_with(0);
    let layouts = run.all("layout");
    assert_eq!(layouts.len(), 3);
    assert!(layouts.iter().all(|layout| *layout == layouts[0]), "{layouts:?}");
}

fn tls_sessions_resume_on_whatever_worker_they_reach(bench: &Bench) {
    let (mut run, address) = start(bench, "");
    let config = tls::client();
    let (handshakes, workers): (Vec<_>, HashSet<_>) = (0..16).map(|_| tls::ask(bench, address, &config, "/")).unzip();
    assert_eq!(handshakes[0], HandshakeKind::Full);
    assert!(handshakes[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{handshakes:?}");
    assert!(workers.len() > 1, "all were answered by {workers:?}");
    stop(&mut run);
}

fn tickets_of_each_worker_are_of_no_use_to_the_others(bench: &Bench) {
    let (mut run, address) = start(bench, " --own-tickets");
    let config = tls::client();
    let (_, first) = tls::ask(bench, address, &config, "/");
    let (kind, _) = loop {
        let (kind, worker) = tls::ask(bench, address, &config, "/");
        if worker != first {
            break (kind, worker);
        }
    };
    assert_eq!(kind, HandshakeKind::Full);
    stop(&mut run);
}

fn tls_tickets_needs_a_certificate(bench: &Bench) {
    let mut run = bench.example(&format!("tls_tickets no/certificate {} --listen @:0", tls::KEY));
    run.log("no/certificate: ");
    run.end_with(2);
}

fn start(bench: &Bench, more: &str) -> (Run, SocketAddr) {
    let (certificate, key) = (tls::CERTIFICATE, tls::KEY);
    let mut run = bench.example(&format!("tls_tickets {certificate} {key} --listen @:0 --workers 4 --json{more}"));
    let address = run.ready();
    (run, address)
}

fn stop(run: &mut Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}
