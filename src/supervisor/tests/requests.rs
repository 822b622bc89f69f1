//! Requests of the program and of signals: in every state of a worker, and every pair of them.

use std::{collections::BTreeSet, time::Duration};

use super::{
    by_hand::{ByHand, Did, Forks, exited, id, killed, manual, millis, pid, policy},
    rig::Input,
};
use crate::{
    config::Restart,
    event::{Event, Shutdown, State},
    id::Signal,
    supervisor::SpawnFailure,
};

/// Where worker `SUBJECT` stands when the request comes. Worker 1 is ready all the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stands {
    NeverWas,
    Due,
    AwaitsThreads,
    Forking,
    Starting,
    Online,
    Ready,
    Disconnected,
    Leaving,
    Asked,
    Terminated,
    MissedDeadline,
    Gone,
    ClusterStops,
    ClusterStopsAtOnce,
    ClusterFinished,
}

use Stands::*;

const EVERYWHERE: [Stands; 16] = [
    NeverWas,
    Due,
    AwaitsThreads,
    Forking,
    Starting,
    Online,
    Ready,
    Disconnected,
    Leaving,
    Asked,
    Terminated,
    MissedDeadline,
    Gone,
    ClusterStops,
    ClusterStopsAtOnce,
    ClusterFinished,
];

const SUBJECT: u64 = 2;

/// The default of `Settings`.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

fn requests() -> [Input; 11] {
    let subject = id(SUBJECT);
    [
        Input::Fork,
        Input::Drain(subject),
        Input::Leaving(subject),
        Input::Kill(subject, Signal::TERM),
        Input::Kill(subject, Signal::KILL),
        Input::Kill(subject, Signal::USR1),
        Input::Stop(Shutdown::Drain, None),
        Input::Stop(Shutdown::Drain, Some(Signal::TERM)),
        Input::Stop(Shutdown::Drain, Some(Signal::INT)),
        Input::Stop(Shutdown::Now, None),
        Input::Stop(Shutdown::Now, Some(Signal::QUIT)),
    ]
}

fn bring_to(stands: Stands) -> ByHand {
    let workers = if stands == NeverWas { 1 } else { 2 };
    let mut cluster = ByHand::start_with(policy(workers, Restart::Never), Forks::AreAwaited, 3);
    cluster.feed(Input::Spawned(id(1), pid(1))).listens(1);
    let fails = match stands {
        Due => Some(SpawnFailure::Refused),
        AwaitsThreads => Some(SpawnFailure::Threads),
        NeverWas | Forking | Starting | Online | Ready | Disconnected | Leaving | Asked | Terminated => None,
        MissedDeadline | Gone | ClusterStops | ClusterStopsAtOnce | ClusterFinished => None,
    };
    if let Some(failure) = fails {
        cluster.feed(Input::SpawnFailed(id(SUBJECT), failure)).forks(Forks::Fail(failure));
    } else if stands != NeverWas && stands != Forking {
        cluster.forks(Forks::Work);
        live(&mut cluster, stands);
    }
    cluster.did();
    cluster
}

fn live(cluster: &mut ByHand, stands: Stands) -> &mut ByHand {
    let subject = id(SUBJECT);
    cluster.feed(Input::Spawned(subject, pid(SUBJECT)));
    match stands {
        NeverWas | Due | AwaitsThreads | Forking | Starting => cluster,
        Online => cluster.feed(Input::Online(subject)),
        Ready => cluster.listens(SUBJECT),
        Disconnected => cluster.listens(SUBJECT).feed(Input::ChannelClosed(subject)),
        Leaving => cluster.listens(SUBJECT).feed(Input::Leaving(subject)),
        Asked => cluster.listens(SUBJECT).feed(Input::Drain(subject)),
        Terminated => cluster.listens(SUBJECT).feed(Input::Drain(subject)).feed(Input::Deaf(subject)),
        MissedDeadline => cluster.pass(READY_TIMEOUT),
        Gone => cluster.listens(SUBJECT).dies(SUBJECT, exited(0)),
        ClusterStops => cluster.feed(Input::Stop(Shutdown::Drain, None)),
        ClusterStopsAtOnce => cluster.feed(Input::Stop(Shutdown::Now, None)),
        ClusterFinished => {
            cluster.feed(Input::Stop(Shutdown::Now, None)).all_die();
            cluster.end().expect("all are dead");
            cluster
        }
    }
}

