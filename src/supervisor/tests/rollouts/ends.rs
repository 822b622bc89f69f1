//! How a rollout ends that is not done: aborted, superseded, or stopped.

use super::{
    super::{
        by_hand::{ByHand, Did, Forks, Told, exited, id, killed, policy},
        rig::Input,
    },
    SECOND, closed, patient, ready, roll, three, usual,
};
use crate::{
    config::{ReadyWhen, Restart, Settings},
    event::{Shutdown, State},
    supervisor::SpawnFailure,
};

/// Slot and reason of the one rollout that was aborted.
#[track_caller]
fn aborted(cluster: &mut ByHand) -> (Option<usize>, String) {
    match &cluster.rollouts()[..] {
        [.., Told::Aborted(_, slot, why)] => (*slot, why.clone()),
        told => panic!("{told:?}"),
    }
}

// It is aborted.

/// What becomes of worker 4, the first successor.
fn failures() -> Vec<(&'static str, Vec<Input>)> {
    vec![
        ("exited with code 1", vec![Input::Exited(id(4), exited(1))]),
        ("exited with code 0", vec![Input::Listening(id(4), 0), Input::Exited(id(4), exited(0))]),
        ("SIGSEGV", vec![Input::Listening(id(4), 0), Input::Exited(id(4), killed(11))]),
        ("leaves", vec![Input::Leaving(id(4))]),
        ("leaves", vec![Input::Listening(id(4), 0), Input::Drain(id(4))]),
        ("leaves", vec![Input::Listening(id(4), 0), Input::Retires(id(4))]),
    ]
}

#[test]
fn a_successor_that_fails_replaces_nobody() {
    for (why, inputs) in failures() {
        let mut cluster = three();
        cluster.feed(roll(usual()));
        for input in &inputs {
            cluster.feed(*input);
        }
        let (slot, text) = aborted(&mut cluster);
        assert_eq!(slot, Some(0), "{inputs:?}");
        assert!(text.contains("slot 0") && text.contains("worker 4") && text.contains(why), "{inputs:?}: {text}");
        assert!(!cluster.did().iter().any(|did| matches!(did, Did::Ask(1..=3) | Did::Spawn(1..=2, _))), "{inputs:?}");
        cluster.pass(3600 * SECOND);
        let serving = [(0, 1, State::Ready), (1, 2, State::Ready), (2, 3, State::Ready)];
        assert!(serving.iter().all(|worker| cluster.who().contains(worker)), "{inputs:?}");
    }
}

#[test]
fn so_does_one_that_is_not_ready_in_time() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(1, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.listens(1).feed(Input::Ready(id(1))).feed(roll(usual())).listens(2);
    assert_eq!(cluster.wait(), 60 * SECOND);
    let (slot, text) = aborted(&mut cluster);
    assert!(slot == Some(0) && text.contains("worker 2 was not ready within 60s"), "{text}");
    cluster.dies(2, killed(9));
    assert_eq!((cluster.who(), cluster.shut()), (vec![(0, 1, State::Ready)], vec![]));
}

#[test]
fn so_does_one_that_cannot_be_forked() {
    for failure in [SpawnFailure::Refused, SpawnFailure::Threads] {
        let mut cluster = three();
        cluster.forks(Forks::Fail(failure)).feed(roll(usual().surge(2)));
        let (slot, text) = aborted(&mut cluster);
        assert!(slot == Some(0) && text.contains("fork"), "{text}");
        assert_eq!(cluster.did(), [Did::Spawn(0, 4)], "and nobody else is forked for it");
    }
}

#[test]
fn those_that_were_replaced_stay_so_and_other_successors_are_taken_back() {
    let mut cluster = ready(4, policy(4, Restart::Always));
    cluster.feed(roll(usual().surge(2))).listens(5).wait();
    cluster.listens(6).did();
    cluster.dies(7, exited(1));
    assert_eq!(aborted(&mut cluster).0, Some(2));
    assert_eq!(cluster.did(), [Did::Ask(6)], "worker 6 was ready, but not for long enough");
    let expected = [(0, 5), (0, 1), (1, 2), (1, 6), (2, 3), (3, 4)];
    assert_eq!(cluster.who().iter().map(|(slot, worker, _)| (*slot, *worker)).collect::<Vec<_>>(), expected);
    cluster.feed(closed(6)).dies(6, exited(0)).feed(closed(1)).dies(1, exited(0));
    assert_eq!(cluster.shut(), [], "workers 2 and 5 accept there");
}

#[test]
fn a_new_worker_that_takes_over_early_can_still_fail() {
    let mut cluster = three();
    cluster.feed(roll(usual())).dies(1, killed(9)).dies(4, exited(1));
    assert_eq!(aborted(&mut cluster).0, Some(0));
    assert!(cluster.backoff().is_none(), "that is over by now");
    cluster.wait();
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(0, 5)], "the slot is filled as after any failed start");
}

#[test]
fn where_workers_leave_first_the_slot_is_filled_as_after_any_failed_start() {
    let mut cluster = three();
    cluster.feed(roll(usual().surge(0).max_unavailable(2))).dies(1, exited(0)).did();
    cluster.dies(4, exited(1));
    assert_eq!(aborted(&mut cluster).0, Some(0));
    cluster.dies(2, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(1, 6)], "worker 2 had been asked already");
}

