//! Node's 2.1 and 2.2: identity, environment, start-up, settings.

use std::{
    cell::{Cell, RefCell},
    env,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    panic,
    path::Path,
    process,
    rc::Rc,
};

use mio_cluster::{Cluster, Master, Restart, State, Worker, is_master, is_worker};

use super::scenarios;
use crate::{
    harness::Bench,
    stage::{Client, Lent, Place, Primary, idle, idlers, serve},
};

scenarios!("identity":
    basic warns ["exited with code 43"],
    fork_env warns ["exited with code 1", "exited with code 2"],
    uncaught_exception seen by uncaught_exception_from_outside,
    cwd warns ["exited with code 1", "exited with code 2"],
    fork_stdio,
    setup_primary,
    setup_primary_cumulative warns ["was killed by SIGKILL"],
    setup_primary_emit,
    setup_primary_multiple,
);

/// A worker is one by birth, not by its environment; the first has id 1; each event comes once and in order, with the
/// state, the real address and the exit of that very process.
fn basic(place: &Place) {
    let before: Vec<_> = env::vars_os().collect();
    let cluster = Cluster::new().listen(place.any()).manual();
    let mut primary = Primary::start(cluster, move |mut worker: Worker| {
        assert!(env::vars_os().eq(before), "nothing in the environment makes it, or what it starts, a worker");
        assert!(is_worker() && !is_master() && worker.id().as_u64() == 1);
        let listener = worker.listen().unwrap();
        listener.accept_blocking().unwrap();
        process::exit(43)
    });
    assert!(is_master() && !is_worker());
    let id = primary.fork();
    let state = |primary: &Primary| primary.workers().next().map(|worker| worker.state);
    assert_eq!((id, state(&primary)), (1, Some(State::Starting)));
    let at = primary.listening(1);
    assert!(at.ip() == place.0 && at.port() != 0 && Some(at) == primary.addresses()[0].socket_addr(), "{at}");
    let forked = primary.forked(1);
    assert!([primary.online(1), primary.ready(1)] == [forked; 2] && state(&primary) == Some(State::Ready));
    Client::connect(at).closed();
    let exit = primary.exit(1);
    assert_eq!((exit.worker, exit.status.code(), exit.status.signal()), (forked, Some(43), None));
    assert_eq!(primary.events_of(1), ["fork", "online", "listening", "ready", "disconnect", "exit"]);
    assert_eq!(primary.live(), "");
    primary.end();
}

/// What the program sets before a fork reaches that worker, and changes neither the earlier ones nor itself.
fn fork_env(_place: &Place) {
    let setting = Rc::new(Cell::new(1));
    let inherited = Rc::clone(&setting);
    let mut primary = Primary::start(Cluster::new().manual(), move |_worker| {
        process::exit(inherited.replace(100));
    });
    for expected in 1..=2 {
        setting.set(expected);
        let id = primary.fork();
        assert_eq!(primary.exit(id).status.code(), Some(expected));
        assert_eq!(setting.get(), expected, "a worker has a copy");
    }
    primary.end();
}

/// The program's own panic hook, set in the primary, decides its exit code; its worker goes along.
fn uncaught_exception(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(1), serve);
    primary.all_ready();
    panic::set_hook(Box::new(|_panic| process::exit(42)));
    panic!("nobody catches this");
}

fn uncaught_exception_from_outside(bench: &Bench) {
    let mut run = bench.start("uncaught_exception @");
    run.fact("all_ready");
    run.dies_by_itself();
    run.end_with(42);
}

/// A worker begins in the primary's working directory, as that is at its fork.
fn cwd(_place: &Place) {
    let here = env::current_dir().unwrap();
    let mut primary = Primary::start(Cluster::new().manual(), move |_worker| {
        let now = env::current_dir().unwrap();
        process::exit(if now == here {
            1
        } else if now == Path::new("/") {
            2
        } else {
            3
        });
    });
    let id = primary.fork();
    assert_eq!(primary.exit(id).status.code(), Some(1));
    env::set_current_dir("/").unwrap();
    let id = primary.fork();
    assert_eq!(primary.exit(id).status.code(), Some(2));
    primary.end();
}

/// A pipe that was made before the fork works in both directions, and the worker still leaves with 0 when asked.
fn fork_stdio(_place: &Place) {
    let (here, there) = UnixStream::pair().unwrap();
    let lent = Lent::new(there);
    let borrowed = lent.share();
    let mut primary = Primary::start(idlers().workers(1), move |worker| {
        let there = borrowed.take();
        let mut line = String::new();
        BufReader::new(&there).read_line(&mut line)?;
        (&there).write_all(line.to_uppercase().as_bytes())?;
        idle(worker)
    });
    (&here).write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(&here).read_line(&mut line).unwrap();
    assert_eq!(line, "HELLO\n");
    primary.ready(1);
    let id = primary.id(1);
    primary.disconnect(id).unwrap();
    assert!(primary.exit(1).status.success());
    primary.end();
}

/// What the worker function captured reaches both workers unchanged, and there are as many as the settings say.
fn setup_primary(_place: &Place) {
    let arguments = vec!["one".to_owned(), "two".to_owned()];
    let mut primary = Primary::start(Cluster::new().workers(2).restart(Restart::Never), move |worker| {
        assert_eq!(arguments, ["one", "two"]);
        idle(worker)
    });
    primary.all_ready();
    assert_eq!((primary.count("fork"), &*primary.live()), (2, "1:Ready 2:Ready"));
    primary.stop();
}

/// A later setting changes what it names and nothing else.
fn setup_primary_cumulative(_place: &Place) {
    let cluster = Cluster::new().workers(1).restart(Restart::Never).max_workers(4).workers(3);
    let mut primary = Primary::start(cluster, idle);
    primary.all_ready();
    assert_eq!(primary.count("fork"), 3);
    primary.fork();
    assert!(Master::fork(&mut primary).unwrap_err().is_would_block(), "max_workers(4) still holds");
    let id = primary.id(1);
    primary.kill(id, mio_cluster::Signal::KILL).unwrap();
    primary.exit(1);
    primary.look();
    assert_eq!(primary.count("fork"), 4, "restart(Never) still holds");
    primary.stop();
}

/// The hook before a fork is called once for each of them, in the primary, with the place that the worker takes.
fn setup_primary_emit(_place: &Place) {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&calls);
    let primary_pid = process::id();
    let cluster = Cluster::new().manual().before_fork(move |slot| {
        assert_eq!(process::id(), primary_pid);
        kept.borrow_mut().push(slot.index());
    });
    let mut primary = Primary::start(cluster, idle);
    assert!(calls.borrow().is_empty());
    for expected in [vec![0], vec![0, 1], vec![0, 1, 2]] {
        primary.fork();
        assert_eq!(*calls.borrow(), expected);
    }
    primary.stop();
}

/// Three clusters, one after the other in one program, each with settings of its own.
fn setup_primary_multiple(_place: &Place) {
    for workers in [1, 3, 2] {
        let mut primary = Primary::start(Cluster::new().workers(workers), idle);
        primary.all_ready();
        assert_eq!(primary.workers().count(), workers);
        primary.stop();
    }
}
