//! What no test of Node's looks at.

use std::{
    cell::Cell,
    collections::HashMap,
    fs,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use mio_cluster::{
    Cause, Cluster, Event, Hang, Recycle, Rollout, Shutdown, Signal, Worker, WorkerEvent,
    mio::{Events, Interest, Poll, Token},
};
use nix::{
    libc,
    sys::signal::{Signal as Posix, kill},
    unistd::pause,
};

use super::scenarios;
use crate::{
    harness::{Bench, descriptors, pid_of},
    stage::{Client, Place, Primary, ask, ask_all, idlers, serve, serve_patiently, serve_patiently_on},
};

scenarios!("beyond":
    crash_loop warns ["exited with code 7", "delayed start number"],
    count_under_sigkill warns ["was killed by SIGKILL"],
    busy_orphan seen by busy_orphan_from_outside,
    the_end_is_the_last_worker,
    shutdown_deadlines warns ["has not finished within 50ms", "has not ended within 50ms"],
    signals_to_the_primary seen by signals_to_the_primary_from_outside,
    descriptor_leaks warns ["was killed by SIGKILL", "delayed start number"],
    zombies warns ["was killed by SIGKILL"],
    rolling_restart warns ["exited with code 7", "rollout 2: aborted: slot 0: worker 5 exited with code 7"],
    balance,
    a_worker_that_hangs warns ["has not come back to its loop", "it hung"],
    limits_of_service,
);

/// A worker that dies at each start is restarted ever more slowly, one fork per delay, while the other one serves.
fn crash_loop(place: &Place) {
    let first = Duration::from_millis(10);
    let cluster = Cluster::new().listen(place.any()).workers(2).backoff(first, first * 4);
    let mut primary = Primary::start(cluster, |worker: Worker| {
        if worker.slot().index() == 1 {
            std::process::exit(7);
        }
        serve(worker)
    });
    let at = primary.listening(1);
    for (number, expected) in (1..).zip([10.0, 20.0, 40.0, 40.0]) {
        let delay = primary.find("backoff", |event| {
            let Event::Backoff { delay, deaths, .. } = event else { return None };
            (*deaths == number).then_some(*delay)
        });
        let millis = delay.as_secs_f64() * 1000.0;
        assert!(millis >= expected * 0.79 && millis <= expected * 1.21, "{number}: {delay:?}");
        assert_eq!(ask(at), "1");
    }
    assert_eq!((primary.count("fork"), primary.count("exit")), (5, 4));
    primary.stop();
}

/// Eight workers stay eight, whoever is killed and however often, and all of them serve.
fn count_under_sigkill(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(8), serve);
    let at = primary.all_ready()[0];
    let mut random: usize = 1;
    for round in 0..40 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let victim = primary.workers().nth((random >> 33) % 8).unwrap();
        kill(pid_of(victim.pid), Posix::SIGKILL).unwrap();
        assert_eq!(primary.exit(victim.id.as_u64()).cause, Cause::Own);
        primary.ready(9 + round);
        assert_eq!(primary.live().split(' ').count(), 8);
    }
    ask_all(at, 8);
    primary.stop();
}

/// A worker in a busy loop does not outlive a primary that is killed.
fn busy_orphan(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(1), |mut worker: Worker| {
        let _listener = worker.listen().unwrap();
        println!("spins {}", std::process::id());
        loop {
            std::hint::spin_loop();
        }
    });
    primary.all_ready();
    primary.end();
}

fn busy_orphan_from_outside(bench: &Bench) {
    let mut run = bench.start("busy_orphan @");
    run.first("spins");
    run.first("all_ready");
    run.dies_by(Posix::SIGKILL);
    // Waits until the worker is gone, too.
    run.end();
}

