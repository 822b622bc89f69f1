//! Random walks through the simulated world, with the referee's checks after every turn.
//!
//! A failure names its seed and the command that replays that walk with everything that went in and came out.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

use super::world::{Random, Walk, World};
use crate::supervisor::Outcome;

#[test]
fn random_walks() {
    if let Ok(seed) = std::env::var(SEED) {
        let seed = seed.parse().unwrap_or_else(|_| panic!("{SEED}={seed} is not a number"));
        let end = walk(seed, true);
        println!("{end:?}");
        return assert!(end.is_ok(), "seed {seed}: {end:?}");
    }
    let failure = Mutex::new(None);
    let ends = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for share in 0..THREADS {
            let (failure, ends) = (&failure, &ends);
            scope.spawn(move || walk_all((share..WALKS).step_by(THREADS), failure, ends));
        }
    });
    if let Some((seed, what)) = failure.into_inner().unwrap() {
        let again = format!("{SEED}={seed} cargo test --lib supervisor::tests::walks -- --nocapture");
        let _ = walk(seed, true);
        panic!("the walk with seed {seed} breaks a rule: {what}\nreplay it with:\n    {again}");
    }
    let ends: BTreeMap<String, usize> = ends.into_inner().unwrap();
    println!("{ends:?}");
    for end in ["stopped", "retired", "never ready", "gave up", "recycled"] {
        assert!(ends.get(end).is_some_and(|walks| *walks >= WALKS / 50), "too few walks end so: {ends:?}");
    }
    for end in ["done", "not begun", "aborted", "superseded", "stopped"] {
        let end = format!("rollout {end}");
        assert!(ends.get(&end).is_some_and(|rollouts| *rollouts >= WALKS / 50), "too few rollouts end so: {ends:?}");
    }
    for what in ["lent", "hung", "recovered", "killed for hanging"] {
        assert!(ends.get(what).is_some_and(|times| *times >= WALKS / 50), "too seldom: {ends:?}");
    }
}

fn walk_all(
    seeds: impl Iterator<Item = usize>,
    failure: &Mutex<Option<(u64, String)>>,
    ends: &Mutex<BTreeMap<String, usize>>,
) {
    for seed in seeds {
        if failure.lock().unwrap().is_some() {
            return;
        }
        match walk(seed as u64, false) {
            Ok(walk) => {
                for end in walk.seen.into_iter().chain([name(&walk.outcome)]) {
                    *ends.lock().unwrap().entry(end.to_owned()).or_default() += 1;
                }
            }
            Err(what) => *failure.lock().unwrap() = Some((seed as u64, what)),
        }
    }
}

fn walk(seed: u64, trace: bool) -> Result<Walk, String> {
    let turns = 40 + Random(seed).below(120) as usize;
    let walk = || World::new(seed, trace).walk(turns);
    catch_unwind(AssertUnwindSafe(walk)).unwrap_or_else(|_| Err("the supervisor panicked".to_owned()))
}

fn name(end: &Outcome) -> &'static str {
    match end {
        Outcome::Stopped => "stopped",
        Outcome::Retired(_) => "retired",
        Outcome::NeverReady(_) => "never ready",
        Outcome::GaveUp(_) => "gave up",
    }
}

/// Holds the seed of one walk to replay.
const SEED: &str = "MIO_CLUSTER_SEED";

/// Some seconds of them; each begins with another seed.
const WALKS: usize = 3_000;
const THREADS: usize = 2;
