//! Rolling restarts: the successor first, and no client notices.

pub(crate) mod aborts;
pub(crate) mod kinds;
pub(crate) mod lingering;
pub(crate) mod midway;

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Fact, Run, cases, children, listening_sockets, open_descriptors};

cases!("rollouts":
    each_successor_is_ready_before_its_predecessor_leaves,
    both_serve_until_the_successor_has_settled,
    who_waits_is_served_by_the_successor,
    surge_is_how_many_start_at_once,
    canaries_go_first,
    slots_may_be_left_first,
    one_is_left_first_while_another_is_followed,
    the_only_slot_may_be_left_first,
    contradictory_plans_are_refused,
    sighup_takes_as_many_canaries_as_there_are_workers,
    workers_forked_by_the_program_are_replaced,
    manual_clusters_roll_too,
    slots_that_wait_are_tried_at_once,
    fifty_rollouts_leave_nothing_behind,
);

/// A cluster that obeys its console and signals; `release` names what its workers do.
pub(super) fn start(bench: &Bench, words: &str) -> Run {
    bench.start(&format!("cluster signals listen=@:0 worker=released {words}"))
}

pub(super) fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Waits for the end of a rollout; somebody asks all the time meanwhile, and has to be answered.
pub(super) fn ended(bench: &Bench, run: &mut Run, at: SocketAddr, id: u64) -> Fact {
    loop {
        if let Some(fact) = run.all("rollout_ended").into_iter().find(|fact| fact.get::<u64>("id") == id) {
            return fact;
        }
        bench.connect(at).worker();
        run.pass(Duration::ZERO);
    }
}

pub(super) fn is_done(bench: &Bench, run: &mut Run, at: SocketAddr, id: u64) {
    let end = ended(bench, run, at, id);
    assert_eq!(end.get::<String>("result"), "done", "{end:?}");
}

/// A rollout from the console, which has to be done.
fn rolls(bench: &Bench, run: &mut Run, at: SocketAddr, plan: &str) {
    run.tell(&format!("rollout {plan}"));
    let id = run.fact("rolls").rest().parse().unwrap();
    is_done(bench, run, at, id);
}

pub(super) fn leaves_for_a_successor(run: &mut Run, workers: impl IntoIterator<Item = u64>) {
    for id in workers {
        assert_eq!(run.known("exit", id).how(), "code 0, rollout", "worker {id}");
    }
}

fn each_successor_is_ready_before_its_predecessor_leaves(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=3 settle=20");
    let at = run.ready();
    let sockets = listening_sockets(at);
    run.signal(Signal::SIGHUP);
    is_done(bench, &mut run, at, 1);
    leaves_for_a_successor(&mut run, [1, 2, 3]);
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        assert!(run.comes_before(("ready", new), ("disconnect", old)), "{old} leaves before {new} is ready");
        assert_eq!(run.known("fork", new).get::<u64>("slot"), run.known("fork", old).get::<u64>("slot"));
    }
    // One successor at a time.
    assert!(run.comes_before(("ready", 4), ("fork", 5)) && run.comes_before(("ready", 5), ("fork", 6)));
    assert!(
        run.comes_before(("rollout_started", 1), ("fork", 4)) && run.comes_before(("ready", 6), ("rollout_ended", 1))
    );
    assert_eq!(listening_sockets(at), sockets, "the same sockets, with whoever waits behind them");
    bench.reaches(at, 4..=6);
    run.log("rollout 1: 3 workers to be replaced");
    run.log("rollout 1: done after");
    assert_eq!((run.all("fork").len(), run.logged("gives up")), (6, 0));
    stop(run);
}

/// Each serves one client at a time, so those who are held have different ones.
fn both_serve_until_the_successor_has_settled(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("rollout settle=60000");
    run.fact_of("ready", 2);
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:1:Ready 0:2:Ready");
    let mut clients = [bench.connect(at), bench.connect(at)];
    let mut answers = clients.each_mut().map(Client::worker);
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    drop(clients);
    stop(run);
}

