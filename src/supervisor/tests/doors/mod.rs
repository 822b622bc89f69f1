//! The rules of the doors, one by one: until when a socket outlives the worker that listened on it.
//!
//! No open door without somebody who accepts on it, or can be asked to, or a deadline.

use std::time::Duration;

mod ends;

use super::{
    by_hand::{ByHand, Did, Forks, Watched, exited, id, killed, manual, millis, policy},
    rig::Input,
};
use crate::{
    config::{Backoff, Intensity, ReadyWhen, Restart, Settings},
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

/// Nobody can stand in for the one that there is.
fn alone(restart: Restart) -> ByHand {
    let mut cluster = ByHand::start(policy(1, restart));
    cluster.listens(1);
    cluster
}

/// Two at two addresses.
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
const SECOND: Duration = Duration::from_secs(1);

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
    assert_eq!(cluster.wait(), SECOND, "it is another program by now, perhaps");
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    let mut cluster = two(Restart::Always);
    cluster.feed(Input::Drain(id(2))).feed(Input::ChannelClosed(id(2)));
    assert_eq!(cluster.wait(), SECOND);
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
    cluster.feed(closed(2)).pass(SECOND).listens(2).pass(HOUR);
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    cluster.feed(Input::Drain(id(2))).feed(closed(2)).dies(2, exited(0));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

// Its worker has ended.

#[test]
fn a_replacement_takes_the_door() {
    for mut cluster in [two(Restart::Always), alone(Restart::Always)] {
        let last = cluster.living() as u64;
        cluster.dies(last, killed(9)).pass(millis(999)).listens(last + 1).pass(HOUR);
        assert_eq!(cluster.shut(), []);
        assert!(!cluster.waits());
        cluster.dies(last + 1, killed(9)).listens(last + 2).pass(HOUR);
        assert_eq!(cluster.shut(), [], "and the next one takes it from there");
    }
}

#[test]
fn a_replacement_may_take_its_time_while_siblings_can_take_who_waits() {
    let mut cluster = two(Restart::Always);
    cluster.dies(2, killed(9)).pass(millis(59_000));
    assert_eq!(cluster.shut(), []);
    cluster.listens(3).pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn otherwise_it_has_a_second_and_opens_a_new_one_then() {
    let mut cluster = alone(Restart::Always);
    cluster.dies(1, killed(9));
    assert_eq!(cluster.wait(), SECOND);
    assert_eq!(cluster.shut(), [(0, 0, Unattended)]);
    cluster.listens(2).pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn what_was_kept_on_is_shut_when_the_last_sibling_goes() {
    for gone in [Input::Exited(id(1), killed(9)), Input::Drain(id(1)), closed(1), Input::ChannelClosed(id(1))] {
        let mut cluster = two(Restart::Always);
        cluster.dies(2, killed(9)).pass(millis(2000));
        assert_eq!(cluster.shut(), []);
        cluster.feed(gone);
        assert_eq!(cluster.shut(), [(1, 0, Unattended)], "{gone:?}");
    }
}

#[test]
fn what_was_kept_on_is_shut_when_nobody_is_awaited_any_more() {
    let mut cluster = two(Restart::Always);
    cluster.dies(2, killed(9)).pass(millis(2000)).feed(Input::Ready(id(3)));
    assert_eq!(cluster.shut(), [(1, 0, Unattended)], "it is ready and has not taken it");
    let mut cluster = two(Restart::Always);
    cluster.dies(2, killed(9)).pass(millis(2000)).feed(Input::Drain(id(3)));
    assert_eq!(cluster.shut(), [(1, 0, Left)]);
}

#[test]
fn the_second_begins_with_the_close_or_the_end_whichever_comes_first() {
    let mut cluster = alone(Restart::Always);
    cluster.feed(closed(1)).pass(millis(600)).dies(1, exited(1)).pass(millis(399));
    assert_eq!(cluster.shut(), []);
    cluster.pass(millis(1));
    assert_eq!(cluster.shut(), [(0, 0, Unattended)]);
}

#[test]
fn every_address_has_its_own_door() {
    let mut cluster = two_at_two_addresses();
    cluster.feed(Input::ListenerClosed(id(1), 1));
    cluster.feed(Input::ListenerClosed(id(2), 1)).pass(millis(500)).dies(2, killed(9)).pass(millis(500));
    assert_eq!(cluster.shut(), [(0, 1, Unattended), (1, 1, Unattended)], "nobody accepts at that address");
    cluster.pass(millis(50_000)).feed(Input::Listening(id(3), 0)).pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn only_who_accepts_on_a_door_can_leave_it() {
    let mut cluster = two(Restart::Always);
    cluster.feed(closed(1)).pass(SECOND).shut();
    cluster.dies(2, killed(9)).pass(millis(500));
    cluster.feed(closed(3)).feed(Input::ListenerClosed(id(3), 7));
    assert_eq!(cluster.wait(), millis(500), "the replacement, which has not taken it yet, changes nothing");
    assert_eq!(cluster.shut(), [(1, 0, Unattended)]);
    cluster.listens(3).feed(closed(2)).feed(closed(1)).pass(HOUR);
    assert_eq!(cluster.shut(), [], "worker 2 is gone");
    cluster.feed(Input::ChannelClosed(id(3))).feed(closed(3)).pass(HOUR);
    assert_eq!(cluster.shut(), [(1, 0, Unattended)], "once: nothing is heard of a worker whose channel is closed");
}

// Nobody comes soon.

#[test]
fn through_a_back_off_siblings_take_who_waits() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(2, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.listens(1).feed(Input::Ready(id(1))).listens(2);
    for worker in 2..7 {
        cluster.dies(worker, exited(1)).pass(millis(2000));
    }
    cluster.dies(7, exited(1));
    assert_eq!(cluster.living(), 1, "worker 7 was never ready, and the next one takes more than 2.5 s to come");
    cluster.pass(millis(2400));
    assert_eq!(cluster.shut(), []);
    cluster.feed(Input::Drain(id(1)));
    assert_eq!(cluster.shut(), [(1, 0, Unattended)], "now nobody is left");
}

#[test]
fn alone_a_door_outlasts_a_short_back_off_and_no_long_one() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(1, Restart::Always) };
    let mut cluster = ByHand::start(told);
    cluster.listens(1).feed(Input::Ready(id(1))).dies(1, killed(9)).listens(2);
    for worker in 2..6 {
        cluster.dies(worker, exited(1));
        assert_eq!(cluster.shut(), [], "at most 0.96 s");
        cluster.wait();
        cluster.listens(worker + 1);
    }
    cluster.dies(6, exited(1));
    assert_eq!(cluster.shut(), [(0, 0, BackOff)], "at least 1.28 s");
    cluster.pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn in_a_burst_of_deaths_it_goes_from_hand_to_hand() {
    let mut cluster = two(Restart::Always);
    for worker in 2..24 {
        cluster.dies(worker, killed(9));
        cluster.pass(if worker < 22 { millis(0) } else { millis(300) }).listens(worker + 1);
    }
    assert_eq!(cluster.shut(), [], "the last two came after a delay");
}

#[test]
fn a_refused_fork_shuts_the_door_if_nobody_can_take_who_waits() {
    let slow = Settings { backoff: Backoff { first: HOUR, most: HOUR }, ..policy(1, Restart::Always) };
    let mut cluster = ByHand::start(slow);
    cluster.listens(1).forks(Forks::Fail(SpawnFailure::Refused)).dies(1, killed(9));
    assert_eq!(cluster.shut(), [(0, 0, BackOff)]);
    cluster.wait();
    assert_eq!(cluster.shut(), [], "refused again, but shut is shut");
    let mut cluster = two(Restart::Always);
    cluster.forks(Forks::Fail(SpawnFailure::Refused)).dies(2, killed(9)).pass(HOUR);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn a_fork_that_waits_for_threads_keeps_the_door() {
    let mut cluster = two(Restart::Always);
    cluster.forks(Forks::Fail(SpawnFailure::Threads)).dies(2, killed(9)).pass(millis(5000));
    cluster.forks(Forks::Work).feed(Input::Online(id(1))).listens(3).pass(HOUR);
    assert_eq!(cluster.shut(), [], "any event is a reason to look again");
    let mut cluster = alone(Restart::Always);
    cluster.forks(Forks::Fail(SpawnFailure::Threads)).dies(1, killed(9)).pass(millis(999));
    assert_eq!(cluster.shut(), []);
    cluster.pass(millis(1));
    assert_eq!(cluster.shut(), [(0, 0, Unattended)], "alone for a second");
}

// Nobody comes at all.

#[test]
fn behind_the_door_of_a_retired_slot_siblings_take_who_waits_for_a_second() {
    for (restart, status) in [(Restart::Never, killed(9)), (Restart::OnFailure, exited(0))] {
        let mut cluster = two(restart);
        cluster.dies(2, status);
        assert_eq!((cluster.watched(), cluster.shut()), (vec![Watched::Steers(1, true)], vec![]));
        assert_eq!(cluster.wait(), SECOND);
        assert_eq!(cluster.shut(), [(1, 0, Left)]);
        assert!(cluster.watched().contains(&Watched::Steers(1, false)), "there is nobody to lead past it");
        let mut cluster = alone(restart);
        cluster.dies(1, status);
        assert_eq!(cluster.shut(), [(0, 0, Left)], "nobody can");
    }
}

#[test]
fn a_worker_that_was_asked_keeps_its_door_to_its_end() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2))] {
        let mut cluster = two(Restart::Always);
        cluster.feed(request).pass(millis(20_000));
        assert_eq!(cluster.shut(), [], "it accepts what is in its queue");
        cluster.dies(2, killed(9));
        assert_eq!(cluster.wait(), SECOND, "it did not come to accept everybody");
        assert_eq!(cluster.shut(), [(1, 0, Left)]);
    }
}

#[test]
fn a_worker_that_was_asked_and_closes_its_listener_is_done_with_it() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2)), Input::Stop(Shutdown::Drain, None)] {
        let mut cluster = two_at_two_addresses();
        cluster.feed(request).feed(closed(2));
        assert_eq!(cluster.shut(), [(1, 0, Left)], "it still accepts at the other address");
        cluster.dies(2, exited(0)).pass(SECOND);
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
    cluster.feed(closed(2));
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
