//! Who accepts at the door of a slot whose workers do not come, and until when.

use std::time::Duration;

use super::{
    by_hand::{
        ByHand, Forks,
        Watched::{self, *},
        exited, id, killed, policy,
    },
    rig::Input,
};
use crate::{
    config::{ReadyWhen, Restart, Rollout, Settings},
    event::Shutdown,
    supervisor::Surrender,
};

/// Three workers that are ready; the third one has the most connections.
fn three() -> ByHand {
    three_with(policy(3, Restart::Always))
}

fn three_with(settings: Settings) -> ByHand {
    let mut cluster = ByHand::start(settings);
    for worker in 1..=3 {
        cluster.listens(worker).seat(worker, |seat| seat.open = worker);
    }
    cluster.pass(LOOK);
    cluster
}

/// Somebody waits at the door of slot 0, and worker 1 does not come.
fn missed() -> ByHand {
    let mut cluster = three();
    cluster.queue(0, |queue| queue.waits = true).pass(2 * LOOK);
    assert_eq!(cluster.watched(), LENT);
    cluster
}

/// What was lent, taken back and led, without who was told to look.
fn loans(cluster: &mut ByHand) -> Vec<Watched> {
    let watched = cluster.watched().into_iter();
    watched.filter(|what| !matches!(what, Dozes(_) | Nudges(_))).collect()
}

const LOOK: Duration = Duration::from_millis(25);
const SECOND: Duration = Duration::from_secs(1);
const LENT: [Watched; 3] = [Nudges(1), Lends(0, 0, 2), Steers(0, true)];

#[test]
fn two_looks_in_succession_at_which_somebody_waits_and_nobody_has_come() {
    let mut cluster = three();
    cluster.queue(0, |queue| queue.waits = true).pass(LOOK);
    assert_eq!(cluster.watched(), [], "healthy workers are met so, too");
    cluster.pass(LOOK);
    assert_eq!(cluster.watched(), LENT, "to the one with the fewest connections; newcomers go elsewhere");
    cluster.seat(2, |seat| seat.is_sweeping = true).pass(10 * SECOND);
    assert_eq!(loans(&mut cluster), [], "as long as somebody comes");
}

#[test]
fn who_comes_is_not_missed_however_many_wait() {
    let mut cluster = three();
    cluster.queue(0, |queue| (queue.waits, queue.is_attended) = (true, true)).pass(10 * SECOND);
    assert_eq!(cluster.watched(), []);
    cluster.queue(0, |queue| queue.is_attended = false).pass(LOOK);
    cluster.queue(0, |queue| queue.looks += 1).pass(2 * LOOK);
    assert_eq!(cluster.watched(), [], "not twice in succession");
}

#[test]
fn it_does_not_matter_why_nobody_comes() {
    let told = Settings { ready_when: ReadyWhen::Told, ..policy(3, Restart::Always) };
    for why in ["dead", "starts", "backs off", "hangs", "full", "closed"] {
        let mut cluster = ByHand::start(told.clone());
        for worker in 1..=3 {
            cluster.listens(worker).feed(Input::Ready(id(worker))).seat(worker, |seat| seat.open = worker);
        }
        match why {
            "dead" => drop(cluster.forks(Forks::AreAwaited).dies(1, killed(9))),
            "starts" => drop(cluster.dies(1, killed(9)).listens(4)),
            "backs off" => drop(cluster.dies(1, killed(9)).listens(4).dies(4, exited(1))),
            "hangs" => drop(cluster.seat(1, |seat| (seat.turns, seat.busy_since) = (3, 9))),
            "full" => drop(cluster.seat(1, |seat| seat.is_short = true)),
            _closed => drop(cluster.feed(Input::ListenerClosed(id(1), 0))),
        }
        cluster.queue(0, |queue| queue.waits = true).pass(2 * LOOK + LOOK);
        assert_eq!(loans(&mut cluster), [Lends(0, 0, 2), Steers(0, true)], "{why}");
    }
}