/// A cluster has ended when all of its workers have, not when the first has (as the callback of Node's `disconnect`).
fn the_end_is_the_last_worker(_place: &Place) {
    let mut primary = Primary::start(idlers().workers(2), |mut worker: Worker| -> mio_cluster::Result<()> {
        worker.is_draining();
        worker.ready()?;
        let waits = |worker: &mut Worker| match worker.slot().index() {
            0 => !worker.is_draining(),
            _ => !std::iter::from_fn(|| worker.next_event()).any(|event| matches!(event, WorkerEvent::Message(_))),
        };
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        poll.registry().register(&mut worker, Token(0), Interest::READABLE).unwrap();
        while waits(&mut worker) {
            worker.poll(&mut poll, &mut events, None).unwrap();
        }
        Ok(())
    });
    let workers = [1, 2].map(|id| primary.ready(id));
    let last = workers.iter().find(|worker| worker.slot.index() == 1).unwrap().id;
    primary.shutdown(Shutdown::Drain);
    assert!(primary.exit(3 - last.as_u64()).status.success());
    primary.look();
    assert!(!primary.is_finished() && primary.live() == format!("{last}:Draining"));
    primary.send(last, "you, too").unwrap();
    assert!(primary.exit(last.as_u64()).status.success());
    primary.end();
}

/// A worker that takes no notice of the ask nor of SIGTERM is killed when both deadlines have passed.
fn shutdown_deadlines(place: &Place) {
    let patience = Duration::from_millis(50);
    let cluster = Cluster::new().listen(place.any()).workers(1).drain_timeout(patience).terminate_timeout(patience);
    let mut primary = Primary::start(cluster, |mut worker: Worker| {
        worker.is_draining();
        signal_hook::flag::register(libc::SIGTERM, Arc::new(AtomicBool::new(false))).unwrap();
        let _listener = worker.listen().unwrap();
        loop {
            pause();
        }
    });
    primary.all_ready();
    primary.shutdown(Shutdown::Drain);
    let exit = primary.exit(1);
    assert_eq!((exit.status.signal(), exit.cause), (Some(Signal::KILL), Cause::Asked));
    primary.end();
}

/// TERM, or INT to the whole process group, ends in order: a client that is being served is served to its end.
fn signals_to_the_primary(place: &Place) {
    let cluster = Cluster::new().listen(place.any()).workers(2).signals(true);
    let mut primary = Primary::start(cluster, serve_patiently);
    primary.all_ready();
    primary.end();
}

fn signals_to_the_primary_from_outside(bench: &Bench) {
    for to_all in [false, true] {
        let mut run = bench.start("signals_to_the_primary @");
        let mut client = bench.connect(run.ready());
        assert!(client.ask("who").ends_with(" false"));
        if to_all {
            run.signal_group(Posix::SIGINT);
        } else {
            run.signal(Posix::SIGTERM);
        }
        run.fact("stopping");
        while !client.ask("who").ends_with(" true") {}
        drop(client);
        run.end_with(0);
        assert!(run.all("exit").iter().all(|exit| exit.how() == "code 0, asked"));
    }
}

/// After 300 deaths and restarts the primary has as many descriptors as before, and so has the worker.
fn descriptor_leaks(place: &Place) {
    let short = Duration::from_millis(1);
    let cluster = Cluster::new().listen(place.any()).workers(1).backoff(short, short);
    let mut primary = Primary::start(cluster, |mut worker: Worker| {
        worker.is_draining();
        let listener = worker.listen()?;
        worker.send(descriptors().len().to_string())?;
        serve_patiently_on(worker, listener)
    });
    primary.ready(1);
    let (before, in_the_worker) = (descriptors().len(), primary.text());
    for id in 1..=300 {
        kill(pid_of(primary.forked(id).pid), Posix::SIGKILL).unwrap();
        primary.ready(id + 1);
        assert_eq!(primary.text(), in_the_worker, "worker {}", id + 1);
    }
    assert_eq!(descriptors().len(), before);
    ask(primary.listening(301));
    primary.stop();
}

/// Twenty workers die at the same time: no zombie is left.
fn zombies(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(20), serve);
    primary.all_ready();
    let pids: Vec<u32> = primary.workers().map(|worker| worker.pid).collect();
    pids.iter().for_each(|pid| kill(pid_of(*pid), Posix::SIGKILL).unwrap());
    for id in 1..=20 {
        primary.exit(id);
        primary.ready(id + 20);
    }
    let this = std::process::id().to_string();
    let stats =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let children: Vec<String> = stats
        .filter_map(|stat| {
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.to_owned();
            (fields.next()? == this).then_some(state)
        })
        .collect();
    assert!(children.len() == 20 && !children.contains(&"Z".to_owned()), "{children:?}");
    primary.stop();
}

