//! When the watch looks, and when it sleeps.

use std::time::Duration;

use super::{
    by_hand::{
        ByHand, Forks,
        Watched::{self, *},
        exited, id, killed, millis, policy,
    },
    rig::Input,
};
use crate::{config::Restart, event::Shutdown};

/// Two workers that are ready, and listen; nobody comes.
fn idle() -> ByHand {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.listens(1).listens(2).pass(LOOK);
    cluster
}

/// It sleeps.
fn asleep() -> ByHand {
    let mut cluster = idle();
    cluster.pass(millis(1025));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(true)], None));
    cluster
}

const LOOK: Duration = Duration::from_millis(25);

#[test]
fn there_is_nothing_to_look_at_before_the_first_fork() {
    let mut cluster = ByHand::start_with(policy(1, Restart::Always), Forks::AreAwaited, 7);
    assert_eq!(cluster.looks_in(), None);
    cluster.feed(Input::Spawned(id(1), 4001));
    assert_eq!(cluster.looks_in(), Some(LOOK));
}

#[test]
fn nothing_happens_for_a_second_and_it_says_so_looks_once_more_and_sleeps() {
    let mut cluster = idle();
    cluster.pass(millis(999));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![], Some(millis(1))));
    cluster.pass(millis(1));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(true)], Some(LOOK)));
    cluster.pass(LOOK);
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![], None), "an idle cluster wakes nobody up");
    assert!(!cluster.waits());
}

#[test]
fn a_turn_and_somebody_who_waits_keep_it_awake() {
    let mut cluster = idle();
    cluster.seat(1, |seat| seat.is_turning = true).pass(millis(5000));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![], Some(LOOK)));
    cluster.seat(1, |seat| seat.is_turning = false).queue(1, |queue| (queue.waits, queue.is_attended) = (true, true));
    cluster.pass(millis(5000));
    assert_eq!(cluster.watched(), []);
    cluster.queue(1, |queue| queue.waits = false).pass(millis(1025));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(true)], None));
}

#[test]
fn what_began_while_it_fell_asleep_is_seen_by_the_last_look() {
    let mut cluster = idle();
    cluster.pass(millis(1000)).seat(2, |seat| seat.turns = 1).pass(LOOK);
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(true), Dozes(false)], Some(LOOK)));
    cluster.pass(millis(1000));
    assert_eq!(cluster.watched(), [Dozes(true)], "a second later");
}

#[test]
fn it_is_woken_by_whoever_turns_a_new_door_and_a_fork() {
    for wakes in [Input::Stirred, Input::Listening(id(1), 0), Input::Exited(id(2), killed(9))] {
        let mut cluster = asleep();
        cluster.feed(wakes);
        assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(false)], Some(LOOK)), "{wakes:?}");
        cluster.feed(Input::Stirred);
        assert_eq!(cluster.watched(), [], "it is awake");
    }
}

#[test]
fn a_door_that_is_shut_is_waited_for_no_more() {
    let mut cluster = idle();
    cluster.feed(Input::ListenerClosed(id(2), 0)).pass(millis(1000));
    assert_eq!(cluster.shut().len(), 1);
    assert!(cluster.watched().ends_with(&[Dozes(false), Dozes(true)]), "nothing else happens");
    cluster.pass(LOOK);
    assert_eq!(cluster.looks_in(), None);
}

#[test]
fn a_turn_that_lasts_is_looked_at_now_and_then() {
    let mut cluster = idle();
    cluster.seat(1, |seat| (seat.turns, seat.busy_since) = (1, 1)).pass(millis(1050));
    assert_eq!(cluster.looks_in(), Some(millis(250)));
    cluster.pass(millis(2500));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(true)], Some(millis(250))));
    cluster.seat(1, |seat| seat.busy_since = 0).pass(millis(250));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(false)], Some(LOOK)), "it goes on");
}

#[test]
fn a_stop_and_the_last_end_end_it() {
    let mut cluster = asleep();
    cluster.feed(Input::Stop(Shutdown::Drain, None));
    assert_eq!((cluster.watched(), cluster.looks_in()), (vec![Dozes(false)], None));
    let mut cluster = ByHand::start(policy(1, Restart::Never));
    cluster.listens(1).pass(millis(2000)).dies(1, exited(0)).watched();
    cluster.end();
    assert_eq!((cluster.watched(), cluster.looks_in()), (Vec::<Watched>::new(), None));
}
