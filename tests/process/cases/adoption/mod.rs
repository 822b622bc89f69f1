//! Nobody waits for a worker that does not come, whatever the reason: siblings accept in its place until it is back.

pub(crate) mod loans;

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    cases::scoreboard::Look,
    harness::{Bench, Client, Run, cases},
};

cases!("adoption":
    a_stopped_worker,
    a_stopped_worker_on_ipv6,
    a_stopped_worker_that_steers_nobody_away,
    a_stopped_worker_in_a_cluster_that_was_idle,
    a_stopped_worker_beside_clients_that_stay,
    a_busy_worker,
    a_worker_that_crashes_at_boot_for_a_while,
    a_slow_start_after_a_crash,
    all_workers_stopped_and_one_continued,
    a_full_worker,
    a_worker_without_descriptors,
    threads_that_nobody_looks_after,
    loops_that_know_only_the_listener,
    one_stuck_thread_of_two,
);

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn start(bench: &Bench, words: &str) -> Run {
    bench.start(&format!("cluster signals {words}"))
}

fn pid_of(run: &mut Run, id: u64) -> u32 {
    run.known("ready", id).get("pid")
}

/// Those who may have answered. Under load any of them can be late, and the others serve its clients, too.
fn ids(range: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    range.into_iter().collect()
}

/// Worker 1 of four is stopped: a hundred clients are served by the others, and it serves again once it goes on.
fn is_stopped_for_a_while(bench: &Bench, run: &mut Run, at: SocketAddr) {
    let pid = pid_of(run, 1);
    run.freeze(pid);
    assert!(bench.answered(bench.crowd(at, 100)).is_subset(&ids(2..=4)));
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(at, 1..=4);
}

fn a_stopped_worker(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4 worker=managed told");
    let at = run.ready();
    for round in 1..=3 {
        is_stopped_for_a_while(bench, &mut run, at);
        let look = Look::at(&mut run);
        assert!(look.one("total").get::<u64>("adopted") >= round, "in each round somebody was behind its socket");
    }
    stop(run);
}

fn a_stopped_worker_on_ipv6(bench: &Bench) {
    let mut run = start(bench, "listen=[::1]:0 workers=4 worker=managed told");
    let at = run.ready();
    is_stopped_for_a_while(bench, &mut run, at);
    stop(run);
}

/// Newcomers go on coming to its socket.
fn a_stopped_worker_that_steers_nobody_away(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4 worker=managed told balance=kernel");
    let at = run.ready();
    let pid = pid_of(&mut run, 1);
    run.freeze(pid);
    for _ in 0..3 {
        assert!(bench.answered(bench.crowd(at, 60)).is_subset(&ids(2..=4)));
    }
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(at, 1..=4);
    stop(run);
}

/// Long enough for the master to look no more.
fn a_stopped_worker_in_a_cluster_that_was_idle(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4 worker=managed told");
    let at = run.ready();
    for _ in 0..2 {
        run.pass(Duration::from_secs(2));
        is_stopped_for_a_while(bench, &mut run, at);
    }
    stop(run);
}

/// All that wakes the master is that somebody turns.
fn a_stopped_worker_beside_clients_that_stay(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4 worker=managed told");
    let at = run.ready();
    let mut staying = [2, 3, 4].map(|id| bench.client_of(at, id));
    run.pass(Duration::from_secs(2));
    let pid = pid_of(&mut run, 1);
    run.freeze(pid);
    for _ in 0..20 {
        assert_eq!(staying.each_mut().map(Client::worker), [2, 3, 4]);
    }
    assert!(bench.answered(bench.crowd(at, 30)).is_subset(&ids(2..=4)));
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(at, 1..=4);
    stop(run);
}

/// It talks to one client and looks at nothing else.
fn a_busy_worker(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4");
    let at = run.ready();
    for _ in 0..2 {
        let mut busy = bench.client_of(at, 1);
        assert!(bench.answered(bench.crowd(at, 100)).is_subset(&ids(2..=4)));
        assert_eq!(busy.worker(), 1);
        drop(busy);
        bench.reaches(at, 1..=4);
    }
    stop(run);
}

