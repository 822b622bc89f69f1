//! The rolling restart, step by step, and each way in which it ends.

mod ends;

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Told, exited, id, killed, manual, millis, policy, ready},
    rig::Input,
};
use crate::{
    config::{Backoff, Restart, Rollout, Settings},
    event::{Event, Shutdown, State},
    id::Signal,
    supervisor::Surrender,
};

fn three() -> ByHand {
    ready(3, policy(3, Restart::Always))
}

/// A start that failed is tried again after a day.
fn patient(workers: usize) -> Settings {
    let day = Duration::from_secs(86_400);
    Settings { backoff: Backoff { first: day, most: day }, ..policy(workers, Restart::Always) }
}

fn roll(plan: Rollout) -> Input {
    Input::Rollout(plan)
}

/// One after the other, one second each.
fn usual() -> Rollout {
    Rollout::new()
}

fn closed(worker: u64) -> Input {
    Input::ListenerClosed(id(worker), 0)
}

fn term(worker: u64) -> Did {
    Did::Signal(worker, Signal::TERM)
}

const SECOND: Duration = Duration::from_secs(1);

// Step by step.

#[test]
fn each_successor_is_ready_for_a_second_before_its_predecessor_is_asked() {
    let mut cluster = three();
    cluster.feed(roll(usual()));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)]);
    cluster.pass(SECOND);
    assert_eq!(cluster.did(), [], "it is not ready yet");
    cluster.listens(4);
    assert_eq!(cluster.wait(), SECOND, "both serve meanwhile");
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(1, 5)]);
    assert_eq!(cluster.who()[..2], [(0, 4, State::Ready), (0, 1, State::Draining)]);
    cluster.feed(closed(1)).dies(1, exited(0)).listens(5).wait();
    cluster.feed(closed(2)).dies(2, exited(0)).listens(6).wait();
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Spawn(2, 6), Did::Ask(3)]);
    cluster.feed(closed(3));
    assert_eq!(cluster.rollouts(), [Told::Started(1)], "worker 3 still answers some clients");
    cluster.dies(3, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Done(1)]);
    assert_eq!(cluster.shut(), [], "every socket went from hand to hand");
}

#[test]
fn it_does_not_wait_for_old_workers_that_linger_but_for_those_that_take_newcomers() {
    let mut cluster = ready(2, policy(2, Restart::Always));
    cluster.feed(roll(usual().surge(2))).listens(3).listens(4).wait();
    cluster.feed(closed(1)).pass(10 * SECOND);
    assert_eq!(cluster.rollouts(), [Told::Started(1)], "worker 2 has yet to hear that it leaves");
    cluster.feed(closed(2));
    assert_eq!(cluster.rollouts(), [Told::Done(1)]);
    assert_eq!(cluster.living(), 4);
}

#[test]
fn as_many_at_a_time_as_the_plan_says() {
    let mut cluster = three();
    cluster.feed(roll(usual().surge(2)));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(1, 5)]);
    cluster.listens(5).wait();
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Spawn(2, 6)], "the one that is ready first makes room");
}

#[test]
fn without_room_for_one_more_the_worker_leaves_first() {
    let mut cluster = three();
    cluster.feed(roll(usual().surge(0).max_unavailable(1)));
    assert_eq!(cluster.did(), [Did::Ask(1)]);
    cluster.feed(closed(1));
    assert_eq!(cluster.shut(), [(0, 0, Surrender::Left)], "clients are not left waiting");
    cluster.dies(1, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)]);
    cluster.listens(4);
    assert_eq!((cluster.wait(), cluster.did()), (SECOND, vec![Did::Ask(2)]));
}

#[test]
fn nobody_else_is_touched_before_the_canary_has_proved_itself() {
    let mut cluster = three();
    cluster.feed(roll(usual().surge(3).canary(1).settle(30 * SECOND)));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)]);
    cluster.listens(4);
    assert_eq!(cluster.wait(), 30 * SECOND);
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(1, 5), Did::Spawn(2, 6)]);
}

#[test]
fn no_more_linger_than_the_cluster_allows() {
    let settings =
        Settings { max_lingering: Some(1), linger_timeout: Some(600 * SECOND), ..policy(3, Restart::Always) };
    let mut cluster = ready(3, settings);
    cluster.feed(roll(usual())).listens(4).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Ask(1)], "worker 1 has clients, so worker 5 waits");
    assert_eq!(cluster.wait(), 600 * SECOND, "and for so long, if need be");
    assert_eq!(cluster.did(), [term(1)]);
    cluster.dies(1, killed(15));
    assert_eq!(cluster.did(), [Did::Spawn(1, 5)]);
}

#[test]
fn a_plan_that_contradicts_itself_or_the_number_of_workers_is_refused() {
    let mut cluster = three();
    for plan in [usual().surge(0), usual().canary(4)] {
        cluster.feed(roll(plan));
    }
    cluster.feed(Input::Scale(2)).feed(roll(usual().canary(3)));
    assert_eq!(cluster.rollouts(), []);
    cluster.feed(Input::Stop(Shutdown::Drain, None)).feed(roll(usual()));
    assert_eq!(cluster.rollouts(), []);
}

#[test]
fn a_manual_cluster_keeps_its_slots() {
    let mut cluster = ByHand::start(manual(4));
    cluster.feed(Input::Fork).feed(Input::Fork).listens(1).listens(2).did();
    cluster.feed(roll(usual().surge(9))).listens(3).listens(4).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 3), Did::Spawn(1, 4), Did::Ask(1), Did::Ask(2)]);
    cluster.dies(1, exited(0)).dies(2, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1)]);
}

