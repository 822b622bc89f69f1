//! Back-off, healthy deaths, bursts, and forks that fail.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, exited, id, killed, manual, millis, policy},
    rig::Input,
};
use crate::{
    config::{Backoff, Intensity, Restart, Settings},
    id::Signal,
    supervisor::SpawnFailure,
};

/// Slot 0 has a worker that is ready for good, so that the deaths of slot 1 are nobody's failed start.
fn beside_a_healthy_one(seed: u64) -> ByHand {
    let settings = Settings { keep_listeners: false, ..policy(2, Restart::Always) };
    let mut cluster = ByHand::start_with(settings, Forks::Work, seed);
    cluster.listens(1).did();
    cluster.events();
    cluster
}

#[test]
fn starts_that_fail_are_tried_ever_more_slowly() {
    let mut spread = Vec::new();
    for seed in 0..50 {
        let mut cluster = beside_a_healthy_one(seed);
        for failures in 0..12 {
            cluster.dies(failures + 2, exited(1));
            let (delay, deaths) = cluster.backoff().expect("a failed start is delayed");
            let nominal = millis(100 << failures).min(Duration::from_secs(30));
            let ratio = delay.as_secs_f64() / nominal.as_secs_f64();
            assert!((0.8..=1.2).contains(&ratio), "{delay:?} after {failures} failures");
            assert_eq!(deaths, failures as u32 + 1);
            spread.push(ratio);
            assert_eq!(cluster.did(), []);
            assert_eq!(cluster.wait(), delay);
            assert_eq!(cluster.did(), [Did::Spawn(1, failures + 3)]);
        }
    }
    assert!(spread.iter().any(|ratio| *ratio < 0.85) && spread.iter().any(|ratio| *ratio > 1.15), "the delays vary");
}

#[test]
fn a_healthy_worker_is_replaced_at_once_up_to_20_times_a_second() {
    let mut cluster = beside_a_healthy_one(1);
    for worker in 2..22 {
        cluster.listens(worker).dies(worker, killed(9));
        assert_eq!(cluster.did(), [Did::Spawn(1, worker + 1)]);
    }
    cluster.listens(22).dies(22, killed(9));
    assert_eq!(cluster.did(), [], "the 21st within a second");
    cluster.pass(millis(1000));
    assert_eq!(cluster.did(), [Did::Spawn(1, 23)]);
    cluster.listens(23).dies(23, killed(9));
    assert_eq!(cluster.did(), [Did::Spawn(1, 24)], "the burst is over");
}

#[test]
fn a_worker_killed_every_50_ms_is_replaced_at_once_for_ever() {
    let mut cluster = beside_a_healthy_one(1);
    for worker in 2..202 {
        cluster.listens(worker).pass(millis(50)).did();
        cluster.dies(worker, killed(9));
        assert_eq!(cluster.did(), [Did::Spawn(1, worker + 1)]);
    }
    assert_eq!(cluster.backoff(), None);
}

#[test]
fn ten_seconds_of_ready_end_a_crash_loop_and_less_do_not() {
    for (ready, next) in [(9_999, 4), (10_000, 1), (3_600_000, 1)] {
        let mut cluster = beside_a_healthy_one(1);
        for worker in 2..5 {
            cluster.dies(worker, exited(1)).wait();
        }
        cluster.listens(5).pass(millis(ready)).dies(5, exited(1)).events();
        cluster.dies(6, exited(1));
        assert_eq!(cluster.backoff().map(|(_, deaths)| deaths), Some(next), "ready for {ready} ms");
    }
}

#[test]
fn a_worker_that_left_as_asked_ends_a_crash_loop_too() {
    let mut cluster = ByHand::start(manual(1));
    for worker in 1..6 {
        cluster.feed(Input::Fork).pass(Duration::from_secs(40)).dies(worker, exited(1));
    }
    cluster.feed(Input::Fork).pass(Duration::from_secs(40)).listens(6).pass(Duration::from_secs(10));
    cluster.feed(Input::Drain(id(6))).dies(6, exited(0));
    cluster.feed(Input::Fork).dies(7, exited(1)).feed(Input::Fork);
    assert!(cluster.backoff().is_some_and(|(delay, _)| delay <= millis(120)));
}

