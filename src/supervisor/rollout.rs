//! The rolling restart: each slot's successor is ready, and has proved itself, before its predecessor leaves.
//!
//! A rollout goes through the slots step by step. A step is a **succession**, in which the successor starts beside the
//! worker and both accept on the same doors until it takes over, or, where the plan allows slots to be unavailable, a
//! **renewal**: the worker leaves first, then the next one starts. A slot that waits for its next worker is renewed too,
//! last and at once. A successor that fails, or is not ready in time, aborts the rollout: it is taken back, and every
//! worker that was not replaced yet goes on serving.
//!
//! Races it settles: a worker that dies while its successor starts leaves the slot to it; one that was forked for another
//! reason since the rollout began is new already; a new request waits until the steps under way are over, and takes over
//! then; a successor whose fork completes after its rollout has ended is asked to leave.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    Action, Course, Supervisor,
    post::{Awaits, PostState, Successor},
    process::Phase,
};
use crate::{
    config::Rollout,
    error::{Error, Kind, Result},
    event::{Cause, Event, ExitStatus, RolloutResult},
    id::{RolloutId, Slot, WorkerId},
    wire::Leave,
};

#[derive(Default)]
pub(super) struct Rollouts {
    last: RolloutId,
    running: Option<Running>,
    /// Begins when the steps of the running one are over.
    next: Option<(RolloutId, Rollout)>,
    /// Something has changed outside of a turn.
    look_at: Option<Instant>,
}

struct Running {
    id: RolloutId,
    plan: Rollout,
    /// Workers with a lower number are of the old generation.
    since: WorkerId,
    steps: Vec<Step>,
    /// Steps that are over.
    done: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Step {
    index: usize,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// The successor starts beside the worker.
    Succession,
    /// The worker leaves first, or is gone.
    Renewal,
}

/// A slot of the old generation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    Serves,
    /// For its next worker.
    Waits,
    IsForked,
}

impl Supervisor {
    /// **Errors**: the cluster is stopping; the plan contradicts itself or the number of workers.
    pub(crate) fn may_roll(&self, plan: &Rollout) -> Result<()> {
        if !matches!(self.course, Course::Running) {
            return Err(Error::new(Kind::Gone, "rollout: the cluster is stopping"));
        }
        let workers = if self.settings.manual { self.posts.len() } else { self.target };
        match plan.problems(workers).first() {
            Some(problem) => Err(Error::new(Kind::InvalidConfig, problem.clone())),
            None => Ok(()),
        }
    }

    /// All workers that there are now are replaced. One that is under way is superseded when its steps are over.
    pub(crate) fn handle_rollout(&mut self, now: Instant, plan: Rollout) -> RolloutId {
        let id = self.take_rollout_id();
        if let Some((id, _)) = self.rollouts.next.replace((id, plan)) {
            self.emit(Event::RolloutEnded { id, result: RolloutResult::Superseded });
        }
        self.look_again(now);
        self.handle_timeout(now);
        id
    }

    /// What the program has to do before the first successor has failed: no worker is touched.
    pub(crate) fn handle_reload_failed(&mut self, why: Error) -> RolloutId {
        let id = self.take_rollout_id();
        self.emit(Event::RolloutEnded { id, result: RolloutResult::Aborted { slot: None, why } });
        id
    }

    /// At the begin of a turn's end: what is over, then what is next.
    pub(super) fn roll(&mut self, now: Instant) {
        self.rollouts.look_at = None;
        self.end_steps(now);
        let is_idle = self.rollouts.running.as_ref().is_none_or(|running| running.steps.is_empty());
        if is_idle && self.rollouts.next.is_some() {
            self.end_rollout(RolloutResult::Superseded);
            self.begin_rollout();
        }
        if self.rollouts.next.is_none() {
            while self.begin_step(now) {}
        }
        let running = self.rollouts.running.as_ref();
        let is_over = |running: &Running| {
            running.steps.is_empty() && !self.has_old(running.since) && !self.accepts_as_former(running.since)
        };
        if running.is_some_and(is_over) {
            self.end_rollout(RolloutResult::Done);
        }
    }

    pub(super) fn rollout_deadline(&self) -> Option<Instant> {
        let running = self.rollouts.running.iter();
        let proved = running.flat_map(|running| {
            running.steps.iter().filter_map(|step| self.proved_at(step, running.since, running.plan.settle))
        });
        proved.chain(self.rollouts.look_at).min()
    }

    /// It goes on when old workers that have a successor have ended: so many there are.
    pub(crate) fn rollout_waits(&self) -> Option<(RolloutId, usize)> {
        let running = self.rollouts.running.as_ref()?;
        let lingering = self.former();
        let waits =
            running.steps.is_empty() && lingering >= self.may_linger() && self.old(running, Old::Serves).is_some();
        waits.then_some((running.id, lingering))
    }

    /// Something happened that may let it go on, maybe after the turn's own look.
    pub(super) fn rollout_goes_on(&mut self, now: Instant) {
        if self.rollouts.running.is_some() || self.rollouts.next.is_some() {
            self.rollouts.look_at = Some(now);
        }
    }