#[test]
fn where_nobody_is_there_is_nothing_to_do() {
    let mut cluster = ByHand::start(manual(4));
    cluster.feed(roll(usual()));
    assert_eq!((cluster.rollouts(), cluster.did()), (vec![Told::Started(1), Told::Done(1)], vec![]));
}

// Workers that come and go meanwhile.

#[test]
fn a_worker_that_dies_leaves_its_slot_to_the_successor_that_is_on_its_way() {
    let mut cluster = three();
    cluster.feed(roll(usual())).did();
    cluster.dies(1, killed(11));
    assert_eq!(cluster.did(), [], "nobody else need be forked");
    cluster.listens(4);
    assert_eq!(cluster.shut(), [], "which has its socket");
    assert_eq!((cluster.wait(), cluster.did()), (SECOND, vec![Did::Spawn(1, 5)]));
}

#[test]
fn a_worker_that_dies_before_its_turn_is_followed_by_one_that_is_new_already() {
    let mut cluster = three();
    cluster.feed(roll(usual())).dies(2, killed(11)).listens(5).listens(4).wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(1, 5), Did::Ask(1), Did::Spawn(2, 6)]);
    cluster.listens(6).wait();
    cluster.dies(1, exited(0)).dies(3, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1)]);
}

#[test]
fn it_is_not_done_while_a_new_worker_starts() {
    let mut cluster = ready(2, policy(2, Restart::Always));
    cluster.feed(roll(usual().surge(2))).listens(3).listens(4).pass(millis(500));
    cluster.wait();
    cluster.dies(1, exited(0)).dies(3, killed(9)).dies(2, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Started(1)], "worker 5 is awaited");
    cluster.listens(5);
    assert_eq!(cluster.rollouts(), [Told::Done(1)]);
}

#[test]
fn a_slot_that_is_left_takes_no_part_any_more() {
    for request in [Input::Drain(id(1)), Input::Leaving(id(1))] {
        let mut cluster = three();
        cluster.feed(roll(usual())).did();
        cluster.feed(request);
        let did = cluster.did();
        assert_eq!(did.len(), 3, "{request:?}: {did:?}");
        assert!(
            did.contains(&Did::Ask(1)) && did.contains(&Did::Ask(4)),
            "{request:?}: nor does its successor: {did:?}"
        );
        assert!(did.contains(&Did::Spawn(1, 5)), "{request:?}: {did:?}");
        cluster.dies(1, exited(0)).dies(4, exited(0)).listens(5).wait();
        cluster.listens(6).wait();
        cluster.dies(2, exited(0)).dies(3, exited(0));
        assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1)]);
    }
}

#[test]
fn a_worker_that_drains_by_hand_leaves_its_slot_to_its_successor() {
    let mut cluster = three();
    cluster.feed(roll(usual())).did();
    cluster.feed(Input::Retires(id(1)));
    assert_eq!(cluster.did(), []);
    assert_eq!(cluster.who()[..2], [(0, 4, State::Starting), (0, 1, State::Draining)]);
}

#[test]
fn slots_that_wait_out_a_back_off_are_tried_at_once_and_last() {
    let mut cluster = ready(4, patient(4));
    for worker in [3, 4] {
        cluster.dies(worker, killed(9));
    }
    cluster.dies(5, exited(1)).dies(6, exited(1)).did();
    cluster.feed(roll(usual().surge(2)));
    assert_eq!(cluster.did(), [Did::Spawn(0, 9), Did::Spawn(1, 10)]);
    cluster.listens(9).listens(10).wait();
    assert!(cluster.did().contains(&Did::Spawn(2, 7)));
}

#[test]
fn nor_are_they_tried_beside_others() {
    let mut cluster = ready(2, patient(2));
    cluster.dies(2, killed(9)).dies(3, exited(1)).did();
    cluster.feed(roll(usual().surge(2)));
    assert_eq!(cluster.did(), [Did::Spawn(0, 5)], "if they failed again, that would cost worker 1 its successor");
    cluster.listens(5).wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(1, 4)]);
}

#[test]
fn who_crashes_while_newcomers_are_led_past_it_leaves_its_door_to_the_next_one() {
    let mut cluster = three();
    cluster.steers(true).feed(roll(usual().surge(0).max_unavailable(1))).did();
    cluster.feed(closed(1)).dies(1, killed(11));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)]);
    cluster.listens(4).pass(SECOND);
    assert_eq!(cluster.shut(), [], "queue and all");
}

#[test]
fn one_that_is_not_restarted_stays_away() {
    let mut cluster = ready(2, policy(2, Restart::OnFailure));
    cluster.dies(2, exited(0)).feed(roll(usual())).listens(3).wait();
    cluster.dies(1, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1)]);

    let mut cluster = ready(2, policy(2, Restart::OnFailure));
    cluster.feed(roll(usual())).dies(1, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(0, 3), Did::Ask(3), Did::Spawn(1, 4)], "nor does it need a successor");
}

#[test]
fn a_worker_that_never_got_ready_is_replaced_by_its_successor_all_the_same() {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.listens(1).pass(30 * SECOND).feed(roll(usual().surge(2))).did();
    cluster.listens(4).listens(3).wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Ask(2)]);
    let all_ready = |event: &Event| matches!(event, Event::AllReady { workers: 2, .. });
    assert!(cluster.events().iter().any(all_ready), "now every slot has a worker that is ready");
}
