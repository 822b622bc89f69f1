//! The steps of a rolling restart, and of recycling: one slot each, from the worker that is there to one that has
//! proved itself.
//!
//! In a **succession** the successor starts beside the worker, and takes over when it has proved itself. In a
//! **renewal** the slot has no other worker meanwhile: the plan allows it, or its worker is gone anyway.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    Action, Supervisor,
    post::{PostState, Successor},
    process::{Phase, Process},
};
use crate::{
    config::Rollout,
    event::Cause,
    id::{RolloutId, Slot, WorkerId},
    wire::Leave,
};

/// What is under way.
pub(super) struct Running {
    pub(super) goal: Goal,
    pub(super) plan: Rollout,
    pub(super) steps: Vec<Step>,
    /// Steps that are over.
    done: usize,
}

/// What the steps are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Every worker is of the generation of this rollout.
    Rollout(RolloutId),
    /// No worker has served for too long.
    Recycling,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) index: usize,
    pub(super) how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The successor starts beside the worker.
    Succession,
    /// The worker leaves first, or is gone.
    Renewal,
}

/// What a slot lacks for that goal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Its worker is of an older generation, or worn.
    Successor,
    /// Its next worker is due, but not yet.
    Start,
    /// Its worker starts, or leaves and is followed by another one: it goes on by itself.
    Time,
}

impl Running {
    pub(super) fn new(goal: Goal, plan: Rollout) -> Self {
        Self { goal, plan, steps: Vec::new(), done: 0 }
    }

    pub(super) fn has_step(&self, index: usize) -> bool {
        self.steps.iter().any(|step| step.index == index)
    }

    /// Nobody else is touched before the canaries have proved themselves.
    fn awaits_canaries(&self) -> bool {
        let Rollout { canary, .. } = self.plan;
        self.done < canary && self.done + self.steps.len() >= canary
    }

    fn count(&self, how: How) -> usize {
        self.steps.iter().filter(|step| step.how == how).count()
    }
}

impl Goal {
    fn cause(self) -> Cause {
        match self {
            Goal::Rollout(_) => Cause::Rollout,
            Goal::Recycling => Cause::Recycled,
        }
    }
}

impl Supervisor {
    /// True if there may be another one.
    pub(super) fn begin_step(&mut self, now: Instant) -> bool {
        let Some(running) = self.rollouts.running.as_ref().filter(|running| !running.awaits_canaries()) else {
            return false;
        };
        let (goal, Rollout { surge, max_unavailable, .. }) = (running.goal, running.plan);
        let (beside, without) = (running.count(How::Succession), running.count(How::Renewal));
        // A slot whose worker has died counts, too, until the next one has proved itself.
        if beside + without >= surge.saturating_add(max_unavailable) {
            return false;
        }
        let has_room = self.lingering() < self.may_linger();
        let (old, waiting) = (self.first_that_lacks(now, Lack::Successor), self.first_that_lacks(now, Lack::Start));
        match (old, waiting) {
            (Some(index), _) if beside < surge && has_room => self.begin_succession(index, goal),
            (Some(index), _) if without < max_unavailable => self.begin_renewal(now, index, goal),
            (None, Some(index)) if beside == 0 => self.begin_start(index),
            (Some(_) | None, _) => return false,
        }
        true
    }

    /// Where the new worker has proved itself.
    pub(super) fn end_steps(&mut self, now: Instant) {
        let Some(mut running) = self.rollouts.running.take() else { return };
        let mut deserted = None;
        for step in mem::take(&mut running.steps) {
            if self.proved_at(&step, running.plan.settle).is_some_and(|at| at <= now) {
                if let (How::Succession, Some(id)) = (step.how, self.posts[step.index].deserter()) {
                    deserted.get_or_insert((step.index, id));
                    running.steps.push(step);
                    continue;
                }
                running.done += 1;
                if step.how == How::Succession {
                    self.take_over(now, step.index);
                }
            } else if self.goes_on(&step) {
                running.steps.push(step);
            }
        }
        self.rollouts.running = Some(running);
        if let Some((index, id)) = deserted {
            self.abort(
                now,
                index,
                format!("worker {id}, its successor, no longer listens everywhere; see what it logged"),
            );
        }
    }

