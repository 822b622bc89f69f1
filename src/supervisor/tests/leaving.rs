//! How one worker leaves its slot for good: newcomers first, then the worker.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, exited, id, killed, manual, millis, policy},
    rig::Input,
};
use crate::{
    config::{Restart, Rollout, Settings},
    event::{Event, Shutdown, State},
    id::Signal,
    supervisor::Surrender,
    wire::Leave,
};

/// Two workers that are ready; newcomers can be led past both.
fn steered() -> ByHand {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.listens(1).listens(2).steers(true).did();
    cluster
}

fn draining(cluster: &ByHand, worker: u64) -> bool {
    cluster.workers().iter().any(|info| info.id == id(worker) && info.state == State::Draining)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_worker_serves_for_a_second_while_newcomers_are_led_past_it() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2))] {
        let mut cluster = steered();
        cluster.feed(request);
        assert!(draining(&cluster, 2));
        assert_eq!(cluster.did(), [], "those on their way to it arrive");
        assert_eq!(cluster.wait(), SECOND);
        assert_eq!(cluster.did(), [Did::Ask(2)]);
        cluster.feed(Input::ListenerClosed(id(2), 0));
        assert_eq!(cluster.shut(), [(1, 0, Surrender::Left)], "nobody waits behind it");
        cluster.dies(2, exited(0));
        assert_eq!(cluster.living(), 1);
    }
}

#[test]
fn who_is_told_twice_meanwhile_is_asked_once() {
    let mut cluster = steered();
    cluster.feed(Input::Drain(id(2))).pass(millis(500)).feed(Input::Drain(id(2))).feed(Input::Leaving(id(2)));
    assert_eq!(cluster.did(), []);
    assert_eq!(cluster.wait(), millis(500));
    assert_eq!(cluster.did(), [Did::Ask(2)]);
}

#[test]
fn one_without_an_open_door_is_asked_at_once() {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.listens(1).steers(true).did();
    cluster.feed(Input::Drain(id(2)));
    assert_eq!(cluster.did(), [Did::Ask(2)]);
}

#[test]
fn a_stop_ends_the_wait() {
    let mut cluster = steered();
    cluster.feed(Input::Drain(id(2))).pass(millis(300)).feed(Input::Stop(Shutdown::Drain, None));
    assert_eq!(cluster.did(), [Did::Ask(1), Did::Ask(2)]);
}

#[test]
fn who_dies_while_it_parts_has_left_as_asked() {
    let mut cluster = steered();
    cluster.feed(Input::Drain(id(2))).dies(2, exited(1));
    assert!(cluster.events().iter().any(|event| matches!(event, Event::Exit { cause, .. } if cause.asked())));
    assert_eq!((cluster.did(), cluster.shut(), cluster.wait()), (vec![], vec![], SECOND));
    assert_eq!(cluster.shut(), [(1, 0, Surrender::Left)], "until then siblings took who waited");
}

// By a signal that somebody has sent to it alone.

