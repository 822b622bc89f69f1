use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{watch::Pulse, *};
use crate::{
    event::Address,
    id::{Slot, WorkerId},
};

fn address(name: &str) -> Address {
    Address::new(name.into(), SocketAddr::from(([127, 0, 0, 1], 80)))
}

fn slot(index: usize) -> Slot {
    Slot::from_index(index)
}

fn id(number: u64) -> WorkerId {
    WorkerId::from_raw(number)
}

/// A process of this slot, forked.
fn sit(seats: &mut Seats, at: usize, number: u64) -> Seat {
    let seat = seats.take(slot(at), id(number)).unwrap();
    seat.has_pid(1000 + u32::try_from(number).unwrap());
    seat
}

#[test]
fn a_process_counts_while_it_lives_and_its_slot_afterwards() {
    let mut seats = Seats::new(2, 2, &[]).unwrap();
    let board = seats.scoreboard();
    let seat = sit(&mut seats, 1, 1);
    let row = Row::new(seat.share());
    (0..3).for_each(|_| row.accepted());
    row.closed();
    row.requests(7);
    row.user(7).store(5, Ordering::Relaxed);
    let [worker] = board.workers()[..] else { panic!("one worker") };
    assert_eq!((worker.slot, worker.id, worker.pid, worker.busy_for), (slot(1), id(1), 1001, None));
    assert_eq!((worker.accepted, worker.closed, worker.open(), worker.requests), (3, 1, 2, 7));
    assert_eq!(worker.user, [0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!((board.total().open(), board.total().abandoned), (2, 0));

    seats.give_back(seat);
    seats.add_reset(slot(1), 4);
    assert!(board.workers().is_empty());
    let [(at, totals)] = board.slots()[..] else { panic!("one slot") };
    assert_eq!((at, totals), (slot(1), board.total()));
    assert_eq!((totals.processes, totals.accepted, totals.closed, totals.open()), (1, 3, 1, 0));
    assert_eq!((totals.abandoned, totals.reset, totals.requests, totals.user[7]), (2, 4, 7, 5));
}

#[test]
fn a_new_process_finds_nothing_of_the_old_one() {
    let mut seats = Seats::new(1, 1, &[address("a")]).unwrap();
    let seat = sit(&mut seats, 0, 1);
    seat.hears();
    seat.drain();
    seat.add_frame();
    seat.busy();
    seat.set_full(true);
    seat.set_paused(true);
    seat.adopted_at(slot(0), 0);
    seat.looked(0);
    seat.looked(63);
    seat.swept();
    seat.closed_because(Reason::Failed, 1);
    Row::new(seat.share()).user(0).store(1, Ordering::Relaxed);
    assert!(seats.take(slot(0), id(2)).is_none(), "all seats are taken");
    seats.give_back(seat);
    let seat = sit(&mut seats, 0, 2);
    assert!(!seat.is_aware() && !seat.is_draining());
    assert_eq!(seat.frames_sent(), 0);
    let [worker] = seats.scoreboard().workers()[..] else { panic!("one worker") };
    assert_eq!((worker.id, worker.turns, worker.busy_for, worker.user), (id(2), 0, None, [0; 8]));
    assert_eq!((worker.full, worker.paused, worker.closes), (false, false, Closes::default()));
    assert_eq!((seat.pulse(), seat.looks(0), seat.looks(63)), (Pulse::default(), Some(0), Some(0)));
}

#[test]
fn a_fork_that_failed_was_no_process() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let seat = seats.take(slot(0), id(1)).unwrap();
    assert!(seats.scoreboard().workers().is_empty(), "not yet");
    seats.give_back(seat);
    assert!(seats.scoreboard().slots().is_empty());
    assert_eq!(seats.scoreboard().total(), Totals::default());
}

#[test]
fn a_turn_lasts_from_busy_to_idle() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let row = Row::new(sit(&mut seats, 0, 1));
    let look = || seats.scoreboard().workers()[0];
    row.busy();
    let first = look().busy_for.unwrap();
    let second = look().busy_for.unwrap();
    assert!(first <= second && second < Duration::from_secs(60));
    row.idle();
    row.idle();
    assert_eq!((look().busy_for, look().turns), (None, 1));
}

