//! Node's 2.4: graceful disconnect.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    process,
};

use mio_cluster::{Cause, Cluster, Listen, Restart, Shutdown, Worker};

use super::scenarios;
use crate::{
    harness::descriptors,
    stage::{
        Client, Gate, Place, Primary, ask, ask_all, exists, idle, idlers, serve, serve_patiently, serve_patiently_on,
    },
};

scenarios!("disconnect":
    worker_disconnect,
    worker_wait_server_close,
    worker_no_exit,
    worker_forced_exit warns ["exited with code 0"],
    worker_disconnect_on_error,
    disconnect,
    disconnect_idle_worker,
    disconnect_with_no_workers,
    disconnect_before_exit,
    disconnect_exited_after_disconnect_race,
    disconnect_race,
    disconnect_leak,
    disconnect_unshared_tcp,
    concurrent_disconnect,
    process_disconnect warns ["exited with code 0"],
    shared_leak,
);

/// The primary asks; the worker hears it and does what it likes (exit code 42 proves it); it counts as asked, and the
/// process is gone.
fn worker_disconnect(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), |worker: Worker| {
        serve_patiently(worker).unwrap();
        process::exit(42)
    });
    let number = primary.fork();
    primary.ready(number);
    let id = primary.id(number);
    primary.disconnect(id).unwrap();
    let exit = primary.exit(number);
    assert_eq!((exit.status.code(), exit.status.signal(), exit.cause), (Some(42), None, Cause::Asked));
    assert_eq!(primary.events_of(number)[4..], ["disconnect", "exit"]);
    assert!(!exists(exit.worker.pid));
    primary.end();
}

/// The channel closes only after the server has, and that waits for its last client.
fn worker_wait_server_close(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), serve_patiently);
    let number = primary.fork();
    let mut client = Client::connect(primary.listening(number));
    assert_eq!(client.ask(), "1 false");
    let id = primary.id(number);
    primary.disconnect(id).unwrap();
    while client.ask() != "1 true" {}
    primary.look();
    assert_eq!(primary.count("disconnect") + primary.count("exit"), 0, "a client is still served");
    drop(client);
    primary.disconnected(number);
    assert!(primary.exit(number).cause.asked());
    primary.end();
}

/// A worker that has disconnected lives on until its outgoing connection ends.
fn worker_no_exit(place: &Place) {
    let server = TcpListener::bind(place.any()).unwrap();
    let at = server.local_addr().unwrap();
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), move |worker: Worker| {
        let mut outgoing = TcpStream::connect(at).unwrap();
        serve_patiently(worker).unwrap();
        assert_eq!(outgoing.read(&mut [0]).unwrap(), 0);
    });
    let number = primary.fork();
    primary.ready(number);
    let (connection, _) = server.accept().unwrap();
    let id = primary.id(number);
    primary.disconnect(id).unwrap();
    let worker = primary.disconnected(number);
    primary.look();
    assert!(exists(worker.pid) && primary.count("exit") == 0);
    drop(connection);
    let exit = primary.exit(number);
    assert!(exit.cause.asked() && exit.status.success());
    primary.end();
}

/// After an ask the worker ends when and how it likes. One that only cuts its channel is not forced out either: it
/// ends by itself, which is not an asked end, and is replaced.
fn worker_forced_exit(_place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(idlers().workers(1), move |mut worker: Worker| {
        if worker.id().as_u64() == 1 {
            worker.ready().unwrap();
            drop(worker);
            return inside.wait();
        }
        idle(worker).unwrap();
        inside.wait();
        process::exit(42)
    });
    let first = primary.disconnected(1);
    primary.look();
    assert!(exists(first.pid) && primary.count("exit") == 0);
    gate.open();
    let exit = primary.exit(1);
    assert_eq!((exit.status.code(), exit.cause), (Some(0), Cause::Own));
    primary.ready(2);
    let id = primary.id(2);
    primary.disconnect(id).unwrap();
    gate.open();
    let exit = primary.exit(2);
    assert_eq!((exit.status.code(), exit.cause), (Some(42), Cause::Asked));
    primary.end();
}

