//! Node's 2.5: kill, signals, ties to the primary.

use std::process;

use mio_cluster::{Cause, Cluster, Signal, Worker};
use nix::sys::signal::{Signal as Posix, kill};

use super::scenarios;
use crate::{
    harness::{Bench, pid_of},
    stage::{Place, Primary, ask, serve},
};

scenarios!("ties":
    kill_infinite_loop warns ["was killed by SIGTERM"],
    primary_kill seen by primary_kill_from_outside,
    primary_error seen by primary_error_from_outside,
    ipc_throw warns ["thread 'main'", "no such address", "panicked: ", "RUST_BACKTRACE=1"],
);

/// A worker in a busy loop dies of a plain SIGTERM; the exit has the signal and no code.
fn kill_infinite_loop(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), |mut worker: Worker| {
        let _listener = worker.listen().unwrap();
        loop {
            std::hint::spin_loop();
        }
    });
    let id = primary.fork();
    kill(pid_of(primary.ready(id).pid), Posix::SIGTERM).unwrap();
    let exit = primary.exit(id);
    assert_eq!((exit.status.code(), exit.status.signal(), exit.cause), (None, Some(Signal::TERM), Cause::Own));
    primary.end();
}

/// The primary exits on purpose, without a word to its workers: they are gone, too.
fn primary_kill(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), serve);
    ask(primary.all_ready()[0]);
    process::exit(3);
}

fn primary_kill_from_outside(bench: &Bench) {
    let mut run = bench.start("primary_kill @");
    run.fact("all_ready");
    run.dies_by_itself();
    run.end_with(3);
}

/// The primary dies of an uncaught panic: all its workers are gone.
fn primary_error(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(4), serve);
    ask(primary.all_ready()[0]);
    panic!("no disk");
}

fn primary_error_from_outside(bench: &Bench) {
    let mut run = bench.start("primary_error @");
    run.fact("all_ready");
    run.expect_panic("no disk");
    run.dies_by_itself();
    run.end_with(101);
}

/// A panic about an error of `listen`, in a worker that is leaving, wedges neither it nor the primary.
fn ipc_throw(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), |mut worker: Worker| {
        if worker.slot().index() == 0 {
            return serve(worker);
        }
        worker.listen().unwrap();
        worker.disconnect().unwrap();
        panic!("no such address: {}", worker.listen_on("nowhere").unwrap_err());
    });
    let exit = primary.exit(2);
    assert_eq!((exit.status.code(), exit.cause), (Some(101), Cause::Asked));
    assert_eq!(ask(primary.listening(1)), "1");
    primary.stop();
}