/// Whatever was asked for: killed once and for all, the cluster ends.
#[track_caller]
fn finishes(mut cluster: ByHand, stands: Stands) {
    cluster.feed(Input::Stop(Shutdown::Now, None));
    for worker in 1..6 {
        cluster.feed(Input::Spawned(id(worker), pid(worker)));
    }
    cluster.all_die();
    assert_eq!(cluster.end().is_some(), stands != ClusterFinished, "{stands:?}");
}

#[test]
fn every_request_in_every_state_and_every_pair_of_them() {
    let mut seen = BTreeSet::new();
    for stands in EVERYWHERE {
        for (first, one) in requests().into_iter().enumerate() {
            for (second, other) in requests().into_iter().enumerate() {
                let mut cluster = bring_to(stands);
                cluster.feed(one);
                if second % 2 == 0 {
                    cluster.pass(millis(1));
                }
                cluster.feed(other);
                cluster.pass(millis(300)).feed(one);
                finishes(cluster, stands);
                seen.insert((stands, first, second));
            }
        }
    }
    assert_eq!(seen.len(), EVERYWHERE.len() * requests().len() * requests().len());
}

#[test]
fn the_states_of_the_tables_are_what_they_say() {
    for stands in EVERYWHERE {
        let cluster = bring_to(stands);
        let state = cluster.workers().iter().find(|worker| worker.id == id(SUBJECT)).map(|worker| worker.state);
        let expected = match stands {
            NeverWas | Due | AwaitsThreads | Forking | ClusterFinished => None,
            Gone => Some(State::Exited),
            Starting => Some(State::Starting),
            Online => Some(State::Online),
            Ready | Disconnected => Some(State::Ready),
            Leaving | Asked | Terminated | MissedDeadline | ClusterStops | ClusterStopsAtOnce => Some(State::Draining),
        };
        assert_eq!(state, expected, "{stands:?}");
    }
}

#[test]
fn what_one_request_does() {
    let (ask, kill) = (Did::Ask(SUBJECT), Did::Signal(SUBJECT, Signal::KILL));
    for stands in EVERYWHERE {
        let did = |request| {
            let mut cluster = bring_to(stands);
            let did = cluster.feed(request).did();
            did.into_iter().filter(|did| !matches!(did, Did::Ask(1) | Did::Signal(1, _))).collect::<Vec<_>>()
        };
        let (drain, now, term) = match stands {
            NeverWas | Due | AwaitsThreads | Forking | Gone | ClusterFinished => (None, None, false),
            Starting | Online | Ready | Disconnected => (Some(ask), Some(kill), true),
            Leaving | Asked | Terminated | ClusterStops => (None, Some(kill), true),
            MissedDeadline | ClusterStopsAtOnce => (None, None, true),
        };
        assert_eq!(did(Input::Drain(id(SUBJECT))), Vec::from_iter(drain), "disconnect: {stands:?}");
        assert_eq!(did(Input::Stop(Shutdown::Drain, None)), Vec::from_iter(drain), "stop: {stands:?}");
        assert_eq!(did(Input::Stop(Shutdown::Now, None)), Vec::from_iter(now), "stop at once: {stands:?}");
        let signal = term.then_some(Did::Signal(SUBJECT, Signal::TERM));
        assert_eq!(did(Input::Kill(id(SUBJECT), Signal::TERM)), Vec::from_iter(signal), "kill: {stands:?}");
    }
}

