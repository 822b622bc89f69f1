//! More and fewer workers while the cluster runs.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, Told, exited, id, killed, manual, millis, policy},
    rig::Input,
};
use crate::{
    config::{ReadyWhen, Restart, Rollout, Settings},
    event::{Cause, Event, Shutdown, State},
    supervisor::{SpawnFailure, Surrender},
};

/// Three workers that are ready, in a cluster of at most five.
fn three() -> ByHand {
    let mut cluster = ByHand::start(Settings { max_workers: Some(5), ..policy(3, Restart::Always) });
    cluster.listens(1).listens(2).listens(3).did();
    cluster.events();
    cluster
}

fn causes(cluster: &mut ByHand) -> Vec<Cause> {
    let cause = |event| if let Event::Exit { cause, .. } = event { Some(cause) } else { None };
    cluster.events().into_iter().filter_map(cause).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn more_workers_fill_the_next_slots() {
    let mut cluster = three();
    cluster.feed(Input::Scale(5));
    assert_eq!(cluster.did(), [Did::Spawn(3, 4), Did::Spawn(4, 5)]);
    cluster.listens(4).dies(4, killed(9));
    assert_eq!(cluster.did(), [Did::Spawn(3, 6)], "which are restarted like all others");
}

#[test]
fn fewer_workers_leave_the_last_slots_without_a_reset() {
    let mut cluster = three();
    cluster.steers(true).feed(Input::Scale(1));
    assert_eq!(cluster.did(), [], "newcomers are led past them");
    assert_eq!((cluster.wait(), cluster.did()), (SECOND, vec![Did::Ask(2), Did::Ask(3)]));
    cluster.feed(Input::ListenerClosed(id(2), 0)).feed(Input::ListenerClosed(id(3), 0));
    assert_eq!(cluster.shut(), [(1, 0, Surrender::Left), (2, 0, Surrender::Left)]);
    cluster.dies(2, exited(0)).dies(3, exited(1));
    assert_eq!((causes(&mut cluster), cluster.did()), (vec![Cause::Scaled, Cause::Scaled], vec![]));
    assert_eq!(cluster.who(), [(0, 1, State::Ready)]);
}

#[test]
fn who_is_wanted_again_before_it_was_asked_stays() {
    let mut cluster = three();
    cluster.steers(true).feed(Input::Scale(1)).pass(millis(999)).feed(Input::Scale(2)).pass(SECOND);
    assert_eq!(cluster.did(), [Did::Ask(3)]);
    assert_eq!(cluster.who()[1], (1, 2, State::Ready));
}

#[test]
fn who_was_asked_leaves_and_is_followed() {
    let mut cluster = three();
    cluster.feed(Input::Scale(1)).feed(Input::Scale(3)).did();
    cluster.dies(2, exited(0)).dies(3, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(1, 4), Did::Spawn(2, 5)]);
}

#[test]
fn a_slot_that_the_program_left_is_filled_again_also_while_its_worker_leaves() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2))] {
        let mut cluster = three();
        cluster.feed(request).dies(2, exited(0)).did();
        cluster.feed(Input::Scale(3));
        assert_eq!(cluster.did(), [Did::Spawn(1, 4)]);

        let mut cluster = three();
        cluster.feed(request).feed(Input::Scale(3)).did();
        cluster.dies(2, exited(0));
        assert_eq!(cluster.did(), [Did::Spawn(1, 4)]);
    }
}

#[test]
fn one_that_is_not_to_be_restarted_is_not() {
    let mut cluster = ByHand::start(policy(2, Restart::OnFailure));
    cluster.listens(1).listens(2).dies(2, exited(0)).did();
    cluster.feed(Input::Scale(2));
    assert_eq!(cluster.did(), []);
}

