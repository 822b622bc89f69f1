//! A rig whose kernel does what the test says; any broken rule panics.

use std::time::Duration;

use super::{
    referee::At,
    rig::{Input, Kernel, Place, Rig},
    scene::{Line, Scene, Seat},
};
use crate::{
    config::{Restart, Settings},
    event::{Event, ExitStatus, RolloutResult, State, WorkerInfo},
    id::{Signal, WorkerId},
    supervisor::{Action, Look, Note, Outcome, SpawnFailure, Surrender},
    wire::Leave,
};

pub(super) struct ByHand {
    rig: Rig<Hands>,
}

/// What becomes of a fork.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Forks {
    Work,
    Fail(SpawnFailure),
    /// The test reports the result itself.
    AreAwaited,
}

/// What the supervisor wanted of the kernel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Did {
    Spawn(usize, u64),
    Ask(u64),
    Signal(u64, Signal),
}

/// What the watch wanted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Watched {
    /// The door of this slot to that worker; the loan's number comes first.
    Lends(u32, usize, u64),
    TakesBack(u32, u64),
    Nudges(u64),
    /// Newcomers past this slot.
    Steers(usize, bool),
    Dozes(bool),
}

/// What the program hears of a rollout, by its number.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Told {
    Started(u64),
    Done(u64),
    /// The slot, and why.
    Aborted(u64, Option<usize>, String),
    Superseded(u64),
    Stopped(u64),
}

impl Told {
    fn of(event: Event) -> Option<Self> {
        if let Event::RolloutStarted(id) = event {
            return Some(Told::Started(id.as_u64()));
        }
        let Event::RolloutEnded { id, result } = event else { return None };
        let id = id.as_u64();
        Some(match result {
            RolloutResult::Done => Told::Done(id),
            RolloutResult::Aborted { slot, why } => Told::Aborted(id, slot.map(|slot| slot.index()), why.to_string()),
            RolloutResult::Superseded => Told::Superseded(id),
            RolloutResult::Stopped => Told::Stopped(id),
        })
    }
}

/// A door that was shut: slot, address, and why.
pub(super) type Shut = (usize, usize, Surrender);

/// Which worker was asked to leave, within which time, and how.
pub(super) type Asked = (u64, Duration, Leave);

struct Hands {
    forks: Forks,
    steers: bool,
    did: Vec<Did>,
    asked: Vec<Asked>,
    parted: Vec<u64>,
    shut: Vec<Shut>,
    notes: Vec<Note>,
    watched: Vec<Watched>,
    declines: bool,
    scene: Scene,
    refused_after: Option<usize>,
}

impl ByHand {
    /// A started cluster with one address.
    pub(super) fn start(settings: Settings) -> Self {
        Self::start_with(settings, Forks::Work, 7)
    }

    pub(super) fn start_with(settings: Settings, forks: Forks, seed: u64) -> Self {
        Self::start_at(1, settings, forks, seed)
    }

    pub(super) fn start_at(addresses: usize, settings: Settings, forks: Forks, seed: u64) -> Self {
        let mut rig = Rig::new(settings, addresses, seed, Hands::new(forks));
        rig.start().unwrap();
        Self { rig }
    }

    pub(super) fn forks(&mut self, forks: Forks) -> &mut Self {
        self.rig.kernel.forks = forks;
        self
    }

    /// Newcomers can be led past a worker; at first they cannot.
    pub(super) fn steers(&mut self, steers: bool) -> &mut Self {
        self.rig.kernel.steers = steers;
        self
    }

    /// Feeds an input and ends the turn.
    #[track_caller]
    pub(super) fn feed(&mut self, input: Input) -> &mut Self {
        self.rig.feed(input).and_then(|()| self.rig.settle()).unwrap_or_else(|rule| panic!("{input:?}: {rule}"));
        self
    }

    /// Feeds inputs that come in one turn.
    #[track_caller]
    pub(super) fn feed_at_once(&mut self, inputs: &[Input]) -> &mut Self {
        let fed = inputs.iter().try_for_each(|input| self.rig.feed(*input));
        fed.and_then(|()| self.rig.settle()).unwrap_or_else(|rule| panic!("{inputs:?}: {rule}"));
        self
    }