#[test]
fn reasons_are_counted_as_closed_and_across_restarts() {
    use Reason::*;
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let board = seats.scoreboard();
    let all = [ByService, ByPeer, Reset, TimedOut, OverLimit, Drained, Failed, Shed];
    for process in 1..=2 {
        let seat = sit(&mut seats, 0, process);
        (1..).zip(all).for_each(|(count, reason)| seat.closed_because(reason, count));
        Row::new(seat.share()).closed();
        let [worker] = board.workers()[..] else { panic!("one worker") };
        let Closes { by_service, by_peer, reset, timed_out, over_limit, drained, failed, shed } = worker.closes;
        let words = [by_service, by_peer, reset, timed_out, over_limit, drained, failed, shed];
        assert_eq!((words, worker.closed), ([1, 2, 3, 4, 5, 6, 7, 8], 36 + 1), "one without a reason");
        assert_eq!(board.total().closes.shed, process * 8);
        seats.give_back(seat);
    }
    assert_eq!((board.total().closes.by_peer, board.total().closed), (4, 74));
    assert_eq!(board.total().reset, 0, "those were not accepted");
}

#[test]
fn a_worker_without_room_is_seen_until_it_has_some() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let seat = sit(&mut seats, 0, 1);
    for (full, paused) in [(false, false), (true, false), (true, true), (true, true), (false, true), (false, false)] {
        seat.set_full(full);
        seat.set_paused(paused);
        let worker = seats.scoreboard().workers()[0];
        assert_eq!((worker.full, worker.paused), (full, paused));
        assert_eq!((seat.pulse().full, seat.pulse().paused), (full, paused));
    }
}

/// It counts for the worker that has accepted it, and for the door where it waited.
#[test]
fn an_adopted_connection_counts_at_the_door_of_the_other_slot() {
    let mut seats = Seats::new(2, 2, &[address("a"), address("b")]).unwrap();
    let [adopter, _owner] = [sit(&mut seats, 0, 1), sit(&mut seats, 1, 2)];
    assert!(adopter.knows(slot(1)) && !adopter.knows(slot(2)));
    adopter.accepted_at(1);
    adopter.adopted_at(slot(1), 1);
    let board = seats.scoreboard();
    let workers: Vec<_> = board.workers().iter().map(|worker| (worker.accepted, worker.adopted)).collect();
    assert_eq!(workers, [(2, 1), (0, 0)]);
    let doors: Vec<_> = board.doors().iter().map(|door| (door.slot, door.accepted)).collect();
    assert_eq!(doors, [(slot(0), 0), (slot(0), 1), (slot(1), 0), (slot(1), 1)]);
    seats.give_back(adopter);
    assert_eq!((board.total().accepted, board.total().adopted), (2, 1));
}

#[test]
fn a_pulse_is_what_the_worker_says() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let seat = sit(&mut seats, 0, 1);
    let row = Row::new(seat.share());
    assert_eq!(seat.pulse(), Pulse::default());
    let since = seat.busy();
    (0..3).for_each(|_| row.accepted());
    row.closed();
    row.requests(7);
    seat.swept();
    let pulse = Pulse {
        turns: 1,
        busy_since: since,
        open: 2,
        accepted: 3,
        requests: 7,
        borrowed_looks: 1,
        full: false,
        paused: false,
    };
    assert_eq!(seat.pulse(), pulse);
    seat.idle();
    assert_eq!(seat.pulse(), Pulse { busy_since: 0, ..pulse });
}

#[test]
fn looks_count_for_their_address() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let seat = sit(&mut seats, 0, 1);
    for (address, times) in [(0, 2), (1, 0), (63, 5)] {
        (0..times).for_each(|_| seat.looked(address));
    }
    assert_eq!([0, 1, 62, 63].map(|address| seat.looks(address)), [Some(2), Some(0), Some(0), Some(5)]);
    seat.looked(64);
    assert_eq!((seat.looks(64), seat.looks(0)), (Some(3), Some(3)), "they share a word");
    seat.looks_untold(62);
    assert_eq!((seat.looks(62), seat.looks(63)), (None, Some(5)), "the program accepts there by itself");
}

