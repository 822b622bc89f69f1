//! A thousand random kills under load; afterwards everything is as before.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Event, Master, State, WorkerId, WorkerInfo, WorkerRef};
use nix::sys::signal::Signal;

use super::Row;
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    load::Counts,
    process::{Process, send},
    procfs,
    random::Random,
    serve::serve,
};

pub(super) const ROW: Row = Row {
    name: "kills-under-load",
    what: "1000 random kill -9 of 8 workers under load, 1 to 3 at once",
    bar: "all restored, 0 zombies, 0 lost",
    within: Duration::from_secs(90),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let (mut random, seed) = Random::new();
    let mut master = Cluster::new().listen("127.0.0.1:0").workers(WORKERS).start(serve)?;
    let mut ledger = Ledger::default();
    ledger.until_ready(&mut master)?;
    let address = master.addresses()[0].to_string();
    let mut load = Process::start(&["--load", &address, CLIENTS])?;
    let descriptors = procfs::descriptors()?;
    let mut struck = HashSet::new();
    while struck.len() < KILLS {
        let pause = Duration::from_millis(10 + random.below(40) as u64);
        strike(&master, &mut random, &mut struck)?;
        ledger.watch(&mut master, pause)?;
    }
    ledger.until_ready(&mut master)?;
    let now = procfs::descriptors()?;
    load.nudge()?;
    let counts = Counts::from_line(&load.line()?.ok_or("the load generator failed")?)?;
    load.wait()?;

    let mut wrongs = ledger.wrongs(&master);
    wrongs.extend(strangers(&master)?);
    if now != descriptors {
        wrongs.push(format!("{descriptors} descriptors before, {now} after"));
    }
    if counts.hung > 0 {
        wrongs.push(format!("{} requests were never answered", counts.hung));
    }
    if !wrongs.is_empty() {
        return Err(format!("CHAOS_SEED={seed}: {}", wrongs.join("; ")).into());
    }
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured: format!(
            "{KILLS} kills, {} answers, {} delayed starts: 0 zombies, 0 lost, {now} descriptors as before",
            counts.answered, ledger.delayed
        ),
        bar: ROW.bar.to_owned(),
        yardstick: "-".to_owned(),
        verdict: Verdict::Met,
    }])
}

/// Kills 1 to 3 workers that are ready: one that dies before has failed to start and is delayed by design, more each
/// time. `struck` are those that were killed before; on a busy machine the master may not have seen the end of the last
/// ones.
fn strike(master: &Master, random: &mut Random, struck: &mut HashSet<WorkerId>) -> Attempt<()> {
    let targets = master.workers().filter(|worker| worker.state == State::Ready && !struck.contains(&worker.id));
    let mut targets: Vec<WorkerInfo> = targets.collect();
    let count = (1 + random.below(3)).min(targets.len()).min(KILLS - struck.len());
    for _ in 0..count {
        let target = targets.swap_remove(random.below(targets.len()));
        send(target.pid, Signal::SIGKILL)?;
        struck.insert(target.id);
    }
    Ok(())
}

fn live(master: &Master) -> impl Iterator<Item = WorkerInfo> + '_ {
    master.workers().filter(|worker| worker.state.is_alive())
}

/// Children of this process that the master does not know, workers of the master that are no children, and zombies.
fn strangers(master: &Master) -> Attempt<Vec<String>> {
    let children = procfs::children()?;
    let known: Vec<u32> = live(master).map(|worker| worker.pid).collect();
    let unknown =
        children.iter().filter(|child| !known.contains(&child.pid)).map(|child| format!("unknown: {child:?}"));
    let dead = children.iter().filter(|child| child.state == 'Z').map(|child| format!("zombie: {child:?}"));
    let missing = known.iter().filter(|pid| children.iter().all(|child| child.pid != **pid));
    Ok(unknown.chain(dead).chain(missing.map(|pid| format!("no process: {pid}"))).collect())
}

/// What the events say about each worker.
#[derive(Default)]
struct Ledger {
    workers: HashMap<WorkerId, Tally>,
    delayed: usize,
}

/// How often each event came.
#[derive(Default, Clone, Copy)]
struct Tally {
    forks: usize,
    disconnects: usize,
    exits: usize,
}

impl Ledger {
    fn watch(&mut self, master: &mut Master, time: Duration) -> Attempt<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match master.wait(Some(left))? {
                Some(event) => self.note(&event),
                None if master.is_finished() => return Err("the cluster ended".into()),
                None if left.is_zero() => return Ok(()),
                None => {}
            }
        }
    }

    fn until_ready(&mut self, master: &mut Master) -> Attempt<()> {
        let end = Instant::now() + RESTORED_WITHIN;
        self.watch(master, Duration::from_millis(100))?;
        while master.workers().filter(|worker| worker.state == State::Ready).count() < WORKERS {
            if Instant::now() > end {
                return Err(format!("not {WORKERS} workers within {RESTORED_WITHIN:?}").into());
            }
            self.watch(master, Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        if let Event::Fork(worker) = event {
            self.tally(worker).forks += 1;
        } else if let Event::Disconnect(worker) = event {
            self.tally(worker).disconnects += 1;
        } else if let Event::Exit { worker, .. } = event {
            self.tally(worker).exits += 1;
        } else if let Event::Backoff { .. } = event {
            self.delayed += 1;
        }
    }

    fn tally(&mut self, worker: &WorkerRef) -> &mut Tally {
        self.workers.entry(worker.id).or_default()
    }

    /// One fork each; one disconnect and one exit each of those that were killed, none of those that live.
    fn wrongs(&self, master: &Master) -> Vec<String> {
        let live: Vec<WorkerId> = live(master).map(|worker| worker.id).collect();
        let mut wrongs = Vec::new();
        for (id, tally) in &self.workers {
            let ends = usize::from(!live.contains(id));
            if (tally.forks, tally.disconnects, tally.exits) != (1, ends, ends) {
                let Tally { forks, disconnects, exits } = tally;
                wrongs.push(format!("worker {id}: {forks} forks, {disconnects} disconnects, {exits} exits"));
            }
        }
        if self.workers.len() != KILLS + WORKERS || live.len() != WORKERS {
            wrongs.push(format!("{} workers were forked for {KILLS} kills, {} live", self.workers.len(), live.len()));
        }
        wrongs
    }
}

const WORKERS: usize = 8;
const KILLS: usize = 1000;
const CLIENTS: &str = "16";

/// A slot that died 20 times within a second is delayed by design.
const RESTORED_WITHIN: Duration = Duration::from_secs(15);