/// A worker whose `listen` has failed can still be asked to leave, and exits 0.
fn worker_disconnect_on_error(place: &Place) {
    let mut primary = Primary::start(idlers().listen(place.any()).manual(), |mut worker: Worker| {
        assert!(worker.listen_on("nowhere").unwrap_err().is_invalid_config());
        idle(worker)
    });
    let number = primary.fork();
    primary.ready(number);
    let id = primary.id(number);
    primary.disconnect(id).unwrap();
    let exit = primary.exit(number);
    assert!(exit.cause.asked() && exit.status.success() && primary.count("listening") == 0);
    primary.end();
}

/// Eight workers with two servers each all answer; the whole cluster leaves; and all of that again in the same program
/// at the same addresses.
fn disconnect(place: &Place) {
    let mut at = [place.any(), place.any()];
    for _cycle in 0..2 {
        let [a, b] = at.map(Listen::from);
        let cluster = Cluster::new().listen(a.name("a")).listen(b.name("b")).workers(8);
        let mut primary = Primary::start(cluster, serve);
        let real = primary.all_ready();
        at = [real[0], real[1]];
        at.into_iter().for_each(|at| ask_all(at, 8));
        assert_eq!(primary.count("listening"), 16);
        primary.stop();
        assert!(at.iter().all(|at| TcpStream::connect(at).is_err()));
    }
}

/// Workers that never listened leave when asked, and afterwards nobody lives.
fn disconnect_idle_worker(_place: &Place) {
    let mut primary = Primary::start(idlers().manual(), idle);
    for id in 1..=2 {
        primary.fork();
        primary.ready(id);
    }
    primary.shutdown(Shutdown::Drain);
    assert!([1, 2].into_iter().all(|id| primary.exit(id).cause.asked() && primary.exit(id).status.success()));
    assert_eq!(primary.live(), "");
    primary.end();
}

/// To stop a cluster without workers works, and its end comes as an event, not inside the call.
fn disconnect_with_no_workers(_place: &Place) {
    let mut primary = Primary::start(Cluster::new().manual(), idle);
    primary.shutdown(Shutdown::Drain);
    assert_eq!(primary.count("stopping"), 0);
    primary.look();
    assert_eq!(primary.count("stopping"), 1);
    primary.end();
}

/// To stop all, and to ask one again, while one has been asked and is not gone yet: nothing fails.
fn disconnect_before_exit(place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), move |mut worker: Worker| {
        if worker.slot().index() == 1 {
            return serve_patiently(worker);
        }
        worker.listen()?;
        worker.disconnect()?;
        drop(worker);
        inside.wait();
        Ok(())
    });
    primary.disconnected(1);
    primary.listening(2);
    let id = primary.id(1);
    primary.disconnect(id).unwrap();
    primary.shutdown(Shutdown::Drain);
    assert!(primary.exit(2).cause.asked() && primary.count("exit") == 1);
    gate.open();
    let exit = primary.exit(1);
    assert!(exit.cause.asked() && exit.status.success());
    primary.end();
}

/// A worker that says that it leaves, and exits at once, counts as asked every time.
fn disconnect_exited_after_disconnect_race(_place: &Place) {
    let mut primary = Primary::start(Cluster::new().manual(), |mut worker: Worker| {
        worker.disconnect().unwrap();
        process::exit(0)
    });
    for _round in 0..30 {
        let id = primary.fork();
        assert_eq!(primary.exit(id).cause, Cause::Asked, "worker {id}");
    }
    primary.end();
}

/// One worker leaves while another one is just coming: both exit 0.
fn disconnect_race(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), serve);
    let first = primary.fork();
    primary.ready(first);
    let second = primary.fork();
    let id = primary.id(first);
    primary.disconnect(id).unwrap();
    assert!(primary.exit(first).status.success());
    primary.ready(second);
    let id = primary.id(second);
    primary.disconnect(id).unwrap();
    let exit = primary.exit(second);
    assert!(exit.status.success() && exit.cause.asked());
    primary.end();
}

