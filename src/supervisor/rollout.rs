//! The rolling restart: each slot's successor is ready, and has proved itself, before its predecessor leaves.
//!
//! A rollout goes through the slots step by step (`steps`), in their order: first those with an old worker, then those
//! that wait out a back-off, which may be over with the new generation. It is done when every slot that is to be filled
//! has a worker of the new generation that is ready, and none of the old one answers any more, but those that linger. A
//! new worker that fails, or is not ready in time, aborts it: successors are taken back, and every worker that was not
//! replaced yet goes on serving.
//!
//! Races it settles: a worker that dies while its successor starts leaves the slot to it; one that was forked for
//! another reason since the rollout began is new already; a new request waits until the steps under way are over, and
//! takes over then; a successor whose fork completes after its rollout has ended is asked to leave.

use std::time::{Duration, Instant};

use super::{
    Course, Supervisor,
    steps::{Goal, Lack, Running},
};
use crate::{
    config::Rollout,
    error::{Error, Kind, Result},
    event::{Cause, Event, RolloutResult},
    id::{RolloutId, Slot},
};

#[derive(Default)]
pub(super) struct Rollouts {
    pub(super) running: Option<Running>,
    /// Begins when the steps of the running one are over.
    next: Option<(RolloutId, Rollout)>,
    last: RolloutId,
    /// The last one that began: whoever is forked now is of its generation.
    generation: RolloutId,
    /// Something has changed outside of a turn.
    look_at: Option<Instant>,
}

impl Rollouts {
    pub(super) fn generation(&self) -> RolloutId {
        self.generation
    }

    /// There is something to do, or to be waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || self.next.is_some()
    }
}

impl Supervisor {
    /// **Errors**: the cluster is stopping; the plan contradicts itself or the number of workers.
    pub(crate) fn may_roll(&self, plan: &Rollout) -> Result<()> {
        if !matches!(self.course, Course::Running) {
            return Err(Error::new(Kind::Gone, "rollout: the cluster is stopping"));
        }
        match plan.problems(self.rolled()).first() {
            Some(problem) => Err(Error::new(Kind::InvalidConfig, problem.clone())),
            None => Ok(()),
        }
    }

    /// How many slots a rollout may concern.
    pub(crate) fn rolled(&self) -> usize {
        if self.settings.manual { self.posts.len() } else { self.target }
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
        self.wear_by_time(now);
        self.end_steps(now);
        self.end_if_done(now);
        let is_idle = self.rollouts.running.as_ref().is_none_or(|running| running.steps.is_empty());
        if is_idle && self.rollouts.next.is_some() {
            self.end_rollout(RolloutResult::Superseded);
            self.begin_rollout();
        }
        self.begin_recycling();
        if self.rollouts.next.is_none() {
            while self.begin_step(now) {}
        }
        self.end_if_done(now);
    }

    pub(super) fn rollout_deadline(&self) -> Option<Instant> {
        let running = self.rollouts.running.iter();
        let proved = running
            .flat_map(|running| running.steps.iter().filter_map(|step| self.proved_at(step, running.plan.settle)));
        proved.chain(self.rollouts.look_at).chain(self.wear_deadline()).min()
    }

    /// It goes on when old workers that have a successor have ended: so many there are.
    pub(crate) fn rollout_waits(&self, now: Instant) -> Option<(RolloutId, usize)> {
        let running = self.rollouts.running.as_ref().filter(|running| running.steps.is_empty())?;
        let Goal::Rollout(id) = running.goal else { return None };
        let lingering = self.lingering();
        let waits = lingering >= self.may_linger() && self.first_that_lacks(now, Lack::Successor).is_some();
        waits.then_some((id, lingering))
    }

    /// Something happened that may let it go on, maybe after the turn's own look.
    pub(super) fn rollout_goes_on(&mut self, now: Instant) {
        if self.rollouts.is_busy() {
            self.look_soon(now);
        }
    }

    pub(super) fn look_soon(&mut self, now: Instant) {
        self.rollouts.look_at = Some(now);
    }

    /// The cluster stops.
    pub(super) fn end_rollouts(&mut self) {
        self.end_rollout(RolloutResult::Stopped);
        if let Some((id, _)) = self.rollouts.next.take() {
            self.emit(Event::RolloutEnded { id, result: RolloutResult::Stopped });
        }
        self.rollouts.look_at = None;
    }

    /// A new worker has failed, or will not be there. A rollout ends here: successors that have not taken over are
    /// taken back.
    pub(super) fn abort(&mut self, now: Instant, index: usize, why: String) {
        let Some(goal) = self.rollouts.running.as_ref().map(|running| running.goal) else { return };
        match goal {
            Goal::Rollout(id) => self.abort_rollout(now, id, index, why),
            Goal::Recycling => self.put_off(now, index, why),
        }
    }

    fn abort_rollout(&mut self, now: Instant, id: RolloutId, index: usize, why: String) {
        let Some(running) = self.rollouts.running.take() else { return };
        for step in &running.steps {
            self.discard_successor(now, step.index);
            self.stay(now, step.index, Cause::Rollout);
        }
        let why = Error::new(Kind::System, format!("slot {index}: {why}"));
        let result = RolloutResult::Aborted { slot: Some(Slot::from_index(index)), why };
        self.emit(Event::RolloutEnded { id, result });
        self.look_soon(now);
    }

    fn take_rollout_id(&mut self) -> RolloutId {
        self.rollouts.last = self.rollouts.last.next();
        self.rollouts.last
    }

    fn begin_rollout(&mut self) {
        let Some((id, plan)) = self.rollouts.next.take() else { return };
        self.rollouts.running = Some(Running::new(Goal::Rollout(id), plan));
        self.rollouts.generation = id;
        self.emit(Event::RolloutStarted(id));
    }

    fn end_rollout(&mut self, result: RolloutResult) {
        let running = self.rollouts.running.take();
        if let Some(Running { goal: Goal::Rollout(id), .. }) = running {
            self.emit(Event::RolloutEnded { id, result });
        }
    }

    fn end_if_done(&mut self, now: Instant) {
        let Some(running) = self.rollouts.running.as_ref().filter(|running| running.steps.is_empty()) else { return };
        let is_new = (0..self.posts.len()).all(|index| self.lacks(now, index, running.goal).is_none());
        let Goal::Rollout(id) = running.goal else {
            if is_new {
                self.rollouts.running = None;
            }
            return;
        };
        let former = self.posts.iter().flat_map(|post| &post.former).filter(|process| process.generation < id);
        let accepts = former.clone().any(|process| !process.accepts().is_empty());
        // Whoever has asked for the next one does not want to wait for that.
        let former = former.filter(|_| self.rollouts.next.is_none());
        let lingers_at = former.map(|process| process.leaving_since() + FINISHES).filter(|at| *at > now).max();
        match lingers_at {
            _ if !is_new || accepts => {}
            Some(at) => self.rollouts.look_at = Some(at),
            None => self.end_rollout(RolloutResult::Done),
        }
    }
}

/// Old workers whose connections are no long-lived ones have ended by then: those that are idle are kept for a second
/// ([`Serve::drain_grace`](crate::Serve::drain_grace)).
const FINISHES: Duration = Duration::from_secs(2);
