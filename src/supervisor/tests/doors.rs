//! The rules of the doors, one by one: until when a socket outlives the worker that listened on it.
//!
//! No open door without somebody who accepts on it or a deadline.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, exited, id, killed, manual, millis, policy},
    rig::Input,
};
use crate::{
    config::{Intensity, ReadyWhen, Restart, Settings},
    event::Shutdown,
    id::Signal,
    supervisor::{Outcome, SpawnFailure, Surrender::*},
};

/// Worker 1 in slot 0 and worker 2 in slot 1 listen at the one address. Worker 2 is the one to watch.
fn two(restart: Restart) -> ByHand {
    let mut cluster = ByHand::start(policy(2, restart));
    cluster.listens(1).listens(2);
    cluster
}

/// The same with two addresses.
fn two_at_two_addresses() -> ByHand {
    let mut cluster = ByHand::start_at(2, policy(2, Restart::Always), Forks::Work, 1);
    for worker in 1..=2 {
        cluster.listens(worker).feed(Input::Listening(id(worker), 1));
    }
    cluster
}

fn closed(worker: u64) -> Input {
    Input::ListenerClosed(id(worker), 0)
}

const HOUR: Duration = Duration::from_secs(3600);

// While its worker lives.

#[test]
fn a_door_stays_open_while_its_worker_lives_and_listens() {
    let mut cluster = two(Restart::Always);
    cluster.feed(Input::Ready(id(2))).feed(Input::Kill(id(2), Signal::TERM));
    assert!(!cluster.waits(), "there is nothing to wait for");
    cluster.pass(HOUR).feed(Input::Drain(id(2))).feed(Input::Stop(Shutdown::Drain, None));
    cluster.pass(millis(29_999)).feed(Input::Stop(Shutdown::Now, None));
    assert_eq!(cluster.shut(), []);
}

