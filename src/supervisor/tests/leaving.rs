//! How one worker leaves its slot for good: newcomers first, then the worker.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, exited, id, millis, policy},
    rig::Input,
};
use crate::{
    config::Restart,
    event::{Event, Shutdown, State},
    supervisor::Surrender,
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
    assert_eq!((cluster.did(), cluster.shut()), (vec![], vec![(1, 0, Surrender::Left)]));
}

// Of its own accord.

#[test]
fn a_worker_that_drains_by_itself_has_a_successor_at_once() {
    let mut cluster = steered();
    cluster.feed_at_once(&[Input::Retires(id(2)), Input::ListenerClosed(id(2), 0)]);
    assert_eq!(cluster.did(), [Did::Spawn(1, 3)]);
    cluster.listens(3).dies(2, exited(0));
    assert_eq!((cluster.did(), cluster.shut()), (vec![], vec![]), "which has its doors");
}

#[test]
fn one_that_does_not_finish_is_terminated_like_any_other() {
    let mut cluster = steered();
    cluster.feed(Input::Retires(id(2))).listens(3).did();
    assert_eq!(cluster.wait(), Duration::from_secs(30));
    assert!(matches!(cluster.did()[..], [Did::Signal(2, _)]));
}

#[test]
fn it_waits_for_its_end_where_nobody_follows() {
    let mut cluster = ByHand::start(policy(2, Restart::Never));
    cluster.listens(1).listens(2).did();
    cluster.feed(Input::Retires(id(2)));
    assert_eq!(cluster.did(), []);
    assert!(!draining(&cluster, 2), "it is not the master that wants it gone");
}

/// A worker that is told to drain by hand again and again must not fill the machine.
#[test]
fn no_more_linger_than_are_allowed_to() {
    let mut cluster = steered();
    for worker in [2, 3, 4] {
        cluster.feed(Input::Retires(id(worker))).listens(worker + 1);
    }
    assert_eq!(cluster.living(), 4, "two serve, two finish, and the third has to end first");
}