/// Two workers that are ready, and places for four.
fn crowded() -> ByHand {
    let mut cluster = ByHand::start(Settings { max_workers: Some(2), ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2).steers(true).did();
    cluster
}

#[test]
fn a_worker_that_retires_goes_on_until_its_successor_is_ready() {
    let mut cluster = steered();
    cluster.feed(Input::Retires(id(2)));
    assert_eq!(cluster.did(), [Did::Spawn(1, 3)]);
    assert!(draining(&cluster, 2));
    cluster.pass(millis(300)).feed(Input::Online(id(3)));
    assert_eq!(cluster.asked(), [], "nobody else accepts there yet");
    cluster.pass(millis(200)).listens(3);
    assert_eq!(cluster.asked(), [(2, millis(29_500), Leave::HandOver)], "with what is left of its time");
    cluster.feed(Input::ListenerClosed(id(2), 0)).dies(2, exited(0));
    assert_eq!((cluster.asked(), cluster.shut()), (vec![], vec![]), "its successor has its door");
}

#[test]
fn one_that_leaves_its_door_before_its_successor_is_there_leaves_it_to_that_one() {
    let mut cluster = steered();
    cluster.feed_at_once(&[Input::Retires(id(2)), Input::ListenerClosed(id(2), 0)]);
    cluster.listens(3).dies(2, exited(0));
    assert_eq!(cluster.shut(), []);
}

#[test]
fn a_successor_of_a_rollout_that_is_ready_takes_over_at_once() {
    let mut cluster = steered();
    cluster.feed(Input::Rollout(Rollout::new())).listens(3).feed(Input::Retires(id(1)));
    assert_eq!(cluster.asked(), [(1, Duration::from_secs(30), Leave::HandOver)]);
    assert_eq!(cluster.who()[..2], [(0, 3, State::Ready), (0, 1, State::Draining)]);
}

#[test]
fn one_that_does_not_finish_is_terminated_like_any_other() {
    let mut cluster = steered();
    cluster.feed(Input::Retires(id(2))).listens(3).did();
    assert_eq!(cluster.wait(), Duration::from_secs(30));
    assert!(matches!(cluster.did()[..], [Did::Signal(2, _)]));
}

#[test]
fn a_stop_is_the_word_that_it_waits_for() {
    let mut cluster = steered();
    cluster.feed(Input::Retires(id(2))).pass(millis(1)).feed(Input::Stop(Shutdown::Drain, None));
    let rest = Duration::from_secs(30) - millis(1);
    assert!(cluster.asked().contains(&(2, rest, Leave::Shut)), "at once, or it would accept for half a second more");
}

#[test]
fn newcomers_are_led_past_one_that_nobody_follows() {
    for settings in [policy(2, Restart::Never), policy(2, Restart::OnFailure)] {
        let mut cluster = ByHand::start(settings);
        cluster.listens(1).listens(2).steers(true).did();
        cluster.feed(Input::Retires(id(2)));
        assert_eq!((cluster.parted(), cluster.did()), (vec![2], vec![]));
        assert!(draining(&cluster, 2));
        assert_eq!(cluster.wait(), Duration::from_secs(30));
        assert_eq!(cluster.did(), [Did::Signal(2, Signal::TERM)]);
        cluster.dies(2, killed(15)).pass(Duration::from_secs(3600));
        assert_eq!((cluster.did(), cluster.living()), (vec![], 1), "nor when it had to be ended");
    }
}

#[test]
fn nor_does_anybody_follow_one_in_a_manual_cluster() {
    let mut cluster = ByHand::start(manual(2));
    cluster.feed(Input::Fork).listens(1).did();
    cluster.feed(Input::Retires(id(1))).wait();
    cluster.dies(1, killed(15)).pass(Duration::from_secs(3600));
    assert_eq!((cluster.parted(), cluster.did()), (vec![1], vec![Did::Signal(1, Signal::TERM)]));
}

/// A slot that nobody accepts for weighs more than a process more.
#[test]
fn those_that_linger_do_not_keep_a_successor_from_starting() {
    let mut cluster = ByHand::start(Settings { max_lingering: Some(1), ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2).steers(true).did();
    for worker in [2, 3, 4] {
        cluster.feed(Input::Retires(id(worker))).listens(worker + 1);
    }
    assert_eq!((cluster.living(), cluster.parted()), (5, vec![]));
}

/// A worker that is told to leave by hand again and again must not fill the machine.
#[test]
fn where_there_is_no_place_for_one_more_it_starts_when_the_worker_has_ended() {
    let mut cluster = crowded();
    for worker in 2..6 {
        cluster.feed(Input::Retires(id(worker))).listens(worker + 1);
    }
    assert_eq!((cluster.living(), cluster.parted()), (6, vec![]), "two serve, and four finish");
    cluster.did();
    cluster.feed(Input::Retires(id(6)));
    assert_eq!((cluster.parted(), cluster.did()), (vec![6], vec![]));
    cluster.dies(6, exited(0));
    assert_eq!(cluster.did(), [Did::Spawn(1, 7)]);
}

// Of those that were asked.

#[test]
fn who_has_less_time_than_it_was_told_is_told_again() {
    let linger = Some(Duration::from_secs(300));
    let mut cluster = ByHand::start(Settings { linger_timeout: linger, ..policy(1, Restart::Always) });
    cluster.listens(1).feed(Input::Rollout(Rollout::new())).listens(2).wait();
    assert_eq!(cluster.asked(), [(1, Duration::from_secs(300), Leave::HandOver)]);
    cluster.pass(Duration::from_secs(10)).feed(Input::Stop(Shutdown::Drain, None));
    let within = Duration::from_secs(30);
    assert_eq!(cluster.asked(), [(2, within, Leave::Shut), (1, within, Leave::Shut)]);
}

#[test]
fn who_has_no_less_time_is_not() {
    let mut cluster = steered();
    cluster.steers(false).feed(Input::Drain(id(2))).pass(SECOND).feed(Input::Stop(Shutdown::Drain, None));
    assert_eq!(cluster.did(), [Did::Ask(2), Did::Ask(1)]);
}

#[test]
fn one_that_only_parts_may_listen_at_one_more_address() {
    let mut cluster = steered();
    cluster.feed(Input::AddressAdded).events();
    cluster.feed(Input::Drain(id(2))).feed(Input::Listening(id(2), 1));
    let listens = |event: &Event| matches!(event, Event::Listening { worker, .. } if worker.id == id(2));
    assert!(cluster.events().iter().any(listens), "it serves on for a second");
    cluster.wait();
    cluster.feed(Input::AddressAdded).feed(Input::Listening(id(2), 2));
    assert!(!cluster.events().iter().any(listens), "it was asked to leave");
}