#[test]
fn impossible_numbers_are_refused() {
    let mut cluster = three();
    cluster.feed(Input::Scale(0)).feed(Input::Scale(6)).feed(Input::Scale(usize::MAX));
    assert_eq!((cluster.target(), cluster.did()), (3, vec![]));
    cluster.feed(Input::Stop(Shutdown::Drain, None)).feed(Input::Scale(4));
    let mut by_hand = ByHand::start(manual(4));
    by_hand.feed(Input::Scale(2));
    assert_eq!(by_hand.did(), []);
}

// Who is not there, or not yet.

#[test]
fn nobody_comes_any_more_to_a_slot_that_waits() {
    let mut cluster = three();
    cluster.dies(3, killed(9)).dies(4, exited(1)).feed(Input::Scale(2)).did();
    cluster.pass(3600 * SECOND);
    assert_eq!((cluster.did(), cluster.who().len()), (vec![], 2));
}

#[test]
fn a_worker_that_is_forked_meanwhile_is_asked_to_leave() {
    let mut cluster = three();
    cluster.forks(Forks::AreAwaited).feed(Input::Scale(4)).feed(Input::Scale(3)).did();
    cluster.feed(Input::Spawned(id(4), 4004));
    assert_eq!(cluster.did(), [Did::Ask(4)]);
    cluster.dies(4, exited(0));
    assert_eq!(causes(&mut cluster), [Cause::Scaled]);
}

#[test]
fn nor_is_it_tried_again_if_that_fails() {
    for failure in [SpawnFailure::Refused, SpawnFailure::Threads] {
        let mut cluster = three();
        cluster.forks(Forks::AreAwaited).feed(Input::Scale(4)).feed(Input::Scale(3)).did();
        cluster.feed(Input::SpawnFailed(id(4), failure)).pass(3600 * SECOND);
        assert_eq!(cluster.did(), [], "{failure:?}");
    }
}

#[test]
fn one_that_is_killed_for_not_getting_ready_is_not_replaced_either() {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.listens(1).wait();
    cluster.feed(Input::Scale(1)).did();
    cluster.dies(2, killed(9));
    assert_eq!((causes(&mut cluster), cluster.did()), (vec![Cause::Scaled], vec![]));
}

#[test]
fn all_are_ready_when_those_are_that_are_left() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(2, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.feed(Input::Ready(id(1))).feed(Input::Scale(1));
    assert!(cluster.events().iter().any(|event| matches!(event, Event::AllReady { workers: 1, .. })));
}

// Together with other requests.

#[test]
fn a_fork_is_one_worker_more() {
    let mut cluster = three();
    cluster.feed(Input::Fork);
    assert_eq!((cluster.target(), cluster.did()), (4, vec![Did::Spawn(3, 4)]));
    cluster.feed(Input::Scale(2)).did();
    cluster.feed(Input::Fork);
    assert_eq!(cluster.did(), [Did::Spawn(4, 5)], "the others leave, and their slots are taken until they have");
    assert_eq!(cluster.target(), 3, "which are not wanted again for that");
    cluster.dies(3, exited(0)).dies(4, exited(0));
    assert_eq!(cluster.did(), [], "and stay empty then");
}

#[test]
fn a_rollout_goes_on_with_those_that_are_left() {
    let mut cluster = three();
    cluster.feed(Input::Rollout(Rollout::new())).did();
    cluster.feed(Input::Scale(1));
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Ask(3)], "worker 4 still follows worker 1");
    cluster.listens(4).wait();
    cluster.dies(1, exited(0));
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1)]);
}

#[test]
fn new_slots_are_new_already() {
    let mut cluster = three();
    cluster.feed(Input::Rollout(Rollout::new().surge(3))).feed(Input::Scale(4)).did();
    (4..=7).for_each(|worker| {
        cluster.listens(worker);
    });
    cluster.wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Ask(2), Did::Ask(3)]);
}

#[test]
fn a_slot_that_a_rollout_has_emptied_stays_so() {
    let mut cluster = three();
    cluster.feed(Input::Rollout(Rollout::new().surge(0).max_unavailable(3)));
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Ask(2), Did::Ask(3)]);
    cluster.feed(Input::Scale(2)).dies(3, exited(0)).dies(2, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(1, 4)]);
}
