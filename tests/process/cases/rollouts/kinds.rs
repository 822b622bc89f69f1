//! Rollouts of all kinds of workers and sockets.

use std::{net::SocketAddr, time::Duration};

use super::{super::unix::Folder, leaves_for_a_successor, rolls, stop};
use crate::harness::{Bench, Run, cases};

cases!("rollouts::kinds":
    every_kind_of_loop,
    several_addresses,
    addresses_that_were_added_and_removed,
    unix_sockets,
    sockets_of_both_kinds,
    listeners_not_kept,
    without_steering,
);

#[cfg(feature = "tokio")]
pub(crate) use asynchronous::CASES as TOKIO;

fn every_kind_of_loop(bench: &Bench) {
    for worker in ["serve", "managed told", "threads", "bare", "follows"] {
        let mut run = bench.start(&format!("cluster signals listen=@:0 workers=2 worker={worker}"));
        let at = run.ready();
        run.tell("rollout settle=20");
        while run.all("rollout_ended").is_empty() {
            bench.ask(at, "who");
            run.pass(Duration::ZERO);
        }
        assert_eq!(run.known("rollout_ended", 1).get::<String>("result"), "done", "{worker}");
        for id in [1, 2] {
            assert_eq!(run.known("exit", id).how(), "code 0, rollout", "{worker}");
        }
        bench.ask(at, "who");
        assert_eq!(run.logged("gives up"), 0, "{worker}");
        stop(run);
    }
}

fn several_addresses(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0,a listen=@:0,b workers=2 worker=managed told");
    let addresses = run.ready_at();
    rolls(bench, &mut run, addresses[0], "settle=0");
    leaves_for_a_successor(&mut run, [1, 2]);
    for at in addresses {
        bench.reaches(at, [3, 4]);
    }
    stop(run);
}

fn addresses_that_were_added_and_removed(bench: &Bench) {
    let mut run = bench.start(&format!("cluster signals told listen={}:0,a workers=2 worker=managed", bench.ip()));
    let first = run.ready();
    run.tell(&format!("add {}:0,b", bench.ip()));
    let second: SocketAddr = run.fact("added").rest().split(' ').next().unwrap().parse().unwrap();
    rolls(bench, &mut run, first, "settle=0");
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(second, [3, 4]);
    run.tell("remove a");
    run.fact("removed");
    rolls(bench, &mut run, second, "settle=0");
    bench.reaches(second, [5, 6]);
    assert!(std::net::TcpStream::connect(first).is_err());
    stop(run);
}

fn unix_sockets(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    for worker in ["serve", "managed told", "unix_threads", "unix_bare"] {
        let mut run = bench.start(&format!("cluster signals listen=unix:{path} workers=2 worker={worker}"));
        run.fact("all_ready");
        rolls_at(bench, &mut run, &path);
        for id in [1, 2] {
            assert_eq!(run.known("exit", id).how(), "code 0, rollout", "{worker}");
        }
        stop(run);
    }
}

fn rolls_at(bench: &Bench, run: &mut Run, path: &str) {
    run.tell("rollout settle=20");
    while run.all("rollout_ended").is_empty() {
        bench.connect_unix(path).ask("who");
        run.pass(Duration::ZERO);
    }
    assert_eq!(run.known("rollout_ended", 1).get::<String>("result"), "done");
}

fn sockets_of_both_kinds(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster signals listen=@:0,i listen=unix:{path},u workers=2 worker=follows"));
    let at = run.ready();
    rolls_at(bench, &mut run, &path);
    for id in [1, 2] {
        assert_eq!(run.known("exit", id).how(), "code 0, rollout");
    }
    bench.ask(at, "who");
    stop(run);
}

/// Each has a socket of its own, which it shuts after its last look into the queue.
fn listeners_not_kept(bench: &Bench) {
    let mut run = bench.start("cluster signals keep=false listen=@:0 workers=2");
    let at = run.ready();
    run.tell("rollout settle=0");
    assert_eq!(run.known("rollout_ended", 1).get::<String>("result"), "done");
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [3, 4]);
    stop(run);
}

/// A slot is followed as ever, and left first without a detour for newcomers.
fn without_steering(bench: &Bench) {
    let mut run = bench.start("cluster signals balance=kernel listen=@:0 workers=2");
    let at = run.ready();
    rolls(bench, &mut run, at, "settle=0");
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [3, 4]);
    run.tell("rollout surge=0 unavailable=1 settle=0");
    assert_eq!(run.known("rollout_ended", 2).get::<String>("result"), "done");
    bench.reaches(at, [5, 6]);
    stop(run);
}

#[cfg(feature = "tokio")]
mod asynchronous {
    use super::{
        super::super::asynchronous::{get, in_flight, is_answered},
        *,
    };

    cases!("rollouts::kinds": axum);

    /// What is under way is finished, newcomers find the successor.
    fn axum(bench: &Bench) {
        for worker in ["tokio_serves", "tokio_serves_in_threads"] {
            let mut run = bench.start(&format!("cluster signals listen=@:0 worker={worker}"));
            let client = in_flight(bench, &mut run);
            run.tell("rollout settle=0");
            assert_eq!(run.known("rollout_ended", 1).get::<String>("result"), "done", "{worker}");
            run.fact("drained");
            let at = run.known("listening", 2).get::<SocketAddr>("address");
            while !get(bench.connect(at)).starts_with("2 ") {}
            is_answered(client);
            leaves_for_a_successor(&mut run, [1]);
            stop(run);
        }
    }
}
