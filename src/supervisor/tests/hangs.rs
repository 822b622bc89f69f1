//! Who hangs, what is told of it, and who is killed.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, Watched, exited, id, killed, millis, policy},
    rig::Input,
};
use crate::{
    config::{Hang, ReadyWhen, Restart, Settings},
    event::{Cause, Event},
    id::Signal,
};

/// Two workers that are ready; told of after 1 s, killed after 3 s.
fn two(hang: Hang) -> ByHand {
    let mut cluster = ByHand::start(Settings { hang, ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2).seat(1, |seat| seat.turns = 1).pass(millis(25));
    cluster.events();
    cluster.did();
    cluster
}

fn usual() -> Hang {
    Hang::new().warn(SECOND).kill(3 * SECOND)
}

fn hangs(cluster: &mut ByHand, worker: u64) {
    cluster.seat(worker, |seat| (seat.turns, seat.busy_since) = (5, 77)).pass(millis(25));
}

/// What was told of hangs: who hung, for how long, and whether that is over.
fn told(cluster: &mut ByHand) -> Vec<(u64, Duration, bool)> {
    let events = cluster.events();
    let told = events.into_iter().filter_map(|event| {
        if let Event::Hung { worker, since } = event {
            return Some((worker.id.as_u64(), since, false));
        }
        let Event::Recovered { worker, after } = event else { return None };
        Some((worker.id.as_u64(), after, true))
    });
    told.collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn it_is_told_of_once_and_when_it_goes_on() {
    let mut cluster = two(usual());
    hangs(&mut cluster, 1);
    cluster.pass(millis(975));
    assert_eq!(told(&mut cluster), []);
    cluster.pass(millis(25));
    assert_eq!(told(&mut cluster), [(1, SECOND, false)]);
    cluster.pass(millis(1500));
    assert_eq!(told(&mut cluster), []);
    cluster.seat(1, |seat| (seat.turns, seat.busy_since) = (6, 99)).pass(millis(250));
    assert!(matches!(told(&mut cluster)[..], [(1, _, true)]), "another turn");
    cluster.pass(millis(700));
    assert_eq!((told(&mut cluster), cluster.did()), (vec![], vec![]), "it is counted from the beginning");
}

#[test]
fn it_is_killed_and_replaced_and_its_door_is_handed_on() {
    let mut cluster = two(usual());
    hangs(&mut cluster, 1);
    cluster.pass(millis(3250));
    assert_eq!(cluster.did(), [Did::Signal(1, Signal::KILL)]);
    cluster.pass(SECOND);
    assert_eq!(cluster.did(), [], "once");
    cluster.dies(1, killed(9));
    assert_eq!((cluster.did(), cluster.shut()), (vec![Did::Spawn(0, 3)], vec![]));
    assert!(cluster.events().iter().any(|event| matches!(event, Event::Exit { cause: Cause::Hung, .. })));
    cluster.listens(3).pass(10 * SECOND);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn the_replacement_of_the_only_worker_takes_its_door_too() {
    let mut cluster = ByHand::start(Settings { hang: usual(), ..policy(1, Restart::Always) });
    cluster.listens(1);
    hangs(&mut cluster, 1);
    cluster.pass(millis(3250)).dies(1, killed(9)).listens(2).pass(10 * SECOND);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn first_it_may_be_asked_for_a_core() {
    let mut cluster = two(usual().abort(true));
    hangs(&mut cluster, 1);
    cluster.pass(millis(3250));
    assert_eq!(cluster.did(), [Did::Signal(1, Signal::ABRT)]);
    assert!(cluster.wait() > 9 * SECOND);
    assert_eq!(cluster.did(), [Did::Signal(1, Signal::KILL)]);
    cluster.dies(1, killed(6));
    assert!(cluster.events().iter().any(|event| matches!(event, Event::Exit { cause: Cause::Hung, .. })));
}

/// The signal may be caught.
#[test]
fn it_is_replaced_however_it_ends_then() {
    for (restart, followed) in [(Restart::Always, true), (Restart::OnFailure, true), (Restart::Never, false)] {
        let hang = usual().abort(true);
        let mut cluster = ByHand::start(Settings { hang, no_restart_on: vec![0], ..policy(2, restart) });
        cluster.listens(1).listens(2);
        hangs(&mut cluster, 1);
        cluster.pass(millis(3250));
        cluster.did();
        cluster.dies(1, exited(0));
        let expected = if followed { vec![Did::Spawn(0, 3)] } else { vec![] };
        assert_eq!(cluster.did(), expected, "{restart:?}");
    }
}

#[test]
fn never_killed_are_those_who_do_not_say_when_they_turn_and_where_nobody_is() {
    let mut cluster = two(usual());
    cluster.queue(1, |queue| queue.waits = true).pass(10 * SECOND);
    assert!(matches!(told(&mut cluster)[..], [(2, _, false)]), "it does not come to its door");
    assert_eq!(cluster.did(), []);
    let mut cluster = two(usual().never_kill());
    hangs(&mut cluster, 1);
    cluster.pass(100 * SECOND);
    assert_eq!((told(&mut cluster).len(), cluster.did()), (1, vec![]));
}

/// Its program has a limit of its own.
#[test]
fn who_does_not_come_is_called_before_it_is_accused_and_well_if_it_turns() {
    let mut cluster = two(usual());
    cluster.queue(0, |queue| queue.waits = true).seat(2, |seat| seat.is_sweeping = true).pass(millis(50));
    cluster.watched();
    for turns in 2..20 {
        cluster.pass(millis(500));
        assert_eq!(cluster.watched(), [Watched::Nudges(1)]);
        cluster.seat(1, |seat| seat.turns = turns).pass(millis(25));
    }
    assert_eq!((told(&mut cluster), cluster.did()), (vec![], vec![]));
    cluster.pass(millis(3000));
    assert_eq!(cluster.watched(), [Watched::Nudges(1)], "once");
    assert!(matches!(told(&mut cluster)[..], [(1, SECOND, false)]), "it does not turn");
    assert_eq!(cluster.did(), [Did::Signal(1, Signal::KILL)]);
}

#[test]
fn who_has_no_room_starts_or_leaves_does_not_hang() {
    let mut cluster = two(usual());
    cluster.seat(1, |seat| seat.is_short = true).queue(0, |queue| queue.waits = true).pass(10 * SECOND);
    assert_eq!((told(&mut cluster), cluster.did()), (vec![], vec![]), "full");
    let mut cluster = two(usual());
    cluster.feed(Input::Drain(id(1)));
    hangs(&mut cluster, 1);
    cluster.pass(10 * SECOND);
    assert_eq!((told(&mut cluster), cluster.did()), (vec![], vec![Did::Ask(1)]), "it leaves");
    let settings = Settings { hang: usual(), ready_when: ReadyWhen::Told, ..policy(1, Restart::Always) };
    let mut cluster = ByHand::start_at(1, settings, Forks::Work, 7);
    cluster.listens(1);
    hangs(&mut cluster, 1);
    cluster.pass(10 * SECOND).feed(Input::Ready(id(1))).pass(millis(500));
    assert_eq!(told(&mut cluster), [], "it starts, and has just become ready");
    cluster.pass(SECOND);
    assert_eq!(told(&mut cluster).len(), 1);
}

#[test]
fn a_master_that_was_stopped_accuses_nobody() {
    let mut cluster = two(usual());
    hangs(&mut cluster, 1);
    for _ in 0..20 {
        cluster.stands_still(10 * SECOND);
    }
    assert_eq!((told(&mut cluster), cluster.did()), (vec![], vec![]));
    for _ in 0..15 {
        cluster.stands_still(millis(100));
    }
    assert_eq!(told(&mut cluster).len(), 1, "a master whose CPU is busy looks less often");
}