fn who_waits_is_served_by_the_successor(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    let mut busy = bench.client_of(at, 1);
    let waiting: Vec<Client> = (0..20).map(|_| bench.connect(at)).collect();
    run.tell("rollout settle=0");
    for mut client in waiting {
        assert_eq!(client.worker(), 2);
    }
    assert_eq!(busy.worker(), 1, "its own client is served to the end");
    run.tell("workers");
    assert_eq!(run.fact("workers").rest(), "0:2:Ready 0:1:Draining");
    // As long as it looks at nothing but its client nobody knows that it accepts no more.
    assert!(run.all("rollout_ended").is_empty());
    drop(busy);
    leaves_for_a_successor(&mut run, [1]);
    is_done(bench, &mut run, at, 1);
    stop(run);
}

/// Successors that do not become ready show how many there are.
fn surge_is_how_many_start_at_once(bench: &Bench) {
    for (plan, most) in
        [("surge=1", 1), ("surge=3", 3), ("surge=9", 4), ("surge=3 canary=1", 1), ("surge=2 canary=3", 2)]
    {
        let mut run = start(bench, "workers=4");
        run.ready();
        run.tell("release idle");
        run.tell(&format!("rollout {plan}"));
        run.until("online", 4 + most);
        // A turn of the master later.
        run.tell("workers");
        let workers = run.fact("workers");
        assert_eq!(workers.rest().matches(":Online").count(), most, "{plan}: {workers:?}");
        assert_eq!(run.all("fork").len(), 4 + most, "{plan}");
        stop(run);
    }
}

/// All others at once, as soon as it is new.
fn canaries_go_first(bench: &Bench) {
    let mut run = start(bench, "workers=4");
    let at = run.ready();
    rolls(bench, &mut run, at, "canary=1 surge=3 settle=20");
    assert!(run.comes_before(("ready", 5), ("fork", 6)));
    assert!(run.comes_before(("fork", 8), ("ready", 6)));
    leaves_for_a_successor(&mut run, 1..=4);
    bench.reaches(at, 5..=8);
    stop(run);
}

/// Newcomers are led past the slot until it is filled again.
fn slots_may_be_left_first(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    rolls(bench, &mut run, at, "surge=0 unavailable=1 settle=0");
    for (old, new) in [(1, 3), (2, 4)] {
        leaves_for_a_successor(&mut run, [old]);
        assert!(run.comes_before(("exit", old), ("fork", new)));
    }
    assert!(run.comes_before(("ready", 3), ("disconnect", 2)));
    bench.reaches(at, [3, 4]);
    assert_eq!(run.all("fork").len(), 4);
    stop(run);
}

fn one_is_left_first_while_another_is_followed(bench: &Bench) {
    let mut run = start(bench, "workers=3");
    let at = run.ready();
    rolls(bench, &mut run, at, "surge=1 unavailable=1 settle=0");
    leaves_for_a_successor(&mut run, 1..=3);
    bench.reaches(at, 4..=6);
    assert_eq!(run.all("fork").len(), 6);
    stop(run);
}

/// There is nobody else to serve, so clients are refused for a moment; not those who wait already.
fn the_only_slot_may_be_left_first(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    let mut busy = bench.client_of(at, 1);
    let mut waiting = bench.connect(at);
    run.tell("rollout surge=0 unavailable=1 settle=0");
    run.fact("rolls");
    busy.worker();
    drop(busy);
    assert_eq!(waiting.worker(), 1);
    drop(waiting);
    assert_eq!(run.known("rollout_ended", 1).get::<String>("result"), "done");
    bench.reaches(at, [2]);
    stop(run);
}

fn contradictory_plans_are_refused(bench: &Bench) {
    let nothing = "rollout: surge(0) and max_unavailable(0) together allow no step";
    let canaries = "rollout: canary(3) is more than the 2 workers";
    for (words, text) in [("surge=0", nothing), ("canary=3", canaries)] {
        let mut run = start(bench, &format!("workers=2 {words}"));
        let result = run.fact("result");
        assert!(result.rest().starts_with("invalid_config") && result.rest().contains(text), "{result:?}");
        run.end_with(2);
    }
    let mut run = start(bench, "workers=2 on_reload");
    let at = run.ready();
    for (words, text) in [("surge=0", nothing), ("canary=3", canaries)] {
        run.tell(&format!("rollout {words}"));
        let refused = run.fact("refused");
        assert!(refused.rest().starts_with("invalid_config") && refused.rest().contains(text), "{refused:?}");
    }
    let busy = bench.client_of_each(at, [1, 2]);
    run.tell("stop");
    run.tell("rollout");
    assert!(run.fact("refused").rest().starts_with("gone rollout: the cluster is stopping"));
    drop(busy);
    run.end_with(0);
    let nothing_happened = ["reloads", "rollout_started", "rollout_ended"].iter().all(|name| run.all(name).is_empty());
    assert!(nothing_happened && run.all("fork").len() == 2);
}

