//! Node's 2.3: exits, flags, states.

use std::process;

use mio_cluster::{Cause, Cluster, Signal, State, Worker};
use nix::sys::signal::{Signal as Posix, kill};

use super::scenarios;
use crate::{
    harness::pid_of,
    stage::{Client, Gate, Place, Primary, exists, idle, serve},
};

scenarios!("lifecycle":
    worker_death warns ["exited with code 42"],
    worker_exit warns ["exited with code 7"],
    worker_kill warns ["was killed by SIGKILL"],
    worker_kill_signal warns ["was killed by SIGKILL", "killed by the program"],
    worker_isdead,
    kill_disconnect,
    worker_destroy,
    call_and_destroy,
);

/// Exit code 42, and no signal, reach the exit event of that very worker.
fn worker_death(_place: &Place) {
    let mut primary = Primary::start(Cluster::new().manual(), |_worker| process::exit(42));
    let id = primary.fork();
    let exit = primary.exit(id);
    assert_eq!((exit.status.code(), exit.status.signal()), (Some(42), None));
    assert_eq!(exit.worker, primary.forked(id));
    primary.end();
}

/// A worker that exits by itself: one disconnect and one exit, its code, not asked for, and the process is gone.
fn worker_exit(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), |mut worker: Worker| {
        worker.listen().unwrap().accept_blocking().unwrap();
        process::exit(7)
    });
    let id = primary.fork();
    Client::connect(primary.listening(id)).closed();
    let exit = primary.exit(id);
    assert_eq!((exit.status.code(), exit.status.signal(), exit.cause), (Some(7), None, Cause::Own));
    assert!(!exit.cause.asked() && !exists(exit.worker.pid));
    assert_eq!(primary.events_of(id)[4..], ["disconnect", "exit"]);
    primary.end();
}

/// The same for SIGKILL from outside, with the signal and no code.
fn worker_kill(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), serve);
    let id = primary.fork();
    kill(pid_of(primary.ready(id).pid), Posix::SIGKILL).unwrap();
    let exit = primary.exit(id);
    assert_eq!((exit.status.code(), exit.status.signal(), exit.cause), (None, Some(Signal::KILL), Cause::Own));
    assert!(!exists(exit.worker.pid));
    assert_eq!(primary.events_of(id)[4..], ["disconnect", "exit"]);
    primary.end();
}

/// SIGKILL by the primary's own `kill` is delivered at once, is not an ask, and at the exit nobody lives.
fn worker_kill_signal(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), serve);
    let number = primary.fork();
    primary.ready(number);
    let id = primary.id(number);
    primary.kill(id, Signal::KILL).unwrap();
    let exit = primary.exit(number);
    assert_eq!((exit.status.code(), exit.status.signal(), exit.cause), (None, Some(Signal::KILL), Cause::Killed));
    assert!(!exit.cause.asked() && !exists(exit.worker.pid) && primary.live().is_empty());
    assert!(primary.kill(id, Signal::KILL).unwrap_err().is_gone());
    primary.end();
}

/// A worker is listed as alive right after the fork and until its end, and not at its exit.
fn worker_isdead(_place: &Place) {
    let mut primary = Primary::start(Cluster::new().manual(), idle);
    let id = primary.master_fork();
    assert_eq!(primary.live(), format!("{id}:Starting"));
    let number = id.as_u64();
    primary.ready(number);
    primary.disconnect(id).unwrap();
    let leaving = primary.workers().next().map(|worker| worker.state);
    assert!([Some(State::Draining), None].contains(&leaving), "{leaving:?}");
    primary.exit(number);
    assert_eq!(primary.live(), "");
    primary.end();
}

/// A worker that leaves counts as asked, whichever way it says so and however fast it is gone.
fn kill_disconnect(_place: &Place) {
    type Leave = fn(Worker);
    let ways: [Leave; 4] = [
        |mut worker| worker.disconnect().unwrap(),
        |worker| worker.handle().disconnect().unwrap(),
        |mut worker| {
            worker.disconnect().unwrap();
            process::exit(0)
        },
        |mut worker| {
            worker.disconnect().unwrap();
            worker.handle().disconnect().unwrap();
            drop(worker);
        },
    ];
    let mut primary = Primary::start(Cluster::new().manual().max_workers(1), move |worker: Worker| {
        ways[usize::try_from(worker.id().as_u64()).unwrap() - 1](worker);
    });
    for _way in ways {
        let id = primary.fork();
        let exit = primary.exit(id);
        assert!(exit.cause == Cause::Asked && exit.status.success(), "worker {id}: {:?} {}", exit.cause, exit.status);
    }
    primary.end();
}

/// A worker leaves while it is connected, and goes on to its end after its channel is closed: both are asked ends.
fn worker_destroy(_place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(Cluster::new().manual().max_workers(1), move |mut worker: Worker| {
        worker.disconnect().unwrap();
        if worker.id().as_u64() == 2 {
            drop(worker);
            inside.wait();
        }
    });
    let first = primary.fork();
    assert!(primary.exit(first).cause.asked());
    let second = primary.fork();
    let pid = primary.disconnected(second).pid;
    assert!(exists(pid) && primary.count("exit") == 1, "disconnected and alive");
    gate.open();
    let exit = primary.exit(second);
    assert!(exit.cause.asked() && exit.status.success());
    primary.end();
}

/// To ask, or to signal, a worker that has closed its channel already does no harm.
fn call_and_destroy(_place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(Cluster::new().manual(), move |mut worker: Worker| {
        worker.disconnect().unwrap();
        drop(worker);
        inside.wait();
    });
    let number = primary.fork();
    primary.disconnected(number);
    let id = primary.id(number);
    primary.disconnect(id).unwrap();
    primary.kill(id, Signal::USR1).unwrap();
    gate.open();
    let exit = primary.exit(number);
    assert!(exit.cause.asked() && exit.status.success());
    assert!(primary.disconnect(id).unwrap_err().is_gone());
    primary.end();
}
