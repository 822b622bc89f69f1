//! Workers that have served for long enough, and their successors.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, Told, exited, id, killed, manual, policy, ready},
    rig::Input,
};
use crate::{
    config::{Recycle, Restart, Rollout, Settings},
    event::{Cause, Event, Shutdown, State},
    id::Signal,
    supervisor::{Limits, Note, SpawnFailure, Surrender, Worn},
};

fn three() -> ByHand {
    ready(3, policy(3, Restart::Always))
}

fn worn(worker: u64) -> Input {
    Input::Worn(id(worker), ENOUGH)
}

/// How workers have ended since the last look.
fn ends(cluster: &mut ByHand) -> Vec<(u64, Cause)> {
    let events = cluster.events();
    let is_rollout = |event: &Event| matches!(event, Event::RolloutStarted(_) | Event::RolloutEnded { .. });
    assert!(!events.iter().any(is_rollout), "nobody has asked for one");
    let end =
        |event| if let Event::Exit { worker, cause, .. } = event { Some((worker.id.as_u64(), cause)) } else { None };
    events.into_iter().filter_map(end).collect()
}

/// For how long each worker is put off.
fn put_off(cluster: &mut ByHand) -> Vec<Duration> {
    let put_off = |note| match note {
        Note::PutOff { again, .. } => Some(again),
        Note::Worn(_) => None,
    };
    cluster.notes().into_iter().filter_map(put_off).collect()
}

const ENOUGH: Worn = Worn::Connections(2000);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn its_successor_is_ready_for_a_second_before_it_is_asked() {
    let mut cluster = three();
    cluster.feed(worn(2));
    assert_eq!((cluster.did(), cluster.notes()), (vec![Did::Spawn(1, 4)], vec![Note::Worn(ENOUGH)]));
    cluster.listens(4);
    assert_eq!(cluster.wait(), SECOND, "both serve meanwhile");
    assert_eq!(cluster.did(), [Did::Ask(2)]);
    cluster.dies(2, exited(0));
    assert_eq!(ends(&mut cluster), [(2, Cause::Recycled)]);
    assert_eq!((cluster.did(), cluster.shut(), cluster.waits()), (vec![], vec![], false));
}

#[test]
fn one_at_a_time_and_the_oldest_first() {
    let mut cluster = three();
    cluster.dies(1, killed(9)).listens(4);
    cluster.feed_at_once(&[worn(4), worn(3), worn(2), worn(3)]);
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(1, 5)]);
    cluster.listens(5).wait();
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Spawn(2, 6)]);
    cluster.listens(6).wait();
    assert_eq!(cluster.did(), [Did::Ask(3), Did::Spawn(0, 7)], "slot 0 comes last: its worker is the youngest");
}

#[test]
fn nobody_is_worn_who_does_not_have_a_slot_and_serves_there() {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.did();
    cluster.listens(2).feed(worn(1));
    assert_eq!(cluster.did(), [], "it is not ready");
    cluster.listens(1).feed(Input::Rollout(Rollout::new())).listens(3).feed(worn(3));
    cluster.feed(Input::Drain(id(2))).feed(worn(2)).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 3), Did::Ask(2), Did::Ask(1)], "a successor, and one that leaves");
    cluster.feed(worn(3));
    assert_eq!(cluster.did(), [], "now it is, but a rollout is under way");
    cluster.dies(1, exited(0)).dies(2, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)]);
}

#[test]
fn by_its_age_less_a_share_of_its_own() {
    let rule = Recycle::new().age(Duration::from_secs(100));
    let mut cluster = ready(3, Settings { recycle: rule, ..policy(3, Restart::Always) });
    let first = cluster.wait();
    assert!((80..100).contains(&first.as_secs()), "{first:?}");
    assert_eq!(cluster.notes(), [Note::Worn(Worn::Age(first))]);
    let spawned = cluster.did();
    assert!(matches!(spawned[..], [Did::Spawn(_, 4)]), "the others are not as old yet: {spawned:?}");
}