#[test]
fn a_worker_that_closes_its_channel_and_goes_on_leaves_its_doors_for_a_second() {
    let mut cluster = two(Restart::Always);
    cluster.feed(Input::ChannelClosed(id(2)));
    assert_eq!(cluster.wait(), millis(1000), "it is another program by now, perhaps");
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    let mut cluster = two(Restart::Always);
    cluster.feed(Input::Drain(id(2))).feed(Input::ChannelClosed(id(2))).pass(millis(0));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

#[test]
fn a_worker_that_closes_its_listener_and_goes_on_leaves_it_for_a_second() {
    let mut cluster = two(Restart::Always);
    cluster.feed(closed(2)).pass(millis(999));
    assert_eq!(cluster.shut(), []);
    assert_eq!(cluster.wait(), millis(1));
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    cluster.pass(HOUR).dies(2, killed(9)).pass(HOUR);
    assert_eq!(cluster.shut(), [], "once is enough");
}

#[test]
fn a_worker_may_listen_again_and_so_may_one_whose_door_was_shut() {
    let mut cluster = two(Restart::Always);
    cluster.feed(closed(2)).pass(millis(999)).listens(2).pass(HOUR);
    assert_eq!(cluster.shut(), []);
    cluster.feed(closed(2)).pass(millis(1000)).listens(2).pass(HOUR);
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    cluster.feed(Input::Drain(id(2))).dies(2, exited(0));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

// Its worker has ended.

#[test]
fn a_replacement_takes_the_door() {
    let mut cluster = two(Restart::Always);
    cluster.dies(2, killed(9)).pass(millis(999)).listens(3).pass(HOUR);
    assert_eq!(cluster.shut(), []);
    assert!(!cluster.waits());
    cluster.dies(3, killed(9)).listens(4).pass(HOUR);
    assert_eq!(cluster.shut(), [], "and the next one takes it from there");
}

#[test]
fn a_replacement_that_takes_more_than_a_second_opens_a_new_one() {
    let mut cluster = two(Restart::Always);
    cluster.dies(2, killed(9)).pass(millis(999));
    assert_eq!(cluster.shut(), []);
    assert_eq!(cluster.wait(), millis(1));
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    cluster.listens(3).pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn the_second_begins_with_the_close_or_the_end_whichever_comes_first() {
    let mut cluster = two(Restart::Always);
    cluster.feed(closed(2)).pass(millis(600)).dies(2, exited(1)).pass(millis(399));
    assert_eq!(cluster.shut(), []);
    cluster.pass(millis(1));
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
}

#[test]
fn every_address_has_its_own_door() {
    let mut cluster = two_at_two_addresses();
    cluster.feed(Input::ListenerClosed(id(2), 1)).pass(millis(500)).dies(2, killed(9)).pass(millis(500));
    assert_eq!(cluster.shut(), [(1, 1, Unattended)]);
    cluster.feed(Input::Listening(id(3), 0)).pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn only_who_accepts_on_a_door_can_leave_it() {
    let mut cluster = two(Restart::Always);
    cluster.dies(2, killed(9)).pass(millis(500));
    cluster.feed(closed(3)).feed(Input::ListenerClosed(id(3), 7));
    assert_eq!(cluster.wait(), millis(500), "the replacement, which has not taken it yet, changes nothing");
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    cluster.listens(3).feed(closed(2)).feed(closed(1)).pass(HOUR);
    assert_eq!(cluster.shut(), [(0, 0, Unattended)], "worker 1 has closed its own, worker 2 is gone");
    cluster.feed(Input::ChannelClosed(id(3))).feed(closed(3)).pass(HOUR);
    assert_eq!(cluster.shut(), [(1, 0, Unattended)], "once: nothing is heard of a worker whose channel is closed");
}

// Nobody comes soon.

#[test]
fn a_start_that_failed_shuts_the_door_at_once() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(2, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.listens(1).feed(Input::Ready(id(1))).listens(2).dies(2, exited(1));
    assert_eq!(cluster.shut(), [(1, 0, BackOff)], "worker 2 was never ready");
    cluster.pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn a_burst_of_deaths_shuts_the_door_when_the_delays_begin() {
    let mut cluster = two(Restart::Always);
    for worker in 2..22 {
        cluster.dies(worker, killed(9)).listens(worker + 1);
    }
    assert_eq!(cluster.shut(), [], "it went from hand to hand");
    cluster.dies(22, killed(9));
    assert_eq!(cluster.shut(), [(1, 0, BackOff)]);
}

#[test]
fn a_refused_fork_shuts_the_door() {
    let mut cluster = two(Restart::Always);
    cluster.forks(Forks::Fail(SpawnFailure::Refused)).dies(2, killed(9));
    assert_eq!(cluster.shut(), [(1, 0, BackOff)]);
    cluster.wait();
    assert_eq!(cluster.shut(), [], "refused again, but shut is shut");
}

#[test]
fn a_fork_that_waits_for_threads_keeps_the_door_for_a_second_and_no_longer() {
    let mut cluster = two(Restart::Always);
    cluster.forks(Forks::Fail(SpawnFailure::Threads)).dies(2, killed(9)).pass(millis(999));
    cluster.forks(Forks::Work).feed(Input::Online(id(1))).listens(3).pass(HOUR);
    assert_eq!(cluster.shut(), [], "any event is a reason to look again");
    cluster.forks(Forks::Fail(SpawnFailure::Threads)).dies(3, killed(9));
    assert_eq!(cluster.wait(), millis(1000));
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
}

// Nobody comes at all.

#[test]
fn a_retired_slot_has_no_door() {
    for (restart, status) in [(Restart::Never, killed(9)), (Restart::OnFailure, exited(0))] {
        let mut cluster = two(restart);
        cluster.dies(2, status);
        assert_eq!(cluster.shut(), [(1, 0, Left)]);
    }
}

#[test]
fn a_worker_that_was_asked_keeps_its_door_to_its_end() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2))] {
        let mut cluster = two(Restart::Always);
        cluster.feed(request).pass(millis(20_000));
        assert_eq!(cluster.shut(), [], "it accepts what is in its queue");
        cluster.dies(2, killed(9));
        assert_eq!(cluster.shut(), [(1, 0, Left)]);
    }
}

#[test]
fn a_worker_that_was_asked_and_closes_its_listener_is_done_with_it() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2)), Input::Stop(Shutdown::Drain, None)] {
        let mut cluster = two_at_two_addresses();
        cluster.feed(request).feed(closed(2));
        assert_eq!(cluster.shut(), [(1, 0, Left)], "it still accepts at the other address");
        cluster.dies(2, exited(0));
        assert_eq!(cluster.shut(), [(1, 1, Left)]);
    }
}

#[test]
fn a_worker_that_is_being_ended_and_closes_its_listener_is_done_with_it_too() {
    let terminated = &[Input::Drain(id(2)), Input::Deaf(id(2))][..];
    let killed = &[Input::Stop(Shutdown::Now, None)][..];
    for ordered in [terminated, killed] {
        let mut cluster = two(Restart::Always);
        for order in ordered {
            cluster.feed(*order);
        }
        assert!(matches!(cluster.did().last(), Some(Did::Signal(2, _))));
        cluster.feed(closed(2));
        assert_eq!(cluster.shut(), [(1, 0, Left)], "{ordered:?}");
    }
}