    /// When the step's new worker has been ready for long enough; `None`: it is not ready.
    pub(super) fn proved_at(&self, step: &Step, settle: Duration) -> Option<Instant> {
        let post = &self.posts[step.index];
        let process = match (&post.successor, step.how) {
            (Successor::Live(process), How::Succession) => process.as_ref(),
            (Successor::Nobody | Successor::Spawning { .. }, How::Succession) => return None,
            // The one that was there before is gone, or leaves.
            (_, How::Renewal) => post.live()?,
        };
        let is_ready = matches!(process.phase, Phase::Ready);
        process.ready_since.filter(|_| is_ready).map(|ready| ready + settle)
    }

    /// Where there is a step with this worker as the new one, its end is that of the rollout, or of this attempt.
    pub(super) fn failed(&mut self, now: Instant, process: &Process, how: &str) {
        if self.is_tried(process) {
            let id = process.worker.id;
            self.abort(now, process.worker.slot.index(), format!("worker {id} {how}; see what it logged"));
        }
    }

    pub(super) fn is_tried(&self, process: &Process) -> bool {
        let running = self.rollouts.running.as_ref();
        let running = running.filter(|running| running.has_step(process.worker.slot.index()));
        running.is_some_and(|running| match running.goal {
            Goal::Rollout(id) => process.generation >= id,
            Goal::Recycling => process.wear.is_fresh(),
        })
    }

    /// What is awaited of a fork for the goal.
    pub(super) fn has_step(&self, index: usize, how: How) -> bool {
        let running = self.rollouts.running.as_ref();
        running.is_some_and(|running| running.steps.contains(&Step { index, how }))
    }

    /// The slot is left, or given up: what was begun there is over.
    pub(super) fn leave_step(&mut self, now: Instant, index: usize) {
        if let Some(running) = &mut self.rollouts.running {
            running.steps.retain(|step| step.index != index);
        }
        self.discard_successor(now, index);
    }

    /// It may have accepted connections. One whose fork is under way is discarded when that is over.
    pub(super) fn discard_successor(&mut self, now: Instant, index: usize) {
        match mem::replace(&mut self.posts[index].successor, Successor::Nobody) {
            Successor::Nobody => {}
            Successor::Spawning { id } => {
                if !self.withdraw(id) {
                    self.posts[index].successor = Successor::Spawning { id };
                }
            }
            Successor::Live(process) => {
                let (id, cause) = (process.worker.id, self.posts[index].succession);
                self.posts[index].former.push(*process);
                self.ask(now, id, self.settings.drain_timeout, Leave::HandOver, cause);
            }
        }
    }

    /// The slot's worker has ended, or ends, unasked. If its successor is on the way, nobody else need be forked: from
    /// now on the step shows nothing but that it starts. True if so.
    pub(super) fn succeed_early(&mut self, index: usize) -> bool {
        let is_succession = |step: &&mut Step| step.index == index && step.how == How::Succession;
        let running = self.rollouts.running.as_mut();
        let Some(step) = running.and_then(|running| running.steps.iter_mut().find(is_succession)) else { return false };
        step.how = How::Renewal;
        self.posts[index].promote();
        self.announce_all_ready();
        true
    }

    /// The fork was ordered, but has not happened yet. True if it does not.
    pub(super) fn withdraw(&mut self, wanted: WorkerId) -> bool {
        let before = self.actions.len();
        self.actions.retain(|action| !matches!(action, Action::Spawn { id, .. } if *id == wanted));
        self.actions.len() < before
    }