#[test]
fn the_first_turn_wakes_a_watch_that_dozes() {
    let mut seats = Seats::new(2, 2, &[]).unwrap();
    let [one, other] = [sit(&mut seats, 0, 1), sit(&mut seats, 1, 2)];
    let woken = |seats: &Seats| seats.watch().read().ok();
    one.busy();
    assert_eq!(woken(&seats), None, "it is awake");
    let doze = |on| [&one, &other].into_iter().for_each(|seat| seat.doze(on));
    doze(true);
    one.idle();
    assert_eq!(woken(&seats), None, "who goes to sleep wakes nobody");
    other.busy();
    other.busy();
    assert_eq!(woken(&seats), Some(1), "once");
    one.busy();
    assert_eq!(woken(&seats), Some(1), "whatever the other one has done to its own word");
    doze(true);
    doze(false);
    one.busy();
    assert_eq!(woken(&seats), None, "it woke by itself");
}

#[test]
fn doors_count_across_restarts_and_are_ready_while_somebody_listens() {
    let mut seats = Seats::new(3, 3, &[address("a"), address("b")]).unwrap();
    let board = seats.scoreboard();
    for number in 1..=2 {
        let seat = sit(&mut seats, 2, number);
        seat.listens_at(1);
        seat.accepted_at(1);
        assert_eq!(board.doors()[1].accepted, number);
        assert!(board.doors()[1].ready);
        assert_eq!(board.workers()[0].accepted, 1, "the worker has accepted it, too");
        // The process is killed, so nobody shuts the door.
        seats.give_back(seat);
        assert!(!board.doors()[1].ready);
    }
    let doors: Vec<_> = board.doors().iter().map(|door| (door.slot, door.address.clone(), door.accepted)).collect();
    assert_eq!(doors, [(slot(2), address("a"), 0), (slot(2), address("b"), 2)]);
}

/// What a corrupted process may write into its page.
#[test]
fn nonsense_is_read_without_harm() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let seat = sit(&mut seats, 0, 1);
    let words = seats.scoreboard();
    words.table().seat(0).iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
    let [worker] = words.workers()[..] else { panic!("one worker") };
    assert_eq!((worker.id, worker.pid, worker.busy_for), (id(1), 1001, Some(Duration::ZERO)));
    assert_eq!((seat.pulse().open, seat.pulse().full), (0, true));
    seat.looked(0);
    assert_eq!(seat.looks(0), Some(0));
    seats.give_back(seat);
    let totals = words.total();
    assert_eq!((totals.accepted, totals.abandoned, totals.open()), (u64::MAX, 0, 0));
}

/// Every process accepts 10; a reader that looks at any moment sees a multiple of 10 that never falls.
#[test]
fn a_process_is_counted_once_at_any_moment() {
    let mut seats = Seats::new(1, 1, &[]).unwrap();
    let board = seats.scoreboard();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=2000 {
                let seat = seats.take(slot(0), id(number)).unwrap();
                let row = Row::new(seat.share());
                (0..10).for_each(|_| row.accepted());
                seat.has_pid(1);
                seats.give_back(seat);
            }
            over.store(true, Ordering::Release);
        });
        let mut last = 0;
        while !over.load(Ordering::Acquire) {
            let total = board.total();
            assert_eq!(total.accepted, total.processes * 10);
            assert!(total.accepted >= last);
            last = total.accepted;
        }
    });
    assert_eq!(board.total().accepted, 20_000);
}

#[test]
fn a_seat_alone_is_on_no_scoreboard() {
    let seat = Seat::alone(slot(0), id(1), 1).unwrap();
    let row = Row::new(seat.share());
    seat.accepted_at(0);
    row.requests(2);
    assert_eq!(format!("{row:?}"), "Row { slot: Some(Slot(0)), id: Some(WorkerId(1)), .. }");
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn there_are_eight_cells() {
    let _ = Row::new(Seat::alone(slot(0), id(1), 0).unwrap()).user(8);
}