#[test]
fn a_worker_that_was_asked_may_open_another_in_the_turn_in_which_it_closes_one() {
    let mut cluster = two(Restart::Always);
    cluster.feed(Input::Drain(id(2))).feed_at_once(&[closed(2), Input::Listening(id(2), 0)]);
    assert_eq!(cluster.shut(), []);
    cluster.dies(2, exited(0));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

#[test]
fn what_was_closed_before_the_request_keeps_its_second() {
    let mut cluster = two(Restart::Always);
    cluster.feed(closed(2)).pass(millis(400)).feed(Input::Drain(id(2))).feed(closed(2));
    assert_eq!(cluster.shut(), []);
    assert_eq!(cluster.wait(), millis(600));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

// The cluster stops.

#[test]
fn a_stop_shuts_the_doors_of_slots_without_a_worker() {
    for fork in [Forks::AreAwaited, Forks::Fail(SpawnFailure::Threads)] {
        let mut cluster = two(Restart::Always);
        cluster.forks(fork).dies(2, killed(9));
        assert_eq!(cluster.shut(), []);
        cluster.feed(Input::Stop(Shutdown::Drain, None));
        assert_eq!(cluster.shut(), [(1, 0, Left)], "{fork:?}");
        cluster.feed(Input::SpawnFailed(id(3), SpawnFailure::Refused)).pass(millis(100));
        assert_eq!(cluster.shut(), [], "that fork has nothing to give up any more");
        cluster.feed(closed(1)).dies(1, exited(0));
        assert_eq!(cluster.shut(), [(0, 0, Left)]);
    }
}

#[test]
fn a_stop_leaves_the_doors_of_living_workers_to_them() {
    for how in [Shutdown::Drain, Shutdown::Now] {
        let mut cluster = two(Restart::Always);
        cluster.feed(Input::Stop(how, None)).pass(millis(1000));
        assert_eq!(cluster.shut(), [], "{how:?}");
        cluster.dies(1, exited(0));
        assert_eq!(cluster.shut(), [(0, 0, Left)]);
        cluster.dies(2, exited(0));
        assert_eq!(cluster.shut(), [(1, 0, Left)]);
    }
}

#[test]
fn a_stop_from_within_shuts_the_door_of_the_last_straw() {
    let intensity = Some(Intensity { restarts: 0, period: HOUR });
    let mut cluster = ByHand::start(Settings { intensity, ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2).dies(2, killed(9));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);

    let told = Settings { ready_when: ReadyWhen::Told, ..policy(1, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.listens(1).dies(1, exited(1));
    assert_eq!(cluster.shut(), [(0, 0, Left)], "never ready");
}

#[test]
fn a_worker_that_missed_its_deadline_and_ends_in_a_stop_leaves_no_door() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(2, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.feed(Input::Ready(id(1))).listens(2).wait();
    assert_eq!(cluster.did().last(), Some(&Did::Signal(2, Signal::KILL)));
    cluster.feed(Input::Stop(Shutdown::Drain, None)).dies(2, killed(9));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

// The program forks.

#[test]
fn a_manual_slot_keeps_its_door_for_a_second_after_its_workers_own_end() {
    let mut cluster = ByHand::start(manual(2));
    cluster.feed(Input::Fork).feed(Input::Fork).listens(1).listens(2);
    cluster.dies(1, killed(9)).pass(millis(999)).feed(Input::Fork).listens(3).pass(HOUR);
    assert_eq!(cluster.shut(), [], "the program forked in time");
    cluster.dies(3, killed(9));
    assert_eq!(cluster.wait(), millis(1000));
    assert_eq!(cluster.shut(), [(0, 0, Unattended)]);
    cluster.feed(Input::Drain(id(2))).dies(2, exited(0));
    assert_eq!(cluster.shut(), [(1, 0, Left)], "whoever was asked leaves nothing");
}

#[test]
fn a_manual_fork_that_has_to_wait_shuts_the_door() {
    let told = Settings { ready_when: ReadyWhen::Told, ..manual(1) };
    let mut cluster = ByHand::start(told);
    cluster.feed(Input::Fork).listens(1).dies(1, exited(1));
    assert_eq!(cluster.shut(), []);
    cluster.feed(Input::Fork);
    assert_eq!(cluster.shut(), [(0, 0, BackOff)]);
}

#[test]
fn a_stop_shuts_what_a_manual_slot_keeps() {
    let mut cluster = ByHand::start(manual(2));
    cluster.feed(Input::Fork).feed(Input::Fork).listens(1).listens(2).dies(2, killed(9));
    cluster.feed(Input::Stop(Shutdown::Drain, None));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

#[test]
fn a_cluster_that_has_ended_has_no_open_door() {
    let mut cluster = ByHand::start(manual(1));
    cluster.feed(Input::Fork).listens(1).dies(1, killed(9));
    assert_eq!(cluster.shut(), [], "the program may fork again in its handler");
    assert_eq!(cluster.end(), Some(Outcome::Retired(Vec::new())));
    assert_eq!(cluster.shut(), [(0, 0, Left)], "before the end; the referee sees to the order");
    assert!(!cluster.waits());
}

// Without custody.

#[test]
fn without_keep_listeners_there_are_no_doors() {
    let mut cluster = ByHand::start(Settings { keep_listeners: false, ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2).feed(closed(2));
    assert!(!cluster.waits());
    cluster.listens(2).dies(2, killed(9)).listens(3);
    assert!(!cluster.waits());
    cluster.feed(Input::Drain(id(3))).feed(closed(3)).dies(3, exited(0));
    cluster.feed(Input::Stop(Shutdown::Drain, None)).all_die();
    assert!(cluster.end().is_some());
    assert_eq!(cluster.shut(), []);
}