    /// The cluster stops.
    pub(super) fn end_rollouts(&mut self) {
        self.end_rollout(RolloutResult::Stopped);
        if let Some((id, _)) = self.rollouts.next.take() {
            self.emit(Event::RolloutEnded { id, result: RolloutResult::Stopped });
        }
        self.rollouts.look_at = None;
    }

    /// A worker has failed to start, or to stay. If it was to show that the new generation works, that is all.
    pub(super) fn failed(&mut self, now: Instant, index: usize, id: WorkerId, how: &str) {
        let is_new = self
            .rollouts
            .running
            .as_ref()
            .is_some_and(|running| id >= running.since && running.steps.iter().any(|step| step.index == index));
        if is_new {
            self.abort(now, index, format!("worker {id} {how}; see what it logged"));
        }
    }

    pub(super) fn successor_not_forked(&mut self, now: Instant, index: usize, how: &str) {
        self.posts[index].successor = Successor::Nobody;
        self.abort(now, index, format!("its successor could not be forked: {how}"));
    }

    /// The rollout ends here: successors that have not taken over are taken back.
    pub(super) fn abort(&mut self, now: Instant, index: usize, why: String) {
        let Some(running) = self.rollouts.running.take() else { return };
        for step in &running.steps {
            self.discard_successor(now, step.index);
            self.stay(now, step.index, Cause::Rollout);
        }
        let why = Error::new(Kind::System, format!("slot {index}: {why}"));
        let result = RolloutResult::Aborted { slot: Some(Slot::from_index(index)), why };
        self.emit(Event::RolloutEnded { id: running.id, result });
        self.rollout_goes_on(now);
    }

    /// It may have accepted connections. One that is being forked is met by `is_awaited`.
    pub(super) fn discard_successor(&mut self, now: Instant, index: usize) {
        let post = &mut self.posts[index];
        match mem::replace(&mut post.successor, Successor::Nobody) {
            Successor::Nobody => {}
            spawning @ Successor::Spawning { .. } => post.successor = spawning,
            Successor::Live(process) => {
                let id = process.worker.id;
                post.former.push(process);
                self.ask(now, id, self.settings.drain_timeout, Leave::HandOver, Cause::Rollout);
            }
        }
        if let Some(running) = &mut self.rollouts.running {
            running.steps.retain(|step| step.index != index);
        }
    }

    /// A successor that was just forked: its rollout may be over.
    pub(super) fn is_awaited(&mut self, now: Instant, index: usize) {
        let is_step = |step: &Step| step.index == index && step.how == How::Succession;
        if !self.rollouts.running.as_ref().is_some_and(|running| running.steps.iter().any(is_step)) {
            self.discard_successor(now, index);
        }
    }

    /// The slot's worker has ended unasked, and its successor is on the way: nobody else need be forked. True if so.
    pub(super) fn succeeded_early(&mut self, now: Instant, index: usize, status: ExitStatus) -> bool {
        if !self.settings.manual && !self.is_restarted(status) {
            self.discard_successor(now, index);
            return false;
        }
        let is_succeeded = self.is_succeeded(index);
        if is_succeeded {
            self.posts[index].succeed();
        }
        is_succeeded
    }

    /// From now on the step shows nothing but that the next worker starts. False: there is no such step.
    pub(super) fn is_succeeded(&mut self, index: usize) -> bool {
        let is_succession = |step: &&mut Step| step.index == index && step.how == How::Succession;
        let running = self.rollouts.running.as_mut();
        let step = running.and_then(|running| running.steps.iter_mut().find(is_succession));
        step.map(|step| step.how = How::Renewal).is_some()
    }

    fn take_rollout_id(&mut self) -> RolloutId {
        self.rollouts.last = self.rollouts.last.next();
        self.rollouts.last
    }

    fn begin_rollout(&mut self) {
        let Some((id, plan)) = self.rollouts.next.take() else { return };
        let since = self.next_id;
        self.rollouts.running = Some(Running { id, plan, since, steps: Vec::new(), done: 0 });
        self.emit(Event::RolloutStarted(id));
    }

    fn end_rollout(&mut self, result: RolloutResult) {
        if let Some(running) = self.rollouts.running.take() {
            self.emit(Event::RolloutEnded { id: running.id, result });
        }
    }

    /// Where the new worker has proved itself.
    fn end_steps(&mut self, now: Instant) {
        let Some(mut running) = self.rollouts.running.take() else { return };
        let steps = mem::take(&mut running.steps);
        for step in steps {
            if self.proved_at(&step, running.since, running.plan.settle).is_some_and(|at| at <= now) {
                running.done += 1;
                if step.how == How::Succession {
                    self.take_over(now, step.index);
                }
            } else if self.goes_on(&step) {
                running.steps.push(step);
            }
        }
        self.rollouts.running = Some(running);
    }