#[test]
fn limits_less_a_share() {
    let rule = Recycle::new().connections(1000).requests(7).memory(1 << 30);
    let (whole, least) = (Limits::new(&rule, 0.0), Limits::new(&rule, 1.0));
    assert_eq!((whole.worn_by(999, 6), whole.worn_by(1000, 7)), (None, Some(Worn::Connections(1000))));
    assert_eq!((least.worn_by(799, 5), least.worn_by(800, 5)), (None, Some(Worn::Connections(800))));
    assert_eq!((least.worn_by(0, 6), Limits::new(&rule, 0.9).worn_by(0, 5)), (Some(Worn::Requests(6)), None));
    assert_eq!(least.worn_by_memory((1 << 30) - 1), None, "which is looked at seldom enough");
    assert_eq!(least.worn_by_memory(1 << 30), Some(Worn::Memory(1 << 30)));
    assert_eq!(Limits::new(&Recycle::new(), 0.5).worn_by(u64::MAX, u64::MAX), None);
}

#[test]
fn reasons_are_plain_words() {
    let reasons =
        [ENOUGH, Worn::Requests(10_007), Worn::Age(Duration::from_millis(86_400_040)), Worn::Memory(513 << 20)];
    let words = ["has served 2000 connections", "has answered 10007 requests", "has run for 86400.0s", "has 513 MiB"];
    for (reason, words) in reasons.iter().zip(words) {
        assert!(reason.to_string().starts_with(words), "{reason}");
    }
}

// Successors that fail.

#[test]
fn a_successor_that_fails_leaves_it_in_service_and_the_next_attempt_waits() {
    let mut cluster = three();
    cluster.feed(worn(1)).dies(4, exited(1));
    let first = put_off(&mut cluster);
    assert!(matches!(first[..], [delay] if (80..=120).contains(&delay.as_millis())), "{first:?}");
    assert_eq!((cluster.wait(), cluster.did()), (first[0], vec![Did::Spawn(0, 4), Did::Spawn(0, 5)]));
    assert_eq!(cluster.wait(), Duration::from_secs(60), "which is never ready");
    assert_eq!(cluster.did(), [Did::Signal(5, Signal::KILL)]);
    let second = put_off(&mut cluster);
    assert!(matches!(second[..], [delay] if (160..=240).contains(&delay.as_millis())), "{second:?}");
    cluster.dies(5, killed(9)).wait();
    cluster.listens(6).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 6), Did::Ask(1)]);
    assert_eq!(ends(&mut cluster), [(4, Cause::Own), (5, Cause::NotReady)]);
}

#[test]
fn while_one_is_put_off_others_have_their_turn() {
    let mut cluster = three();
    cluster.feed_at_once(&[worn(1), worn(2)]).dies(4, exited(1));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(1, 5)]);
    cluster.listens(5).wait();
    assert_eq!(cluster.did(), [], "its time comes while the other one settles");
    cluster.wait();
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Spawn(0, 6)]);
}

#[test]
fn what_cannot_be_forked_is_tried_later() {
    for failure in [SpawnFailure::Threads, SpawnFailure::Refused] {
        let mut cluster = three();
        cluster.forks(Forks::Fail(failure)).feed(worn(1));
        assert_eq!(put_off(&mut cluster).len(), 1, "{failure:?}");
        cluster.forks(Forks::Work).wait();
        assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(0, 5)]);
        assert!(cluster.backoff().is_none(), "its slot is not empty");
    }
}

#[test]
fn a_successor_that_leaves_by_itself_is_none() {
    let mut cluster = three();
    cluster.feed(worn(1)).listens(4).feed(Input::Leaving(id(4)));
    assert_eq!((cluster.did(), put_off(&mut cluster).len()), (vec![Did::Spawn(0, 4), Did::Ask(4)], 1));
    cluster.dies(4, exited(0));
    assert_eq!(ends(&mut cluster), [(4, Cause::Recycled)]);
}

// Something else happens meanwhile.

#[test]
fn a_worker_that_dies_leaves_its_slot_to_the_successor_that_is_on_its_way() {
    let mut cluster = three();
    cluster.feed_at_once(&[worn(1), worn(2)]).dies(1, killed(11));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)], "nobody else need be forked");
    cluster.listens(4);
    assert_eq!((cluster.wait(), cluster.did()), (SECOND, vec![Did::Spawn(1, 5)]));
    assert_eq!(ends(&mut cluster), [(1, Cause::Own)]);
}

#[test]
fn a_rollout_comes_first_and_replaces_those_that_are_worn_too() {
    let mut cluster = three();
    cluster.feed_at_once(&[worn(1), worn(2)]).listens(4).feed(Input::Rollout(Rollout::new()));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)], "the step that was begun comes to its end");
    cluster.wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(0, 5)]);
    cluster.dies(1, exited(0)).listens(5).wait();
    cluster.dies(4, exited(0)).listens(6).wait();
    cluster.listens(7).wait();
    assert_eq!(cluster.did(), [Did::Ask(4), Did::Spawn(1, 6), Did::Ask(2), Did::Spawn(2, 7), Did::Ask(3)]);
    cluster.dies(2, exited(0)).dies(3, exited(0));
    assert_eq!((cluster.rollouts(), cluster.waits()), (vec![Told::Started(1), Told::Done(1)], false));
}