/// The plan was made for more workers than there are by then.
fn sighup_takes_as_many_canaries_as_there_are_workers(bench: &Bench) {
    let mut run = start(bench, "workers=2 canary=2 settle=0");
    let at = run.ready();
    run.tell("scale 1");
    run.fact_of("exit", 2);
    run.signal(Signal::SIGHUP);
    is_done(bench, &mut run, at, 1);
    bench.reaches(at, [3]);
    run.tell("rollout canary=2");
    assert!(run.fact("refused").rest().contains("canary(2) is more than the 1 workers"));
    stop(run);
}

fn workers_forked_by_the_program_are_replaced(bench: &Bench) {
    let mut run = start(bench, "");
    let at = run.ready();
    run.tell("fork");
    run.fact_of("ready", 2);
    rolls(bench, &mut run, at, "settle=0");
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [3, 4]);
    stop(run);
}

/// Nothing is forked there but by the program; a rollout is the program's word.
fn manual_clusters_roll_too(bench: &Bench) {
    let mut run = start(bench, "manual");
    run.tell("rollout settle=0");
    run.fact("rolls");
    assert_eq!(run.fact("rollout_ended").get::<String>("result"), "done", "there is nobody to replace");
    for id in [1, 2] {
        run.tell("fork");
        run.fact_of("ready", id);
    }
    let at: SocketAddr = run.known("listening", 1).get("address");
    rolls(bench, &mut run, at, "settle=0");
    leaves_for_a_successor(&mut run, [1, 2]);
    bench.reaches(at, [3, 4]);
    for id in [3, 4] {
        run.tell(&format!("disconnect {id}"));
        run.fact_of("exit", id);
    }
    assert_eq!(run.fact("result").rest(), "ok");
    run.end_with(0);
}

/// What a slot waits for may be what the rollout brings.
fn slots_that_wait_are_tried_at_once(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 workers=4 worker=released backoff=60000,60000");
    let at = run.ready();
    run.tell("release fails_in_slot_1");
    run.expect("was killed by SIGKILL");
    run.expect("failed: no disk");
    run.expect("exited with code 1");
    run.expect("delayed start number");
    run.tell("kill 2 9");
    run.fact("backoff");
    // The release is no better: who is new already stays, and so do the others.
    run.tell("rollout settle=0");
    run.fact("rolls");
    run.expect("rollout 1: aborted");
    let end = ended(bench, &mut run, at, 1);
    assert_eq!((end.get::<String>("result"), end.get::<u64>("slot")), ("aborted".to_owned(), 1));
    bench.reaches(at, [7, 8, 9]);
    run.tell("release serve");
    rolls(bench, &mut run, at, "settle=0");
    let new = run.all("ready").split_off(7);
    assert_eq!(new.iter().map(|ready| ready.get("slot")).collect::<Vec<u64>>(), [0, 2, 3, 1], "those that serve first");
    bench.reaches(at, new.iter().map(|ready| ready.get("id")));
    stop(run);
}

fn fifty_rollouts_leave_nothing_behind(bench: &Bench) {
    let mut run = start(bench, "workers=2");
    let at = run.ready();
    let held = |id| bench.client_of(at, id).ask("descriptors");
    let before = (open_descriptors(run.pid()), children(run.pid()), held(1));
    for round in 1..=50 {
        rolls(bench, &mut run, at, "settle=0");
        // Or what is left of many generations would add up.
        leaves_for_a_successor(&mut run, [2 * round - 1, 2 * round]);
    }
    assert_eq!((open_descriptors(run.pid()), children(run.pid()), held(101)), before);
    assert_eq!((run.all("fork").len(), run.all("exit").len()), (102, 100));
    assert!(TcpStream::connect(at).is_ok());
    stop(run);
}