    fn take_over(&mut self, now: Instant, index: usize) {
        let Some(id) = self.posts[index].live().map(|process| process.worker.id) else { return };
        self.posts[index].succeed();
        let within = self.settings.linger_timeout.unwrap_or(self.settings.drain_timeout);
        self.ask(now, id, within, Leave::HandOver, Cause::Rollout);
    }

    /// When the step's new worker has been ready for long enough; `None`: it is not ready.
    fn proved_at(&self, step: &Step, since: WorkerId, settle: Duration) -> Option<Instant> {
        let post = &self.posts[step.index];
        let process = match (&post.successor, step.how) {
            (Successor::Live(process), How::Succession) => process,
            (Successor::Nobody | Successor::Spawning { .. }, How::Succession) => return None,
            (_, How::Renewal) => post.live().filter(|process| process.worker.id >= since)?,
        };
        let is_ready = matches!(process.phase, Phase::Ready);
        process.ready_since.filter(|_| is_ready).map(|ready| ready + settle)
    }

    /// False: the slot is left meanwhile, for another reason.
    fn goes_on(&self, step: &Step) -> bool {
        let post = &self.posts[step.index];
        match &post.state {
            PostState::Vacant | PostState::Retired(_) => false,
            PostState::Due { .. } | PostState::Spawning { .. } => true,
            PostState::Live(process) => !process.is_leaving() || process.leaves_for(Cause::Rollout),
        }
    }

    /// True if there may be another one.
    fn begin_step(&mut self, now: Instant) -> bool {
        let Some(running) = &self.rollouts.running else { return false };
        let plan = running.plan;
        let is_proving = running.done < plan.canary && running.done + running.steps.len() >= plan.canary;
        if is_proving {
            return false;
        }
        let count = |how: How| running.steps.iter().filter(|step| step.how == how).count();
        let (beside, without) = (count(How::Succession), count(How::Renewal));
        let may_linger = self.former() + beside < self.may_linger();
        let (old, waiting) = (self.old(running, Old::Serves), self.old(running, Old::Waits));
        match (old, waiting) {
            (Some(index), _) if beside < plan.surge && may_linger => self.begin_succession(index),
            (Some(index), _) if without < plan.max_unavailable => self.begin_renewal(now, index),
            (None, Some(index)) if beside + without < plan.surge + plan.max_unavailable => self.begin_start(now, index),
            (Some(_) | None, _) => return false,
        }
        true
    }

    fn begin_succession(&mut self, index: usize) {
        let (id, slot) = (self.take_id(), Slot::from_index(index));
        self.posts[index].successor = Successor::Spawning { id };
        self.actions.push_back(Action::Spawn { slot, id });
        self.note_step(index, How::Succession);
    }

    fn begin_renewal(&mut self, now: Instant, index: usize) {
        self.note_step(index, How::Renewal);
        let id = self.posts[index].live().map(|process| process.worker.id);
        id.into_iter().for_each(|id| self.part(now, index, id, Cause::Rollout));
    }

    /// What it waits for may be what the rollout brings.
    fn begin_start(&mut self, now: Instant, index: usize) {
        self.note_step(index, How::Renewal);
        let id = self.take_id();
        self.posts[index].state = PostState::Due { id, at: now, awaits: Awaits::Time };
    }

    fn note_step(&mut self, index: usize, how: How) {
        if let Some(running) = &mut self.rollouts.running {
            running.steps.push(Step { index, how });
        }
    }

    /// The first slot of the old generation that is not in work: with a worker, or waiting for one.
    fn old(&self, running: &Running, old: Old) -> Option<usize> {
        let idle = |index: &usize| !running.steps.iter().any(|step| step.index == *index);
        (0..self.posts.len()).filter(idle).find(|index| self.is_old(*index, running.since) == Some(old))
    }

    fn has_old(&self, since: WorkerId) -> bool {
        (0..self.posts.len()).any(|index| self.is_old(index, since).is_some())
    }

    fn is_old(&self, index: usize, since: WorkerId) -> Option<Old> {
        match &self.posts[index].state {
            PostState::Live(process) => (process.worker.id < since && !process.is_leaving()).then_some(Old::Serves),
            PostState::Due { id, .. } => (*id < since).then_some(Old::Waits),
            PostState::Spawning { id } => (*id < since).then_some(Old::IsForked),
            PostState::Vacant | PostState::Retired(_) => None,
        }
    }

    /// Somebody of the old generation has yet to hear that it leaves: newcomers may still meet it.
    fn accepts_as_former(&self, since: WorkerId) -> bool {
        let mut former = self.posts.iter().flat_map(|post| &post.former);
        former.any(|process| process.worker.id < since && process.is_accepting())
    }

    /// One generation, if nothing else is said.
    pub(super) fn may_linger(&self) -> usize {
        let workers = if self.settings.manual { self.posts.len() } else { self.target };
        self.settings.max_lingering.unwrap_or(workers)
    }

    /// How many have left their slot to another one and are still there.
    pub(super) fn former(&self) -> usize {
        self.posts.iter().map(|post| post.former.len()).sum()
    }
}