#[test]
fn who_was_only_to_be_asked_stays() {
    let mut cluster = three();
    cluster.steers(true).feed(roll(usual().surge(1).max_unavailable(1)));
    assert_eq!(cluster.who()[1..3], [(0, 4, State::Starting), (1, 2, State::Draining)]);
    cluster.dies(4, exited(1)).pass(3600 * SECOND);
    assert_eq!(cluster.did(), [Did::Spawn(0, 4)], "worker 2 is never asked");
    assert_eq!(cluster.who(), [(0, 1, State::Ready), (1, 2, State::Ready), (2, 3, State::Ready)]);
}

#[test]
fn a_slot_in_back_off_that_fails_again_aborts_it() {
    let mut cluster = ready(2, patient(2));
    cluster.dies(2, killed(9)).dies(3, exited(1)).feed(roll(usual())).listens(5).wait();
    cluster.dies(4, exited(1));
    assert_eq!(aborted(&mut cluster).0, Some(1));
    assert!(cluster.who().contains(&(0, 5, State::Ready)), "those before it are new");
}

#[test]
fn what_the_program_has_to_do_before_may_fail() {
    let mut cluster = three();
    cluster.feed(Input::ReloadFailed);
    assert_eq!(aborted(&mut cluster), (None, "on_reload".to_owned()));
    cluster.feed(roll(usual())).did();
    cluster.feed(Input::ReloadFailed);
    assert_eq!(cluster.rollouts().len(), 2, "one that is under way goes on");
    cluster.listens(4).wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(1, 5)]);
}

#[test]
fn a_successor_that_no_longer_listens_does_not_take_over() {
    let mut cluster = three();
    cluster.feed(roll(usual())).listens(4).feed(closed(4)).did();
    assert_eq!(cluster.rollouts(), [Told::Started(1)], "it may listen again in time");
    cluster.wait();
    let (slot, text) = aborted(&mut cluster);
    assert!(slot == Some(0) && text.contains("no longer listens everywhere"), "{text}");
    assert_eq!(cluster.did(), [Did::Ask(4)]);
    assert_eq!((cluster.who()[0], cluster.shut()), ((0, 1, State::Ready), vec![]), "worker 1 serves on");
}

#[test]
fn one_that_listens_again_in_time_does() {
    let mut cluster = three();
    cluster.feed(roll(usual())).listens(4).feed(closed(4)).listens(4).did();
    cluster.wait();
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(1, 5)]);
}

#[test]
fn nobody_need_listen_where_only_the_old_worker_does_since_the_address_is_gone() {
    let mut cluster = ByHand::start_at(2, policy(1, Restart::Always), Forks::Work, 1);
    cluster.listens(1).feed(Input::Listening(id(1), 1)).feed(Input::AddressRemoved(1));
    cluster.feed(roll(usual())).listens(2).pass(SECOND);
    assert!(cluster.did().contains(&Did::Ask(1)));
}

#[test]
fn others_that_have_proved_themselves_in_the_same_turn_take_over() {
    let mut cluster = three();
    cluster.feed(roll(usual().surge(2)));
    cluster.feed_at_once(&[Input::Listening(id(4), 0), Input::Listening(id(5), 0)]).feed(closed(4)).did();
    cluster.wait();
    assert_eq!(aborted(&mut cluster).0, Some(0));
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Ask(4)]);
}

// It is superseded, or stopped.

#[test]
fn a_new_request_takes_over_when_the_steps_under_way_are_over() {
    let mut cluster = three();
    cluster.feed(roll(usual())).feed(roll(usual()));
    assert_eq!((cluster.rollouts(), cluster.did()), (vec![Told::Started(1)], vec![Did::Spawn(0, 4)]));
    cluster.listens(4).wait();
    assert_eq!(cluster.rollouts(), [Told::Superseded(1), Told::Started(2)]);
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Spawn(0, 5)], "worker 4 is old again");
}

#[test]
fn of_those_that_wait_only_the_last_one_begins() {
    let mut cluster = three();
    cluster.feed(roll(usual())).feed(roll(usual())).feed(roll(usual()));
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Superseded(2)]);
    cluster.dies(4, exited(1));
    assert!(matches!(cluster.rollouts()[..], [Told::Aborted(1, ..), Told::Started(3)]));
    assert_eq!(cluster.did(), [Did::Spawn(0, 4), Did::Spawn(0, 5)]);
}

#[test]
fn one_that_has_replaced_everybody_is_done_also_if_another_one_waits() {
    let mut cluster = ready(1, policy(1, Restart::Always));
    cluster.feed(roll(usual())).feed(roll(usual())).listens(2).feed_at_once(&[closed(1)]).wait();
    assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Done(1), Told::Started(2)]);
}

#[test]
fn a_stop_ends_all_of_them() {
    for how in [Shutdown::Drain, Shutdown::Now] {
        let mut cluster = three();
        cluster.feed(roll(usual())).feed(roll(usual())).feed(Input::Stop(how, None));
        assert_eq!(cluster.rollouts(), [Told::Started(1), Told::Stopped(1), Told::Stopped(2)]);
        let spawned = cluster.did().iter().filter(|did| matches!(did, Did::Spawn(..))).count();
        assert_eq!(spawned, 1);
        cluster.all_die();
        assert!(cluster.end().is_some_and(|end| end.into_result().is_ok()));
    }
}

#[test]
fn a_successor_that_is_forked_when_all_is_over_is_asked_to_leave() {
    for over in [Input::Stop(Shutdown::Drain, None), Input::Drain(id(1))] {
        let mut cluster = ready(1, policy(1, Restart::Always));
        cluster.forks(Forks::AreAwaited).feed(roll(usual())).feed(over).did();
        cluster.feed(Input::Spawned(id(2), 4002));
        assert_eq!(cluster.did(), [Did::Ask(2)], "{over:?}");
    }
}
