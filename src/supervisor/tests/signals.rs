//! Signals in bursts and in every order, at every stage of a rollout.
//!
//! What they must not do is the referee's to say; here they only come. Each cluster is ended at last, which it must
//! obey.

use std::collections::BTreeSet;

use super::{
    by_hand::{ByHand, Forks, exited, id, killed, millis, pid, policy},
    rig::Input,
};
use crate::{
    config::{Restart, Rollout, Settings},
    event::Shutdown,
    id::Signal,
};

const SIGNALS: [Signal; 7] =
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP, Signal::TTIN, Signal::TTOU, Signal::USR1];

/// Milliseconds between two of them: at once, one request yet, a second request.
const GAPS: [u64; 3] = [0, 60, 300];

/// Where the rollout stands when the first one comes. Worker 3 is the first successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    NotAskedFor,
    SuccessorIsForked,
    SuccessorStarts,
    SuccessorIsReady,
    SuccessorHasFailed,
    PredecessorIsAsked,
    PredecessorHasDied,
    SecondSlot,
    AnotherWaits,
    WorkerParts,
    SlotIsEmpty,
    BackOff,
    Done,
}

const STAGES: [Stage; 13] = [
    Stage::NotAskedFor,
    Stage::SuccessorIsForked,
    Stage::SuccessorStarts,
    Stage::SuccessorIsReady,
    Stage::SuccessorHasFailed,
    Stage::PredecessorIsAsked,
    Stage::PredecessorHasDied,
    Stage::SecondSlot,
    Stage::AnotherWaits,
    Stage::WorkerParts,
    Stage::SlotIsEmpty,
    Stage::BackOff,
    Stage::Done,
];

fn bring_to(stage: Stage) -> ByHand {
    let mut cluster = ByHand::start(Settings { max_workers: Some(4), ..policy(2, Restart::Always) });
    cluster.listens(1).listens(2);
    let roll = Input::Rollout(Rollout::new());
    let without = Input::Rollout(Rollout::new().surge(0).max_unavailable(1));
    match stage {
        Stage::NotAskedFor => {}
        Stage::SuccessorIsForked => drop(cluster.forks(Forks::AreAwaited).feed(roll)),
        Stage::SuccessorStarts => drop(cluster.feed(roll)),
        Stage::SuccessorIsReady => drop(cluster.feed(roll).listens(3)),
        Stage::SuccessorHasFailed => drop(cluster.feed(roll).dies(3, exited(1))),
        Stage::PredecessorIsAsked => drop(cluster.feed(roll).listens(3).wait()),
        Stage::PredecessorHasDied => drop(cluster.feed(roll).dies(1, killed(9))),
        Stage::SecondSlot => {
            cluster.feed(roll).listens(3).wait();
            cluster.dies(1, exited(0)).listens(4);
        }
        Stage::AnotherWaits => drop(cluster.feed(roll).feed(roll)),
        Stage::WorkerParts => drop(cluster.steers(true).feed(without)),
        Stage::SlotIsEmpty => drop(cluster.forks(Forks::AreAwaited).feed(without).dies(1, exited(0))),
        Stage::BackOff => drop(cluster.dies(1, killed(9)).dies(3, exited(1)).feed(roll)),
        Stage::Done => {
            cluster.feed(Input::Rollout(Rollout::new().settle(millis(0)).surge(2))).listens(3).listens(4);
            cluster.dies(1, exited(0)).dies(2, exited(0));
        }
    }
    cluster
}

/// As the master takes them.
fn take(cluster: &mut ByHand, signal: Signal) {
    match signal {
        Signal::TERM | Signal::INT => drop(cluster.feed(Input::Stop(Shutdown::Drain, Some(signal)))),
        Signal::QUIT => drop(cluster.feed(Input::Stop(Shutdown::Now, Some(signal)))),
        Signal::HUP => drop(cluster.feed(Input::Rollout(Rollout::new()))),
        Signal::TTIN => drop(cluster.feed(Input::Scale(cluster.target() + 1))),
        Signal::TTOU => drop(cluster.feed(Input::Scale(cluster.target() - 1))),
        _usr1 => {}
    }
}

/// Whatever was said: killed once and for all, the cluster ends.
fn finishes(mut cluster: ByHand, burst: &str) {
    cluster.pass(millis(1)).feed(Input::Stop(Shutdown::Now, None));
    let forked: Vec<Input> = (1..12).map(|worker| Input::Spawned(id(worker), pid(worker))).collect();
    cluster.feed_at_once(&forked).all_die();
    assert!(cluster.end().is_some(), "{burst}");
}

#[test]
fn every_pair_and_every_triple_at_every_stage() {
    let mut seen = BTreeSet::new();
    for stage in STAGES {
        for first in SIGNALS {
            for second in SIGNALS {
                for third in SIGNALS.map(Some).into_iter().chain([None]) {
                    for gap in GAPS {
                        let burst = format!("{stage:?}: {first}, {second}, {third:?}, {gap} ms apart");
                        let mut cluster = bring_to(stage);
                        take(&mut cluster, first);
                        take(cluster.stands_still(millis(gap)), second);
                        third.into_iter().for_each(|third| take(cluster.stands_still(millis(gap)), third));
                        finishes(cluster, &burst);
                        seen.insert(burst);
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), STAGES.len() * 7 * 7 * 8 * GAPS.len());
}