fn a_worker_that_crashes_at_boot_for_a_while(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=released backoff=50,200");
    let at = run.ready();
    run.expect("was killed by SIGKILL");
    run.expect("failed: no disk");
    run.expect("exited with code 1");
    run.expect("the next worker starts in");
    run.tell("release fails");
    run.tell("kill 1 9");
    // It loses whom it has accepted.
    run.fact_of("exit", 1);
    while run.all("backoff").len() < 4 {
        assert!(bench.answered(bench.crowd(at, 20)).is_subset(&ids([2, 3])));
        run.pass(Duration::ZERO);
    }
    run.tell("release serve");
    let back = run.fact("ready");
    assert_eq!(back.get::<u64>("slot"), 0);
    bench.reaches(at, [2, 3, back.get("id")]);
    stop(run);
}

/// It takes longer than a socket is kept for nobody.
fn a_slow_start_after_a_crash(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=released");
    let at = run.ready();
    run.tell("release late");
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    let trigger: SocketAddr = run.fact("late").rest().parse().unwrap();
    for _ in 0..3 {
        assert!(bench.answered(bench.crowd(at, 40)).is_subset(&ids([2, 3])));
        run.pass(Duration::from_millis(600));
    }
    drop(TcpStream::connect(trigger).unwrap());
    run.fact_of("ready", 4);
    bench.reaches(at, 2..=4);
    stop(run);
}

fn all_workers_stopped_and_one_continued(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4 worker=managed told");
    let at = run.ready();
    let pids = [1, 2, 3, 4].map(|id| pid_of(&mut run, id));
    pids.iter().for_each(|pid| run.freeze(*pid));
    let crowd = bench.crowd(at, 60);
    // All have been missed by then.
    run.pass(Duration::from_millis(300));
    run.signal_to(pids[2], Signal::SIGCONT);
    assert_eq!(bench.answered(crowd), ids([3]));
    pids.iter().for_each(|pid| run.signal_to(*pid, Signal::SIGCONT));
    bench.reaches(at, 1..=4);
    stop(run);
}

/// It may have two clients.
fn a_full_worker(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=2 worker=managed_few_in_slot_0 told");
    let at = run.ready();
    let held = [1, 1].map(|id| bench.client_of(at, id));
    assert!(bench.answered(bench.crowd(at, 60)).is_subset(&ids([2])));
    drop(held);
    bench.reaches(at, [1, 2]);
    stop(run);
}

fn a_worker_without_descriptors(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=2 worker=managed_short_in_slot_0 told");
    let at = run.ready();
    run.expect_once("worker 1 (slot 0) pauses accepting at");
    let mut staying = Vec::new();
    while run.logged("pauses accepting") == 0 {
        staying.extend(bench.crowd(at, 4));
        run.pass(Duration::ZERO);
    }
    staying.extend(bench.crowd(at, 20));
    staying.iter_mut().for_each(|client| drop(client.hear().unwrap()));
    drop(staying);
    bench.reaches(at, [1, 2]);
    stop(run);
}

/// They say nothing of what they do, and take their turns at the sockets that they were lent.
fn threads_that_nobody_looks_after(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=by_threads");
    let at = run.ready();
    let pid = pid_of(&mut run, 1);
    for _ in 0..2 {
        run.freeze(pid);
        assert!(bench.answered(bench.crowd(at, 100)).is_subset(&ids([2, 3])));
        run.signal_to(pid, Signal::SIGCONT);
        bench.reaches(at, 1..=3);
    }
    stop(run);
}

/// More wait there than a borrower takes in a turn, and nothing but the listener wakes its loop.
fn loops_that_know_only_the_listener(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=2 worker=by_mio_alone");
    let at = run.ready();
    let pid = pid_of(&mut run, 1);
    run.freeze(pid);
    assert!(bench.answered(bench.crowd(at, 400)).is_subset(&ids([2])));
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(at, 1..=2);
    stop(run);
}

/// It is about one address; at the other one nobody waits for anybody.
fn one_stuck_thread_of_two(bench: &Bench) {
    let mut run = start(bench, "listen=@:0,a listen=@:0,b workers=2 worker=by_a_thread_per_address");
    let addresses = run.ready_at();
    let mut busy = bench.client_of(addresses[0], 1);
    assert!(bench.answered(bench.crowd(addresses[0], 40)).is_subset(&ids([2])));
    assert!(bench.answered(bench.crowd(addresses[1], 40)).is_subset(&ids([1, 2])));
    assert_eq!(busy.worker(), 1);
    drop(busy);
    addresses.iter().for_each(|at| bench.reaches(*at, [1, 2]));
    stop(run);
}