    /// The watch looks whenever it wants to.
    #[track_caller]
    pub(super) fn pass(&mut self, time: Duration) -> &mut Self {
        let then = self.rig.now + time;
        let passed = self.rig.goes_to(then, usize::MAX).and_then(|()| self.rig.settle());
        passed.unwrap_or_else(|rule| panic!("within {time:?}: {rule}"));
        self
    }

    /// The master does not run meanwhile.
    #[track_caller]
    pub(super) fn stands_still(&mut self, time: Duration) -> &mut Self {
        self.rig.now += time;
        self.rig.settle().unwrap_or_else(|rule| panic!("after {time:?}: {rule}"));
        self
    }

    /// Goes to the next deadline.
    #[track_caller]
    pub(super) fn wait(&mut self) -> Duration {
        let timeout = self.rig.deadline().expect("something is due");
        let time = timeout.saturating_sub(self.rig.now);
        self.pass(time);
        time
    }

    #[track_caller]
    pub(super) fn listens(&mut self, worker: u64) -> &mut Self {
        self.feed(Input::Listening(id(worker), 0))
    }

    #[track_caller]
    pub(super) fn dies(&mut self, worker: u64, status: ExitStatus) -> &mut Self {
        self.feed(Input::Exited(id(worker), status))
    }

    /// What was done since the last look.
    pub(super) fn did(&mut self) -> Vec<Did> {
        std::mem::take(&mut self.rig.kernel.did)
    }

    /// Who was asked to leave since the last look, within which time, and how.
    pub(super) fn asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.rig.kernel.asked)
    }

    /// Past whom newcomers were led since the last look.
    pub(super) fn parted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.rig.kernel.parted)
    }

    /// What was shut since the last look.
    pub(super) fn shut(&mut self) -> Vec<Shut> {
        std::mem::take(&mut self.rig.kernel.shut)
    }

    /// What was noted for the log since the last look.
    pub(super) fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.rig.kernel.notes)
    }

    /// How much had been done since the last look when newcomers were refused.
    pub(super) fn refused_after(&self) -> Option<usize> {
        self.rig.kernel.refused_after
    }

    /// How many workers are wanted.
    pub(super) fn target(&self) -> usize {
        self.rig.target()
    }

    /// Something is due, beside the looks.
    pub(super) fn waits(&self) -> bool {
        self.rig.deadline().is_some()
    }

    /// Until the next look; `None`: there is none.
    pub(super) fn looks_in(&self) -> Option<Duration> {
        self.rig.looks_at().map(|at| at.saturating_sub(self.rig.now))
    }

    /// What the watch had done since the last look at it.
    pub(super) fn watched(&mut self) -> Vec<Watched> {
        std::mem::take(&mut self.rig.kernel.watched)
    }

    /// Whoever is lent a door does not accept there.
    pub(super) fn declines(&mut self, declines: bool) -> &mut Self {
        self.rig.kernel.declines = declines;
        self
    }

    /// What the worker's seat shows from now on.
    pub(super) fn seat(&mut self, worker: u64, change: impl FnOnce(&mut Seat)) -> &mut Self {
        change(self.rig.kernel.scene.seats.entry(id(worker)).or_default());
        self
    }

    /// What the queues of the slot show from now on, at this address.
    pub(super) fn queue_at(&mut self, place: Place, change: impl FnOnce(&mut Line)) -> &mut Self {
        change(self.rig.kernel.scene.lines.entry(place).or_default());
        self
    }

    /// The same at the first one.
    pub(super) fn queue(&mut self, slot: usize, change: impl FnOnce(&mut Line)) -> &mut Self {
        self.queue_at((slot, 0), change)
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.rig.events)
    }

    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        self.rig.workers()
    }

    /// How many live.
    pub(super) fn living(&self) -> usize {
        self.workers().iter().filter(|worker| worker.state.is_alive()).count()
    }

    /// The program has taken all events: how the cluster ended, if it did.
    #[track_caller]
    pub(super) fn end(&mut self) -> Option<Outcome> {
        self.rig.idle().unwrap_or_else(|rule| panic!("{rule}"));
        self.rig.outcome.take()
    }

    /// Every worker dies of SIGKILL.
    #[track_caller]
    pub(super) fn all_die(&mut self) -> &mut Self {
        for worker in self.workers().into_iter().filter(|worker| worker.state.is_alive()) {
            self.dies(worker.id.as_u64(), killed(9));
        }
        self
    }

    /// What was told of rollouts since the last look.
    pub(super) fn rollouts(&mut self) -> Vec<Told> {
        self.events().into_iter().filter_map(Told::of).collect()
    }

    /// Which worker has each slot, and in which state the others are that share it; in slot order.
    pub(super) fn who(&self) -> Vec<(usize, u64, State)> {
        self.workers().iter().map(|worker| (worker.slot.index(), worker.id.as_u64(), worker.state)).collect()
    }

    /// The delay that the one `Backoff` since the last look announced, and its count; `None`: there was none.
    pub(super) fn backoff(&mut self) -> Option<(Duration, u32)> {
        let mut found = None;
        for event in self.events() {
            if let Event::Backoff { delay, deaths, .. } = event {
                found = Some((delay, deaths));
            }
        }
        found
    }
}

