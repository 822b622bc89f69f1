//! Who accepts in the place of another one: what becomes of a loan, and where none is made.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{ids, pid_of, start, stop};
use crate::harness::{Bench, Run, cases, context_switches, listening_sockets};

cases!("adoption::loans":
    a_borrower_that_is_killed,
    a_borrower_that_is_stopped_too,
    a_borrower_that_leaves,
    the_only_worker_is_waited_for,
    sockets_that_are_not_kept_are_not_lent,
    bare_sockets_are_not_lent,
    a_blocking_socket_is_not_lent,
    unix_sockets_are_shared_anyway,
    during_a_rollout,
    while_the_number_of_workers_falls,
    at_an_address_that_is_removed,
    at_a_stop,
    an_idle_cluster_wakes_nobody,
);

const LENT: &str = "clients wait at its socket";

/// Worker 1 is stopped, and somebody has come to its socket. Returns its process, and who has borrowed that.
fn lent(bench: &Bench, run: &mut Run, at: SocketAddr) -> (u32, u64) {
    let pid = pid_of(run, 1);
    run.freeze(pid);
    let crowd = bench.crowd(at, 60);
    let line = run.log(&format!("slot 0: {LENT}"));
    assert!(!bench.answered(crowd).contains(&1));
    let (_, borrower) = line.split_once("worker ").unwrap();
    (pid, borrower.split(' ').next().unwrap().parse().unwrap())
}

/// Worker 1 is stopped, with this pid, and its door lent to this borrower; steered away or not.
fn beside_a_loan(bench: &Bench, case: impl Fn(&mut Run, SocketAddr, u32, u64)) {
    for balance in ["", "balance=kernel"] {
        let mut run = start(bench, &format!("listen=@:0 workers=4 worker=managed told {balance}"));
        let at = run.ready();
        let (pid, borrower) = lent(bench, &mut run, at);
        case(&mut run, at, pid, borrower);
        stop(run);
    }
}

/// Its replacement and the others go on.
fn a_borrower_that_is_killed(bench: &Bench) {
    beside_a_loan(bench, |run, at, pid, borrower| {
        run.expect_once("was killed by SIGKILL");
        let other = pid_of(run, borrower);
        run.signal_to(other, Signal::SIGKILL);
        assert!(!bench.answered(bench.crowd(at, 100)).contains(&1));
        run.fact_of("ready", 5);
        run.signal_to(pid, Signal::SIGCONT);
        bench.reaches(at, (1..=5).filter(|id| *id != borrower));
    });
}

fn a_borrower_that_is_stopped_too(bench: &Bench) {
    beside_a_loan(bench, |run, at, pid, borrower| {
        let other = pid_of(run, borrower);
        run.freeze(other);
        assert!(bench.answered(bench.crowd(at, 100)).is_subset(&ids((2..=4).filter(|id| *id != borrower))));
        [other, pid].iter().for_each(|pid| run.signal_to(*pid, Signal::SIGCONT));
        bench.reaches(at, 1..=4);
    });
}

fn a_borrower_that_leaves(bench: &Bench) {
    beside_a_loan(bench, |run, at, pid, borrower| {
        run.tell(&format!("disconnect {borrower}"));
        while run.all("exit").is_empty() {
            assert!(!bench.answered(bench.crowd(at, 20)).contains(&1));
            run.pass(Duration::ZERO);
        }
        assert_eq!(run.known("exit", borrower).how(), "code 0, asked");
        assert!(!bench.answered(bench.crowd(at, 60)).contains(&1));
        run.signal_to(pid, Signal::SIGCONT);
        bench.reaches(at, (1..=4).filter(|id| *id != borrower));
    });
}

/// As long as it takes; then it serves them.
fn waited_for(bench: &Bench, words: &str) -> Run {
    let mut run = start(bench, words);
    let at = run.ready();
    let pid = pid_of(&mut run, 1);
    run.freeze(pid);
    let crowd = bench.crowd(at, 40);
    // Those that they are lent to within that time would be many if each was asked again and again.
    run.pass(Duration::from_millis(1500));
    run.signal_to(pid, Signal::SIGCONT);
    assert!(bench.answered(crowd).contains(&1));
    run
}

fn the_only_worker_is_waited_for(bench: &Bench) {
    let run = waited_for(bench, "listen=@:0 worker=managed told");
    assert_eq!(run.logged(LENT), 0);
    stop(run);
}

fn sockets_that_are_not_kept_are_not_lent(bench: &Bench) {
    let run = waited_for(bench, "listen=@:0 workers=3 worker=managed told keep=false");
    assert_eq!(run.logged(LENT), 0);
    stop(run);
}

/// What their programs do with them is not known.
fn bare_sockets_are_not_lent(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=bare");
    let at = run.ready();
    // Each has taken its socket out of the listener.
    run.until("again", 3);
    let pid = pid_of(&mut run, 1);
    run.freeze(pid);
    let crowd = bench.crowd(at, 40);
    run.pass(Duration::from_millis(1500));
    run.signal_to(pid, Signal::SIGCONT);
    assert_eq!(bench.hear_all(crowd).len(), 40);
    assert_eq!(run.logged(LENT), 0, "nobody can say whether these come");
    stop(run);
}