/// Every worker is replaced while somebody asks all the time and is answered each time; a release that does not start
/// replaces nobody.
fn rolling_restart(place: &Place) {
    let broken = Rc::new(Cell::new(false));
    let release = Rc::clone(&broken);
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), move |worker: Worker| {
        if release.get() {
            std::process::exit(7);
        }
        serve(worker)
    });
    let at = primary.all_ready()[0];
    roll(&mut primary, at, "done");
    for (old, new) in [(1, 3), (2, 4)] {
        assert_eq!(primary.exit(old).cause, Cause::Rollout);
        assert_eq!(primary.ready(new).slot, primary.forked(old).slot);
    }
    broken.set(true);
    roll(&mut primary, at, "aborted: slot 0: worker 5 exited with code 7");
    assert_eq!(primary.live(), "3:Ready 4:Ready");
    ask_all(at, 2);
    primary.stop();
}

fn roll(primary: &mut Primary, at: SocketAddr, how: &str) {
    let rollout = primary.rollout(Rollout::new().settle(Duration::ZERO)).unwrap();
    let ended = primary.count("rollout_ended") + 1;
    while primary.count("rollout_ended") < ended {
        ask(at);
        primary.look();
    }
    let result = primary.find("rollout_ended", |event| {
        let Event::RolloutEnded { id, result } = event else { return None };
        (*id == rollout).then(|| result.to_string())
    });
    assert!(result.starts_with(how), "{result}");
}

/// Of 400 short connections no one of four workers gets less than half of its share, nor twice as many.
fn balance(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(4), serve);
    let at = primary.all_ready()[0];
    let mut served: HashMap<String, u32> = HashMap::new();
    for _connection in 0..400 {
        *served.entry(ask(at)).or_default() += 1;
    }
    assert!(served.len() == 4 && served.values().all(|&count| (50..200).contains(&count)), "{served:?}");
    primary.stop();
}

/// One of two workers stands still. Whoever comes is served, also who waits in its queue, and it is replaced.
fn a_worker_that_hangs(place: &Place) {
    let hang = Hang::new().warn(Duration::from_millis(50)).kill(Duration::from_millis(300));
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2).hang(hang), serve);
    let at = primary.all_ready()[0];
    // Both are in their loops.
    ask_all(at, 2);
    kill(pid_of(primary.forked(1).pid), Posix::SIGSTOP).unwrap();
    // Half of them come to its queue.
    let mut clients: Vec<Client> = (0..40).map(|_client| Client::connect(at)).collect();
    let hung = |event: &Event| if let Event::Hung { worker, .. } = event { Some(worker.id.as_u64()) } else { None };
    assert_eq!(primary.find("hung", hung), 1);
    let exit = primary.exit(1);
    assert_eq!((exit.cause, exit.status.signal()), (Cause::Hung, Some(Signal::KILL)));
    primary.ready(3);
    assert!(clients.iter_mut().all(|client| client.ask() != "1"));
    while ask(at) != "3" {
        // Newcomers are led back to its successor.
        primary.look();
    }
    primary.stop();
}

/// A worker that has served so many clients is replaced, and no client notices.
fn limits_of_service(place: &Place) {
    let recycle = Recycle::new().connections(20);
    let cluster = Cluster::new().listen(place.any()).workers(2).recycle(recycle);
    let mut primary = Primary::start(cluster.rollout(Rollout::new().settle(Duration::ZERO)), serve);
    let at = primary.all_ready()[0];
    while (1..=2).any(|id| !primary.events_of(id).contains(&"exit".to_owned())) {
        ask(at);
        primary.look();
    }
    for id in 1..=2 {
        assert_eq!(primary.exit(id).cause, Cause::Recycled);
    }
    assert_eq!(primary.count("rollout_started"), 0);
    primary.stop();
}