impl Hands {
    fn new(forks: Forks) -> Self {
        let (did, asked, parted, shut, watched) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (notes, scene, declines, steers) = (Vec::new(), Scene::default(), false, false);
        Self { forks, steers, did, asked, parted, shut, notes, watched, declines, scene, refused_after: None }
    }
}

impl Kernel for Hands {
    fn perform(&mut self, _now: At, action: &Action) -> Vec<Input> {
        match action {
            Action::Spawn { slot, id } => {
                self.did.push(Did::Spawn(slot.index(), id.as_u64()));
                match self.forks {
                    Forks::Work => return vec![Input::Spawned(*id, pid(id.as_u64()))],
                    Forks::Fail(failure) => return vec![Input::SpawnFailed(*id, failure)],
                    Forks::AreAwaited => {}
                }
            }
            Action::Part { id, .. } => {
                self.parted.push(id.as_u64());
                return vec![Input::Parted(*id, self.steers)];
            }
            Action::Ask { id, within, leave } => {
                self.did.push(Did::Ask(id.as_u64()));
                self.asked.push((id.as_u64(), *within, *leave));
            }
            Action::Signal { id, signal, .. } => self.did.push(Did::Signal(id.as_u64(), *signal)),
            Action::Shut { slot, address, why } => self.shut.push((slot.index(), *address, *why)),
            Action::Refuse => self.refused_after = Some(self.did.len()),
            Action::Note { what, .. } => self.notes.push(what.clone()),
            Action::Steer { slot, away } => self.watched.push(Watched::Steers(slot.index(), *away)),
            Action::Lend { loan, slot, to, .. } => {
                self.watched.push(Watched::Lends(*loan, slot.index(), to.as_u64()));
                if self.declines {
                    return vec![Input::Returned(*to, *loan)];
                }
            }
            Action::TakeBack { loan, from } => self.watched.push(Watched::TakesBack(*loan, from.as_u64())),
            Action::Nudge { id } => self.watched.push(Watched::Nudges(id.as_u64())),
            Action::Doze(on) => self.watched.push(Watched::Dozes(*on)),
            Action::Stay { .. } | Action::Emit(_) | Action::Finish(_) => {}
        }
        Vec::new()
    }

    fn look(&mut self, _now: At, seats: &[WorkerId], doors: &[Place]) -> Look {
        self.scene.look(seats, doors)
    }
}

pub(super) fn id(raw: u64) -> WorkerId {
    WorkerId::from_raw(raw)
}

pub(super) fn pid(id: u64) -> u32 {
    4000 + id as u32
}

pub(super) fn exited(code: i32) -> ExitStatus {
    ExitStatus::from_wait_status(code << 8)
}

pub(super) fn killed(signal: i32) -> ExitStatus {
    ExitStatus::from_wait_status(signal)
}

pub(super) fn policy(workers: usize, restart: Restart) -> Settings {
    Settings { restart, ..Settings::with_workers(workers) }
}

pub(super) fn manual(most: usize) -> Settings {
    Settings { manual: true, max_workers: Some(most), ..Settings::with_workers(1) }
}

pub(super) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// So many workers that are ready.
pub(super) fn ready(workers: u64, settings: Settings) -> ByHand {
    let mut cluster = ByHand::start(settings);
    (1..=workers).for_each(|worker| {
        cluster.listens(worker);
    });
    cluster.did();
    cluster.events();
    cluster
}
