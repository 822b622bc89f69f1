//! "Never ready": when the first starts of a cluster fail it ends at once instead of trying for ever.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, exited, id, killed, policy},
    rig::Input,
};
use crate::{
    config::{Intensity, Restart, Settings},
    event::{Cause, Event},
    id::Signal,
    supervisor::SpawnFailure,
};

fn three() -> ByHand {
    let mut cluster = ByHand::start(policy(3, Restart::Always));
    cluster.did();
    cluster
}

/// The end of a cluster that never was ready; panics if it goes on.
#[track_caller]
fn error_of(cluster: &mut ByHand) -> String {
    let error = cluster.all_die().end().expect("the cluster has ended").into_result().unwrap_err();
    assert!(error.is_never_ready() && error.exit_code() == 3, "{error}");
    error.to_string()
}

#[test]
fn all_first_workers_died() {
    let mut cluster = three();
    cluster.dies(2, exited(1)).dies(3, killed(6));
    assert_eq!(cluster.end(), None);
    cluster.dies(1, exited(101));
    let error = error_of(&mut cluster);
    for end in ["slot 0: exited with code 101", "slot 1: exited with code 1", "slot 2: was killed by SIGABRT"] {
        assert!(error.contains(end), "{end} is missing in {error}");
    }
    assert_eq!(cluster.did(), [], "nothing is restarted and nobody was left to kill");
}

#[test]
fn all_first_workers_missed_the_deadline() {
    let mut cluster = three();
    assert_eq!(cluster.wait(), Duration::from_secs(60));
    assert_eq!(cluster.did(), [1, 2, 3].map(|worker| Did::Signal(worker, Signal::KILL)));
    let error = error_of(&mut cluster);
    assert!(error.contains("slot 2: was killed by SIGKILL"), "{error}");
    let not_ready = |event: &Event| matches!(event, Event::Exit { cause: Cause::NotReady, .. });
    assert_eq!(cluster.events().iter().filter(|event| not_ready(event)).count(), 3);
}

#[test]
fn some_died_and_some_missed_the_deadline() {
    let mut cluster = three();
    cluster.dies(1, exited(1)).pass(Duration::from_secs(30));
    cluster.dies(4, exited(2)).pass(Duration::from_secs(30));
    cluster.dies(2, killed(9));
    assert_eq!(cluster.end(), None, "worker 3 was killed but has not ended");
    cluster.dies(3, killed(9));
    let error = error_of(&mut cluster);
    assert!(error.contains("slot 0: exited with code 2"), "the last status of each slot: {error}");
}

#[test]
fn one_that_was_ready_is_enough_to_go_on() {
    let mut cluster = three();
    cluster.listens(2).dies(2, exited(1)).dies(1, exited(1)).dies(3, exited(1)).dies(4, exited(1));
    assert_eq!(cluster.end(), None);
    cluster.pass(Duration::from_secs(3600));
    assert_eq!(cluster.living(), 3);
}

#[test]
fn a_first_worker_that_left_as_asked_says_nothing_of_the_others() {
    for request in [Input::Drain(id(2)), Input::Leaving(id(2)), Input::Scale(1)] {
        let mut cluster = three();
        cluster.feed(Input::Drain(id(3))).dies(3, exited(0)).feed(request).dies(2, exited(0));
        assert_eq!(cluster.end(), None, "{request:?}: worker 1 may still be ready");
        cluster.dies(1, exited(1));
        let error = error_of(&mut cluster);
        assert!(error.contains("slot 0: exited with code 1") && !error.contains("slot 1"), "{request:?}: {error}");
    }
}

#[test]
fn a_fork_that_works_in_the_end_takes_its_refusal_back() {
    let refused = Forks::Fail(SpawnFailure::Refused);
    let mut cluster = ByHand::start_with(policy(2, Restart::Always), Forks::AreAwaited, 1);
    cluster.feed(Input::SpawnFailed(id(1), SpawnFailure::Refused)).feed(Input::Spawned(id(2), 4002));
    cluster.forks(Forks::Work).wait();
    cluster.dies(2, exited(1));
    assert_eq!(cluster.end(), None, "worker 1 has been forked by now and starts");
    cluster.listens(1);
    assert_eq!(cluster.end(), None);

    let mut cluster = ByHand::start_with(policy(2, Restart::Always), refused, 1);
    assert_eq!(cluster.end(), None, "a refusal may pass");
    for _ in 0..20 {
        cluster.wait();
    }
    assert!(
        error_of(&mut cluster).contains("slot 1: fork"),
        "who could not be forked until the ready deadline has missed it"
    );
}

#[test]
fn threads_are_nobodys_failed_start() {
    let mut cluster = ByHand::start_with(policy(2, Restart::Always), Forks::Fail(SpawnFailure::Threads), 1);
    for _ in 0..100 {
        cluster.wait();
    }
    assert_eq!(cluster.end(), None);
    cluster.forks(Forks::Work).wait();
    assert_eq!(cluster.living(), 2);
}

#[test]
fn never_ready_goes_before_the_intensity() {
    let intensity = Some(Intensity { restarts: 1, period: Duration::from_secs(60) });
    let mut cluster = ByHand::start(Settings { intensity, ..policy(2, Restart::Always) });
    cluster.dies(1, exited(1)).dies(2, exited(1));
    error_of(&mut cluster);
}

#[test]
fn second_workers_are_killed_and_those_due_are_not_started() {
    let mut cluster = three();
    cluster.dies(1, exited(1)).wait();
    cluster.dies(2, exited(1)).did();
    cluster.dies(3, exited(1));
    assert_eq!(cluster.did(), [Did::Signal(4, Signal::KILL)]);
    error_of(&mut cluster);
}

#[test]
fn a_slot_that_is_retired_counts_as_failed() {
    let mut cluster = ByHand::start(policy(2, Restart::OnFailure));
    cluster.dies(1, exited(0)).dies(2, exited(0));
    error_of(&mut cluster);
}