#[test]
fn who_does_not_leave_is_terminated_and_then_killed() {
    let mut cluster = bring_to(Ready);
    cluster.feed(Input::Drain(id(SUBJECT)));
    assert_eq!(cluster.wait().as_secs(), 30);
    assert_eq!(cluster.wait().as_secs(), 5);
    let signal = |signal| Did::Signal(SUBJECT, signal);
    assert_eq!(cluster.did(), [Did::Ask(SUBJECT), signal(Signal::TERM), signal(Signal::KILL)]);
}

#[test]
fn a_worker_that_missed_its_deadline_is_not_replaced_if_it_is_not_wanted() {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.listens(1).wait();
    cluster.feed(Input::Drain(id(2))).did();
    cluster.dies(2, killed(9));
    assert_eq!(cluster.did(), []);
    assert_eq!(cluster.living(), 1);
}

#[test]
fn which_signal_is_a_second_one() {
    use Signal as S;
    let at_once = |signals: &[(u64, Signal)]| {
        let mut cluster = bring_to(Ready);
        let mut last = 0;
        for (at, signal) in signals {
            cluster.pass(millis(at - last)).feed(Input::Stop(Shutdown::Drain, Some(*signal)));
            last = *at;
        }
        cluster.events().iter().any(|event| matches!(event, Event::Stopping(Shutdown::Now)))
    };
    for first in [0, 1, 1000] {
        assert!(!at_once(&[(first, S::INT)]));
        assert!(
            !at_once(&[(first, S::INT), (first, S::INT), (first + 49, S::INT)]),
            "sent to the process and its group"
        );
        assert!(at_once(&[(first, S::INT), (first + 50, S::INT)]), "the same signal, later");
        assert!(!at_once(&[(first, S::INT), (first + 249, S::TERM)]), "another one is the same request");
        assert!(at_once(&[(first, S::INT), (first + 250, S::TERM)]), "another one, later");
        assert!(at_once(&[(first, S::INT), (first + 1, S::TERM), (first + 50, S::INT)]), "the first one again");
        assert!(at_once(&[(first, S::INT), (first + 1, S::TERM), (first + 50, S::TERM)]), "the other one again");
        assert!(!at_once(&[(first, S::INT), (first + 1, S::TERM), (first + 2, S::HUP)]));
    }
}

#[test]
fn a_call_is_no_first_signal() {
    let stop = |by| Input::Stop(Shutdown::Drain, by);
    let mut cluster = bring_to(Ready);
    cluster.feed(stop(None)).pass(millis(1000)).feed(stop(None)).feed(stop(Some(Signal::TERM)));
    cluster.pass(millis(249)).feed(stop(Some(Signal::INT)));
    assert!(!cluster.events().iter().any(|event| matches!(event, Event::Stopping(Shutdown::Now))));
    cluster.did();
    cluster.feed(stop(Some(Signal::INT)));
    assert_eq!(cluster.did().len(), 2, "both workers are killed");
}

#[test]
fn a_fork_from_the_handler_of_the_last_exit_keeps_a_manual_cluster_alive() {
    let mut cluster = ByHand::start(manual(1));
    assert_eq!(cluster.end(), None, "it waits for its first fork");
    for worker in 1..5 {
        cluster.feed(Input::Fork).listens(worker).dies(worker, exited(0));
        let exit = cluster.events().iter().any(|event| matches!(event, Event::Exit { .. }));
        assert!(exit, "the program sees it, and forks before it goes idle");
    }
    assert!(cluster.end().expect("nobody forked again").into_result().is_ok());
}

#[test]
fn a_cluster_that_never_forked_ends_when_asked() {
    let mut cluster = ByHand::start(manual(1));
    cluster.feed(Input::Stop(Shutdown::Drain, None));
    assert!(cluster.end().is_some_and(|end| end.into_result().is_ok()));
}
