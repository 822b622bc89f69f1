//! What `workers()` says of each slot, and since when.

use super::{
    by_hand::{ByHand, Forks, exited, id, killed, manual, millis, policy},
    rig::Input,
};
use crate::{
    config::{ReadyWhen, Restart, Settings},
    event::{Shutdown, State},
    supervisor::SpawnFailure,
};

/// Slot 0 is ready for good, slot 1 is what the tests are about.
fn beside_a_healthy_one(settings: Settings) -> ByHand {
    let mut cluster = ByHand::start(settings);
    cluster.listens(1).listens(2);
    cluster
}

fn states(cluster: &ByHand) -> Vec<(u64, State)> {
    cluster.workers().iter().map(|worker| (worker.id.as_u64(), worker.state)).collect()
}

#[test]
fn listening_begins_with_the_first_address_and_ends_with_ready() {
    let mut cluster = ByHand::start_at(2, policy(1, Restart::Always), Forks::Work, 1);
    cluster.feed(Input::Online(id(1))).pass(millis(10)).feed(Input::Listening(id(1), 1));
    let first = cluster.workers()[0];
    cluster.pass(millis(10)).feed(Input::Listening(id(1), 1));
    assert_eq!((first.state, cluster.workers()[0]), (State::Listening, first), "the same address again is no news");
    cluster.feed(Input::Listening(id(1), 0));
    assert_eq!(states(&cluster), [(1, State::Ready)]);
    assert_eq!(cluster.workers()[0].since - first.since, millis(10));
}

#[test]
fn who_listens_everywhere_and_has_to_say_that_it_is_ready_is_listening_until_then() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(1, Restart::Always) };
    let mut cluster = ByHand::start(told.clone());
    cluster.listens(1);
    assert_eq!(states(&cluster), [(1, State::Listening)]);
    cluster.feed(Input::Ready(id(1)));
    assert_eq!(states(&cluster), [(1, State::Ready)]);

    let mut cluster = ByHand::start(told);
    cluster.feed(Input::Ready(id(1))).listens(1);
    assert_eq!(states(&cluster), [(1, State::Ready)], "ready is the later of the two");
}

#[test]
fn a_slot_that_backs_off_shows_its_last_worker() {
    let mut cluster = beside_a_healthy_one(policy(2, Restart::Always));
    cluster.dies(2, killed(9)).pass(millis(5)).dies(3, exited(1));
    assert_eq!(states(&cluster), [(1, State::Ready), (3, State::Exited)]);
    let ended = cluster.workers()[1];
    cluster.pass(millis(1));
    assert_eq!(cluster.workers()[1], ended, "since its end");
    cluster.wait();
    assert_eq!(states(&cluster), [(1, State::Ready), (4, State::Starting)]);
}

#[test]
fn a_slot_whose_fork_is_refused_or_awaits_threads_shows_its_last_worker() {
    for failure in [SpawnFailure::Refused, SpawnFailure::Threads] {
        let mut cluster = beside_a_healthy_one(policy(2, Restart::Always));
        cluster.forks(Forks::Fail(failure)).dies(2, killed(9));
        cluster.wait();
        assert_eq!(states(&cluster), [(1, State::Ready), (2, State::Exited)], "{failure:?}");
        cluster.forks(Forks::Work).wait();
        assert_eq!(states(&cluster), [(1, State::Ready), (3, State::Starting)], "{failure:?}");
    }
}

#[test]
fn a_retired_slot_shows_its_last_worker_for_good() {
    let mut cluster = beside_a_healthy_one(policy(2, Restart::Never));
    cluster.dies(2, exited(1)).pass(millis(3_600_000));
    assert_eq!(states(&cluster), [(1, State::Ready), (2, State::Exited)]);
    cluster.feed(Input::Fork);
    assert_eq!(states(&cluster), [(1, State::Ready), (3, State::Starting)]);
}

#[test]
fn a_slot_that_was_left_as_asked_is_not_listed() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2))] {
        let mut cluster = beside_a_healthy_one(policy(2, Restart::Always));
        cluster.feed(request).dies(2, exited(0));
        assert_eq!(states(&cluster), [(1, State::Ready)], "{request:?}");
    }
    let mut cluster = beside_a_healthy_one(policy(2, Restart::Always));
    cluster.feed(Input::Stop(Shutdown::Now, None)).all_die();
    assert_eq!(states(&cluster), [], "nor is one after a stop");
}

#[test]
fn a_stop_does_not_hide_who_had_failed_before() {
    let mut cluster = beside_a_healthy_one(policy(2, Restart::Always));
    cluster.dies(2, killed(9)).dies(3, exited(1)).feed(Input::Stop(Shutdown::Drain, None)).dies(1, exited(0));
    assert_eq!(states(&cluster), [(3, State::Exited)]);
    assert!(cluster.end().is_some());
}

#[test]
fn one_that_nobody_replaces_is_shown_until_the_program_forks() {
    let mut cluster = ByHand::start(manual(1));
    cluster.feed(Input::Fork).listens(1).dies(1, exited(0));
    assert_eq!(states(&cluster), [(1, State::Exited)]);
    cluster.feed(Input::Fork);
    assert_eq!(states(&cluster), [(2, State::Starting)]);
}

#[test]
fn only_exited_is_not_alive() {
    let all = [State::Starting, State::Online, State::Listening, State::Ready, State::Draining, State::Exited];
    assert_eq!(all.map(|state| state.is_alive()), [true, true, true, true, true, false]);
}