#[test]
fn the_loan_is_over_when_a_worker_of_the_slot_has_come_and_two_looks_are_clean() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).queue(0, |queue| queue.waits = false).pass(SECOND);
    assert_eq!(loans(&mut cluster), [], "nobody waits, but nobody has come either");
    cluster.queue(0, |queue| queue.looks += 1).pass(LOOK);
    assert_eq!(loans(&mut cluster), []);
    cluster.pass(LOOK);
    assert_eq!(loans(&mut cluster), [TakesBack(0, 2), Steers(0, false)]);
    cluster.queue(0, |queue| queue.waits = true).pass(2 * LOOK);
    assert_eq!(loans(&mut cluster), [Lends(1, 0, 2), Steers(0, true)], "with another number");
}

/// It counts as being back, or newcomers would be led past it for ever.
#[test]
fn the_loan_is_over_when_a_program_accepts_there_by_itself() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).dies(1, killed(9)).listens(4);
    cluster.queue(0, |queue| (queue.waits, queue.is_untold) = (false, true)).pass(2 * LOOK);
    assert_eq!(loans(&mut cluster), [TakesBack(0, 2), Steers(0, false)]);
}

#[test]
fn one_that_comes_once_and_no_more_is_not_back() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).queue(0, |queue| queue.looks += 1).pass(LOOK);
    cluster.pass(SECOND);
    assert_eq!(loans(&mut cluster), [], "somebody waits at every other look");
}

#[test]
fn who_declines_is_not_asked_again_for_a_second() {
    let mut cluster = three();
    cluster.declines(true).queue(0, |queue| queue.waits = true).pass(2 * LOOK);
    assert_eq!(loans(&mut cluster), [Lends(0, 0, 2), Steers(0, true), Lends(1, 0, 3), Steers(0, false)]);
    cluster.pass(SECOND - LOOK);
    assert_eq!(loans(&mut cluster), []);
    cluster.declines(false).pass(LOOK);
    assert_eq!(loans(&mut cluster), [Lends(2, 0, 2), Steers(0, true)]);
    cluster.feed(Input::Returned(id(2), 2));
    assert_eq!(loans(&mut cluster), [Lends(3, 0, 3)], "lent on at once");
    cluster.queue(0, |queue| queue.waits = false).pass(LOOK).feed(Input::Returned(id(3), 3));
    assert_eq!(loans(&mut cluster), [Steers(0, false)], "nobody waits");
}

#[test]
fn a_borrower_that_does_not_come_either_is_followed_by_another_one() {
    let mut cluster = missed();
    cluster.pass(LOOK);
    assert_eq!(loans(&mut cluster), []);
    cluster.pass(LOOK);
    assert_eq!(loans(&mut cluster), [TakesBack(0, 2), Lends(1, 0, 3)], "and newcomers stay away");
    cluster.pass(10 * LOOK);
    assert_eq!(loans(&mut cluster), [], "nobody else is left: better this one than none");
}

#[test]
fn all_hang_and_the_first_that_goes_on_is_asked() {
    let mut cluster = three();
    for worker in 1..=3 {
        cluster.seat(worker, |seat| (seat.turns, seat.busy_since) = (4, 11));
    }
    cluster.pass(2 * LOOK).queue(0, |queue| queue.waits = true).pass(10 * LOOK);
    assert_eq!(loans(&mut cluster), []);
    cluster.seat(3, |seat| (seat.turns, seat.busy_since) = (5, 0)).pass(LOOK);
    assert_eq!(loans(&mut cluster), [Lends(0, 0, 3), Steers(0, true)]);
}

#[test]
fn who_has_no_room_is_not_asked() {
    let mut cluster = three();
    cluster.queue(0, |queue| queue.waits = true).pass(LOOK);
    cluster.seat(2, |seat| seat.is_short = true).pass(LOOK);
    assert_eq!(loans(&mut cluster), [Lends(0, 0, 3), Steers(0, true)]);
}