#[test]
fn a_program_that_forks_in_a_loop_is_held_to_the_back_off() {
    let mut cluster = ByHand::start(manual(2));
    cluster.feed(Input::Fork).did();
    for worker in 1..8 {
        cluster.dies(worker, exited(1));
        assert_eq!(cluster.did(), [], "with manual nothing is forked but by fork()");
        cluster.feed(Input::Fork);
        let (delay, deaths) = cluster.backoff().expect("the fork waits");
        assert!(delay >= millis(80 << (worker - 1)) && deaths == worker as u32, "{delay:?}");
        assert_eq!(cluster.did(), []);
        assert_eq!(cluster.end(), None, "one is due");
        assert_eq!(cluster.wait(), delay);
        assert_eq!(cluster.did(), [Did::Spawn(0, worker + 1)]);
    }
    cluster.listens(8).dies(8, exited(1)).feed(Input::Fork);
    assert_eq!(cluster.did(), [Did::Spawn(0, 9)], "a healthy worker's successor does not wait");
    cluster.dies(9, exited(1)).pass(Duration::from_secs(10)).feed(Input::Fork);
    assert_eq!(cluster.did(), [], "the eighth delay is 12.8 s");
    cluster.pass(Duration::from_secs(6));
    assert_eq!(cluster.did(), [Did::Spawn(0, 10)]);
}

#[test]
fn threads_cost_nothing_and_any_input_is_a_reason_to_look_again() {
    let intensity = Some(Intensity { restarts: 2, period: Duration::MAX });
    let mut cluster = ByHand::start(Settings { intensity, keep_listeners: false, ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2).forks(Forks::Fail(SpawnFailure::Threads)).dies(2, killed(9)).did();
    for input in [Input::Online(id(1)), Input::ChannelClosed(id(1)), Input::Kill(id(1), Signal::USR1)] {
        cluster.pass(millis(999));
        assert_eq!(cluster.did(), []);
        cluster.feed(input);
        assert!(cluster.did().contains(&Did::Spawn(1, 3)), "{input:?}");
    }
    // Meanwhile the door of worker 1 is shut.
    cluster.pass(Duration::from_secs(1)).did();
    for _ in 0..200 {
        assert_eq!(cluster.wait(), Duration::from_secs(1));
        assert_eq!(cluster.did(), [Did::Spawn(1, 3)]);
    }
    assert_eq!(cluster.backoff(), None);
    cluster.forks(Forks::Work).wait();
    cluster.dies(3, exited(1));
    assert_eq!(cluster.backoff().map(|(_, deaths)| deaths), Some(1), "the second restart, the first delay");
}

#[test]
fn a_fork_that_works_tells_the_others_that_the_threads_are_gone() {
    let mut cluster = ByHand::start_with(policy(2, Restart::Always), Forks::AreAwaited, 1);
    cluster.feed(Input::SpawnFailed(id(1), SpawnFailure::Threads)).did();
    cluster.feed(Input::Spawned(id(2), 4002));
    assert_eq!(cluster.did(), [Did::Spawn(0, 1)]);
}

#[test]
fn a_refused_fork_is_a_failed_start() {
    let mut cluster = beside_a_healthy_one(1);
    cluster.listens(2).forks(Forks::Fail(SpawnFailure::Refused)).dies(2, killed(9));
    for deaths in 1..5 {
        let (delay, count) = cluster.backoff().expect("a refused fork is delayed");
        assert_eq!(count, deaths);
        assert!(delay >= millis(80 << (deaths - 1)) && delay <= millis(120 << (deaths - 1)));
        assert_eq!(cluster.wait(), delay);
    }
    cluster.forks(Forks::Work).wait();
    assert_eq!(cluster.living(), 2);
}

#[test]
fn limits_of_any_length_are_limits() {
    for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 4), Duration::from_secs(50 * 365 * 86_400)] {
        let mut settings = policy(2, Restart::Always);
        settings.backoff = Backoff { first: limit, most: limit };
        (settings.ready_timeout, settings.drain_timeout, settings.terminate_timeout) = (limit, limit, limit);
        let mut cluster = ByHand::start(settings);
        cluster.listens(1).dies(2, exited(1)).feed(Input::Drain(id(1))).feed(Input::Deaf(id(1)));
        cluster.pass(Duration::from_secs(365 * 86_400));
        assert_eq!(cluster.living(), 1);
    }
}