/// Asked right after its fork, a worker still has its disconnect and its exit, and nothing leaks.
fn disconnect_leak(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), serve_patiently);
    let before = descriptors().len();
    for _round in 0..20 {
        let id = primary.master_fork();
        primary.disconnect(id).unwrap();
        let exit = primary.exit(id.as_u64());
        // One that has not got as far as to hear it dies of the SIGTERM that follows.
        assert!(exit.cause.asked());
        assert_eq!(primary.events_of(id.as_u64()).iter().filter(|name| *name == "disconnect").count(), 1);
    }
    assert_eq!(descriptors().len(), before);
    primary.end();
}

/// To ask a worker that listens nowhere is no trouble for the one that does.
fn disconnect_unshared_tcp(place: &Place) {
    let mut primary = Primary::start(idlers().listen(place.any()).manual(), |worker: Worker| {
        if worker.slot().index() == 0 { serve(worker).map_err(Into::into) } else { idle(worker) }
    });
    let (first, second) = (primary.fork(), primary.fork());
    primary.ready(second);
    let mut client = Client::connect(primary.listening(first));
    assert_eq!(client.ask(), "1");
    let id = primary.id(second);
    primary.disconnect(id).unwrap();
    assert!(primary.exit(second).status.success());
    assert_eq!((client.ask(), ask(primary.listening(first))), ("1".to_owned(), "1".to_owned()));
    drop(client);
    primary.stop();
}

/// Everybody is told by everybody at once, again and again, that it is time to go: all exit 0.
fn concurrent_disconnect(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(8), |mut worker: Worker| {
        // From now on it can be asked.
        worker.is_draining();
        let listener = worker.listen()?;
        while let Some((client, _peer)) = listener.accept_blocking()? {
            drop(client);
            (0..3).try_for_each(|_| worker.disconnect())?;
        }
        Ok::<(), std::io::Error>(())
    });
    let at = primary.all_ready()[0];
    for _round in 0..4 {
        // Whoever gets it says that it leaves.
        let _client = TcpStream::connect(at);
        for id in 1..=8 {
            let id = primary.id(id);
            let asked = primary.disconnect(id);
            assert!(asked.is_ok() || asked.is_err_and(|error| error.is_gone()));
        }
        primary.shutdown(Shutdown::Drain);
    }
    for id in 1..=8 {
        let exit = primary.exit(id);
        assert!(exit.status.success() && exit.cause.asked(), "worker {id}: {} {:?}", exit.status, exit.cause);
    }
    primary.end();
}

/// A worker that cuts its channel after it has listened, and returns, exits 0 and by no signal.
fn process_disconnect(place: &Place) {
    let cluster = Cluster::new().listen(place.any()).workers(1).restart(Restart::OnFailure);
    let mut primary = Primary::start(cluster, |mut worker: Worker| {
        let listener = worker.listen().unwrap();
        drop(worker);
        drop(listener);
    });
    primary.listening(1);
    let exit = primary.exit(1);
    assert_eq!((exit.status.code(), exit.status.signal(), exit.cause), (Some(0), None, Cause::Own));
    primary.end();
}

/// Two workers share an address; both are asked while a client is connected; both exit 0 and nothing leaks.
fn shared_leak(place: &Place) {
    let before = descriptors().len();
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), |mut worker: Worker| {
        worker.is_draining();
        let listener = worker.listen()?;
        serve_patiently_on(worker, listener)
    });
    let mut client = Client::connect(primary.all_ready()[0]);
    let served_by: u64 = client.ask().split(' ').next().unwrap().parse().unwrap();
    for id in 1..=2 {
        let id = primary.id(id);
        primary.disconnect(id).unwrap();
    }
    assert!(primary.exit(3 - served_by).status.success());
    assert!(!client.ask().is_empty());
    drop(client);
    assert!(primary.exit(served_by).status.success());
    primary.end();
    assert_eq!(descriptors().len(), before);
}