    pub(super) fn lacks(&self, now: Instant, index: usize, goal: Goal) -> Option<Lack> {
        let Goal::Rollout(rollout) = goal else { return self.worn(index).map(|_| Lack::Successor) };
        let post = &self.posts[index];
        match &post.state {
            PostState::Vacant | PostState::Retired(_) => None,
            PostState::Due { at, .. } if *at > now => Some(Lack::Start),
            PostState::Due { .. } | PostState::Spawning { .. } => Some(Lack::Time),
            PostState::Live(process) if process.is_leaving() => (!post.is_dismissed).then_some(Lack::Time),
            PostState::Live(process) if process.generation < rollout => Some(Lack::Successor),
            PostState::Live(_) => (!post.is_ready()).then_some(Lack::Time),
        }
    }

    /// That is not in work, nor awaits a fork that nobody wants any more. A rollout takes them in order; of those that
    /// are worn the oldest is first, or one whose workers wear fast would come before all others.
    pub(super) fn first_that_lacks(&self, now: Instant, lack: Lack) -> Option<usize> {
        let running = self.rollouts.running.as_ref()?;
        let is_idle =
            |index: &usize| !running.has_step(*index) && matches!(self.posts[*index].successor, Successor::Nobody);
        let lacks = |index: &usize| self.lacks(now, *index, running.goal) == Some(lack);
        let mut lacking = (0..self.posts.len()).filter(is_idle).filter(lacks);
        match running.goal {
            Goal::Rollout(_) => lacking.next(),
            Goal::Recycling => lacking.min_by_key(|index| self.posts[*index].live().map(|holder| holder.worker.id)),
        }
    }

    /// How many share a slot with its worker: its successor, and those that have left it to another one.
    pub(super) fn lingering(&self) -> usize {
        let beside = |post: &super::Post| usize::from(!matches!(post.successor, Successor::Nobody));
        self.posts.iter().map(|post| post.former.len() + beside(post)).sum()
    }

    /// One generation, if nothing else is said.
    pub(super) fn may_linger(&self) -> usize {
        let workers = if self.settings.manual { self.posts.len() } else { self.target };
        self.settings.max_lingering.unwrap_or(workers)
    }

    fn begin_succession(&mut self, index: usize, goal: Goal) {
        self.note_worn(index, goal);
        let (id, slot) = (self.take_id(), Slot::from_index(index));
        self.posts[index].successor = Successor::Spawning { id };
        self.posts[index].succession = goal.cause();
        self.actions.push_back(Action::Spawn { slot, id });
        self.note_step(index, How::Succession);
    }

    fn begin_renewal(&mut self, now: Instant, index: usize, goal: Goal) {
        self.note_worn(index, goal);
        self.note_step(index, How::Renewal);
        let id = self.posts[index].live().map(|process| process.worker.id);
        id.into_iter().for_each(|id| self.part(now, index, id, goal.cause()));
    }

    /// What it waits for may be what the rollout brings.
    fn begin_start(&mut self, index: usize) {
        self.note_step(index, How::Renewal);
        self.spawn_due(index);
    }

    fn note_step(&mut self, index: usize, how: How) {
        if let Some(running) = &mut self.rollouts.running {
            running.steps.push(Step { index, how });
        }
    }

    fn take_over(&mut self, now: Instant, index: usize) {
        let Some(id) = self.posts[index].live().map(|process| process.worker.id) else { return };
        let cause = self.posts[index].succession;
        self.posts[index].retire(now);
        self.posts[index].promote();
        self.announce_all_ready();
        let within = self.settings.linger_timeout.unwrap_or(self.settings.drain_timeout);
        self.ask(now, id, within, Leave::HandOver, cause);
    }

    /// False: there is nobody any more who could prove himself.
    fn goes_on(&self, step: &Step) -> bool {
        let post = &self.posts[step.index];
        match step.how {
            How::Succession => !matches!(post.successor, Successor::Nobody),
            How::Renewal => !matches!(post.state, PostState::Vacant | PostState::Retired(_)),
        }
    }
}