/// A bare one, too, until its worker has ended; then those who would accept there decline it.
fn a_blocking_socket_is_not_lent(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=by_blocking_in_slot_0");
    let at = run.ready();
    run.until("blocks", 1);
    let mut busy = bench.client_of(at, 1);
    let crowd = bench.crowd(at, 40);
    run.pass(Duration::from_millis(1500));
    assert_eq!(busy.worker(), 1);
    drop(busy);
    assert!(bench.answered(crowd).contains(&1));
    assert_eq!(run.logged(&format!("slot 0: {LENT}")), 0, "whoever accepts there would hang");
    stop(run);
}

fn unix_sockets_are_shared_anyway(bench: &Bench) {
    let path = std::env::temp_dir().join(format!("mio-cluster-adoption-{}", bench.ip()));
    let path = path.to_str().unwrap();
    let mut run = start(bench, &format!("listen=unix:{path} workers=2 worker=managed told"));
    run.fact("all_ready");
    let pid = pid_of(&mut run, 1);
    run.freeze(pid);
    for _ in 0..40 {
        assert_eq!(bench.connect_unix(path).worker(), 2);
    }
    run.signal_to(pid, Signal::SIGCONT);
    assert_eq!(run.logged(LENT), 0);
    stop(run);
}

fn during_a_rollout(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=managed told");
    let at = run.ready();
    let (pid, _borrower) = lent(bench, &mut run, at);
    run.tell("rollout settle=0");
    while run.all("ready").len() < 6 {
        assert!(!bench.answered(bench.crowd(at, 20)).contains(&1));
        run.pass(Duration::ZERO);
    }
    run.signal_to(pid, Signal::SIGCONT);
    assert_eq!(run.known("exit", 1).how(), "code 0, rollout");
    run.until("exit", 3);
    bench.reaches(at, 4..=6);
    stop(run);
}

/// The slot of the one that is stopped is left.
fn while_the_number_of_workers_falls(bench: &Bench) {
    for balance in ["", "balance=kernel"] {
        let mut run = start(bench, &format!("listen=@:0 workers=3 worker=managed told {balance}"));
        let at = run.ready();
        let pid = pid_of(&mut run, 3);
        run.freeze(pid);
        let crowd = bench.crowd(at, 60);
        run.log(&format!("slot 2: {LENT}"));
        run.tell("scale 2");
        run.fact("done");
        let more = bench.crowd(at, 60);
        assert!(bench.answered(crowd).is_subset(&ids([1, 2])));
        assert!(bench.answered(more).is_subset(&ids([1, 2])));
        run.signal_to(pid, Signal::SIGCONT);
        assert_eq!(run.known("exit", 3).how(), "code 0, scaled");
        bench.reaches(at, [1, 2]);
        run.pass_until(|| listening_sockets(at).len() == 2);
        stop(run);
    }
}

fn at_an_address_that_is_removed(bench: &Bench) {
    let mut run = start(bench, "listen=@:0,a listen=@:0,b workers=3 worker=managed told");
    let addresses = run.ready_at();
    let (pid, _borrower) = lent(bench, &mut run, addresses[0]);
    run.tell("remove a");
    run.fact("removed");
    run.pass_until(|| {
        TcpStream::connect(addresses[0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    run.signal_to(pid, Signal::SIGCONT);
    bench.reaches(addresses[1], 1..=3);
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// The watch is over; who waits is served by whoever looks.
fn at_a_stop(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=3 worker=managed told");
    let at = run.ready();
    let (pid, _borrower) = lent(bench, &mut run, at);
    let crowd = bench.crowd(at, 60);
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    run.signal_to(pid, Signal::SIGCONT);
    assert!(bench.answered(crowd).is_subset(&ids(1..=3)));
    run.end_with(0);
    assert!(run.all("exit").iter().all(|exit| exit.how() == "code 0, asked"));
    assert_eq!(run.logged("reset"), 0);
}

/// After the last client nobody turns, neither the master nor a worker.
fn an_idle_cluster_wakes_nobody(bench: &Bench) {
    let mut run = start(bench, "listen=@:0 workers=4 worker=managed told");
    let at = run.ready();
    let mut pids = [1, 2, 3, 4].map(|id| pid_of(&mut run, id)).to_vec();
    pids.push(run.pid());
    let switches = || pids.iter().map(|pid| context_switches(*pid)).collect::<Vec<_>>();
    for _ in 0..2 {
        bench.reaches(at, 1..=4);
        let mut last = Vec::new();
        while std::mem::replace(&mut last, switches()) != last {
            run.pass(Duration::from_millis(1500));
        }
        run.pass(Duration::from_secs(3));
        assert_eq!(switches(), last);
    }
    stop(run);
}