#[test]
fn nobody_is_asked_who_starts_leaves_or_does_not_accept_there() {
    for unfit in [
        Input::Drain(id(2)),
        Input::Retires(id(2)),
        Input::ChannelClosed(id(2)),
        Input::ListenerClosed(id(2), 0),
        Input::Exited(id(2), killed(9)),
    ] {
        let mut cluster = three();
        cluster.feed(unfit).queue(0, |queue| queue.waits = true).pass(2 * LOOK);
        let lent = loans(&mut cluster).into_iter().filter(|what| matches!(what, Lends(..)));
        assert_eq!(lent.collect::<Vec<_>>(), [Lends(0, 0, 3)], "{unfit:?}");
    }
}

#[test]
fn a_borrower_that_ends_has_no_loan() {
    let mut cluster = missed();
    cluster.dies(2, killed(9));
    assert_eq!(loans(&mut cluster), [Steers(0, false)]);
    cluster.pass(LOOK);
    assert_eq!(loans(&mut cluster), [Lends(1, 0, 3), Steers(0, true)]);
}

#[test]
fn the_only_worker_has_nobody() {
    let mut cluster = ByHand::start(policy(1, Restart::Always));
    cluster.listens(1).queue(0, |queue| queue.waits = true).pass(10 * SECOND);
    assert_eq!(loans(&mut cluster), []);
}

#[test]
fn a_door_that_is_lent_is_taken_back_before_it_is_shut() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).feed(Input::Drain(id(1)));
    cluster.feed(Input::ListenerClosed(id(1), 0));
    assert_eq!(
        (loans(&mut cluster), cluster.shut()),
        (vec![TakesBack(0, 2), Steers(0, false)], vec![(0, 0, Surrender::Left)])
    );
}

#[test]
fn one_that_leaves_its_slot_and_dies_leaves_it_to_a_sibling_for_a_second() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).feed(Input::Drain(id(1))).dies(1, killed(9));
    assert_eq!(loans(&mut cluster), [], "the loan goes on");
    assert_eq!(cluster.wait(), SECOND);
    assert_eq!(loans(&mut cluster), [TakesBack(0, 2), Steers(0, false)]);
    assert_eq!(cluster.shut(), [(0, 0, Surrender::Left)]);
}

#[test]
fn in_a_rollout_the_successor_comes_for_both() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).feed(Input::Rollout(Rollout::new())).listens(4);
    cluster.queue(0, |queue| queue.is_attended = true).pass(3 * LOOK);
    assert_eq!(loans(&mut cluster), [TakesBack(0, 2), Steers(0, false)]);
}

#[test]
fn a_slot_that_is_scaled_away_ends_its_loan_with_its_door() {
    let mut cluster = three();
    cluster.queue(2, |queue| queue.waits = true).pass(2 * LOOK).seat(1, |seat| seat.is_sweeping = true);
    assert_eq!(loans(&mut cluster), [Lends(0, 2, 1), Steers(2, true)]);
    cluster.feed(Input::Scale(2)).feed(Input::ListenerClosed(id(3), 0));
    assert_eq!(loans(&mut cluster), [TakesBack(0, 1), Steers(2, false)]);
    assert_eq!(cluster.shut(), [(2, 0, Surrender::Left)]);
}

#[test]
fn after_a_stop_nothing_is_lent_any_more() {
    let mut cluster = missed();
    cluster.feed(Input::Stop(Shutdown::Drain, None)).pass(SECOND);
    assert_eq!(loans(&mut cluster), []);
    cluster.feed(Input::Returned(id(2), 0));
    assert_eq!(loans(&mut cluster), [Steers(0, false)]);
    cluster.all_die();
    assert!(cluster.end().is_some());
}

#[test]
fn an_address_that_is_removed_takes_its_loans_along() {
    let mut cluster = missed();
    cluster.seat(2, |seat| seat.is_sweeping = true).feed(Input::AddressRemoved(0)).pass(SECOND);
    assert_eq!(loans(&mut cluster), [TakesBack(0, 2), Steers(0, false)]);
    assert_eq!(cluster.shut().len(), 3);
}
