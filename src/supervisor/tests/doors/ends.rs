//! Doors when the cluster stops, or leaves them to the program.

use super::*;

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
    assert_eq!(cluster.wait(), SECOND);
    assert_eq!(cluster.shut(), [(0, 0, Unattended)]);
    cluster.feed(Input::Drain(id(2))).feed(closed(2)).dies(2, exited(0));
    assert_eq!(cluster.shut(), [(1, 0, Left)], "whoever was asked leaves nothing");
}

#[test]
fn a_manual_fork_that_has_to_wait_shuts_the_door() {
    let backoff = Backoff { first: HOUR, most: HOUR };
    let told = Settings { ready_when: ReadyWhen::Told, backoff, ..manual(1) };
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