#[test]
fn a_worker_that_is_worn_during_a_rollout_waits_for_its_end() {
    let mut cluster = ready(2, policy(2, Restart::Always));
    cluster.feed(Input::Rollout(Rollout::new())).listens(3).wait();
    cluster.feed(worn(3)).listens(4).wait();
    cluster.dies(1, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(0, 3), Did::Ask(1), Did::Spawn(1, 4), Did::Ask(2)]);
    cluster.dies(2, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1)]);
    assert_eq!(cluster.did(), [Did::Spawn(0, 5)]);
}

#[test]
fn a_slot_that_is_left_needs_no_successor() {
    for leaves in [Input::Scale(1), Input::Drain(id(2)), Input::Leaving(id(2))] {
        let mut cluster = ready(2, policy(2, Restart::Always));
        cluster.feed(worn(2)).listens(3).feed(leaves);
        assert_eq!(cluster.did(), [Did::Spawn(1, 3), Did::Ask(3), Did::Ask(2)], "{leaves:?}");
        cluster.dies(2, exited(0)).dies(3, exited(0));
        let reason = if matches!(leaves, Input::Scale(_)) { Cause::Scaled } else { Cause::Asked };
        assert_eq!(ends(&mut cluster), [(2, reason), (3, Cause::Recycled)]);
        assert!(!cluster.pass(Duration::from_secs(1)).waits(), "siblings have taken who waited");
    }
}

#[test]
fn a_stop_ends_it() {
    let mut cluster = three();
    cluster.feed_at_once(&[worn(1), worn(2)]).listens(4).feed(Input::Stop(Shutdown::Drain, None));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Ask(1), Did::Ask(4), Did::Ask(2), Did::Ask(3)]);
    cluster.all_die();
    assert!(cluster.end().is_some());
}

#[test]
fn no_more_linger_than_the_cluster_allows() {
    let settings = Settings { max_lingering: Some(1), ..policy(3, Restart::Always) };
    let mut cluster = ready(3, settings);
    cluster.feed_at_once(&[worn(1), worn(2)]).listens(4).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Ask(1)], "worker 1 has clients, so worker 2 serves on");
    cluster.dies(1, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(1, 5)]);
}

// Without room for one worker more.

fn without_surge() -> ByHand {
    let plan = Rollout::new().surge(0).max_unavailable(3);
    ready(3, Settings { rollout: plan, ..policy(3, Restart::Always) })
}

#[test]
fn where_there_is_no_room_beside_it_the_worker_leaves_first() {
    let mut cluster = without_surge();
    cluster.feed_at_once(&[worn(1), worn(2)]);
    assert_eq!((cluster.did(), cluster.notes()), (vec![Did::Ask(1)], vec![Note::Worn(ENOUGH)]), "one at a time");
    cluster.feed(Input::ListenerClosed(id(1), 0));
    assert_eq!(cluster.shut(), [(0, 0, Surrender::Left)]);
    cluster.dies(1, exited(0)).listens(4).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Ask(2)]);
    assert_eq!(ends(&mut cluster), [(1, Cause::Recycled)]);
}

#[test]
fn there_nobody_else_is_touched_while_the_slot_has_no_worker_that_has_proved_itself() {
    let mut cluster = without_surge();
    cluster.feed_at_once(&[worn(1), worn(2)]).dies(1, exited(0)).dies(4, exited(1));
    cluster.wait();
    cluster.dies(5, exited(1)).wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(0, 4), Did::Spawn(0, 5), Did::Spawn(0, 6)]);
    cluster.listens(6);
    assert_eq!((cluster.wait(), cluster.did()), (SECOND, vec![Did::Ask(2)]));
    assert_eq!(cluster.who()[0], (0, 6, State::Ready));
}

#[test]
fn in_a_manual_cluster_too() {
    let mut cluster = ByHand::start(manual(4));
    cluster.feed(Input::Fork).feed(Input::Fork).listens(1).listens(2).feed(worn(2)).listens(3).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 1), Did::Spawn(1, 2), Did::Spawn(1, 3), Did::Ask(2)]);
}
