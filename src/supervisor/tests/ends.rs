//! The table "End of a cluster", and giving up by intensity.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, exited, id, killed, policy},
    rig::Input,
};
use crate::{
    config::{Intensity, Restart, Settings},
    event::{Cause, Event, ExitStatus, Shutdown},
    id::Signal,
    supervisor::Outcome,
};

/// What follows an end.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    Restart,
    /// The slot is retired; as the last one it ends the cluster well.
    Good,
    /// The slot is retired; as the last one it ends the cluster with an error.
    Bad,
}

use Then::{Bad, Good, Restart as Again};

/// Status, `no_restart_on`, and what follows with `Always`, `OnFailure`, `Never`.
fn table() -> Vec<(ExitStatus, &'static [i32], [Then; 3])> {
    vec![
        (exited(0), &[], [Again, Good, Good]),
        (exited(1), &[], [Again, Again, Bad]),
        (exited(101), &[], [Again, Again, Bad]),
        (killed(11), &[], [Again, Again, Bad]),
        (killed(37), &[], [Again, Again, Bad]),
        (ExitStatus::unknown(), &[], [Again, Again, Bad]),
        (exited(3), &[3], [Good, Good, Good]),
        (exited(0), &[0], [Good, Good, Good]),
        (exited(1), &[0, 3], [Again, Again, Bad]),
        // A listed number is an exit code, not a signal.
        (killed(3), &[3], [Again, Again, Bad]),
    ]
}

fn one_worker(restart: Restart, listed: &[i32]) -> ByHand {
    let mut cluster = ByHand::start(Settings { no_restart_on: listed.to_vec(), ..policy(1, restart) });
    cluster.listens(1).did();
    cluster
}

fn every_case() -> impl Iterator<Item = (ExitStatus, &'static [i32], Restart, Then)> {
    const POLICIES: [Restart; 3] = [Restart::Always, Restart::OnFailure, Restart::Never];
    let rows = table().into_iter();
    rows.flat_map(|(status, listed, then)| (0..3).map(move |at| (status, listed, POLICIES[at], then[at])))
}

#[test]
fn an_end_that_nobody_asked_for() {
    for (status, listed, restart, then) in every_case() {
        let case = format!("{status} with {restart:?} and {listed:?}");
        let mut cluster = one_worker(restart, listed);
        cluster.dies(1, status);
        match then {
            Again => {
                assert_eq!(cluster.did(), [Did::Spawn(0, 2)], "{case}");
                assert_eq!(cluster.end(), None, "{case}");
            }
            Good | Bad => {
                assert_eq!(cluster.did(), [], "{case}");
                let result = cluster.end().expect(&case).into_result();
                assert_eq!(result.is_ok(), then == Good, "{case}");
                if let Err(error) = result {
                    assert_eq!(error.exit_code(), 1, "{case}");
                    assert!(error.to_string().contains(&format!("slot 0: {status}")), "{case}: {error}");
                }
            }
        }
    }
}

#[test]
fn an_end_that_was_asked_for_is_never_followed_by_a_restart() {
    let requests = [
        Input::Drain(id(1)),
        Input::Leaving(id(1)),
        Input::Stop(Shutdown::Drain, None),
        Input::Stop(Shutdown::Now, Some(Signal::QUIT)),
    ];
    for (status, listed, restart, _) in every_case() {
        for request in requests {
            let mut cluster = one_worker(restart, listed);
            cluster.feed(request).did();
            cluster.dies(1, status);
            assert_eq!(cluster.did(), []);
            assert!(cluster.events().iter().any(|event| matches!(event, Event::Exit { cause: Cause::Asked, .. })));
            assert!(cluster.end().expect("it has ended").into_result().is_ok(), "{request:?}, {status}");
        }
    }
}

#[test]
fn a_worker_killed_by_the_program_follows_the_table() {
    for (_, listed, restart, _) in every_case() {
        let mut cluster = one_worker(restart, listed);
        cluster.feed(Input::Kill(id(1), Signal::KILL)).feed(Input::Kill(id(1), Signal::USR1)).did();
        cluster.dies(1, killed(9));
        assert!(cluster.events().iter().any(|event| matches!(event, Event::Exit { cause: Cause::Killed, .. })));
        let restarted = if restart == Restart::Never { vec![] } else { vec![Did::Spawn(0, 2)] };
        assert_eq!(cluster.did(), restarted);
    }
}

#[test]
fn the_cluster_ends_with_the_last_slot_and_names_those_that_ended_badly() {
    let mut cluster = ByHand::start(policy(3, Restart::Never));
    for worker in 1..=3 {
        cluster.listens(worker);
    }
    cluster.dies(1, exited(0)).dies(3, killed(11));
    assert_eq!(cluster.end(), None, "worker 2 lives");
    cluster.feed(Input::Drain(id(2))).dies(2, exited(5));
    let error = cluster.end().expect("all slots are empty").into_result().unwrap_err().to_string();
    assert!(error.contains("slot 2: was killed by SIGSEGV"), "{error}");
    assert!(!error.contains("slot 0") && !error.contains("slot 1"), "{error}");
}

#[test]
fn more_restarts_than_the_intensity_end_the_cluster_in_order() {
    let period = Duration::from_secs(10);
    let intensity = Some(Intensity { restarts: 3, period });
    let mut cluster = ByHand::start(Settings { intensity, ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2);
    for worker in [1, 3, 4] {
        cluster.dies(worker, killed(11)).listens(worker.max(2) + 1).pass(Duration::from_secs(1));
    }
    cluster.pass(period).dies(5, exited(1)).listens(6);
    assert!(!cluster.events().iter().any(|event| matches!(event, Event::Stopping(_))), "the period has passed");
    for worker in 6..=7 {
        cluster.dies(worker, exited(1)).listens(worker + 1);
    }
    cluster.did();
    cluster.dies(8, exited(1));
    assert_eq!(cluster.did(), [Did::Ask(2)]);
    assert_eq!(cluster.end(), None);
    cluster.dies(2, exited(0));
    let end = cluster.end().expect("the last worker is gone");
    assert_eq!(end, Outcome::GaveUp(intensity));
    let error = end.into_result().unwrap_err();
    assert!(error.is_gave_up() && error.exit_code() == 4 && error.to_string().contains("more than 3 within 10s"));
}
