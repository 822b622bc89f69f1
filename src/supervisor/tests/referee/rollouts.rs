//! Rolling restarts and the number of workers: what may begin, what has proved itself, and how each request ends.

use std::collections::VecDeque;

use super::{
    At, Holds, Life, Next, Referee, Span, Verdict,
    goals::{Goal, Running, Step},
};
use crate::{
    config::Rollout,
    event::{Cause, Event, RolloutResult},
    id::{RolloutId, WorkerId},
    supervisor::{Action, Why},
    wire::Leave,
};

#[derive(Default)]
pub(super) struct Rollouts {
    pub(super) running: Option<Running>,
    pub(super) waiting: Option<(RolloutId, Rollout)>,
    /// When the last old worker that is waited for lingers.
    finishes: Option<At>,
    last: RolloutId,
    /// The last one that began.
    generation: RolloutId,
    owed: VecDeque<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Started(RolloutId),
    Done(RolloutId),
    Aborted(RolloutId, Option<usize>),
    Superseded(RolloutId),
    Stopped(RolloutId),
}

impl Referee {
    pub(super) fn rollout_requested(&mut self, plan: Rollout) {
        let id = self.rollouts.next_id();
        if let Some((id, _)) = self.rollouts.waiting.replace((id, plan)) {
            self.rollouts.owed.push_back(Told::Superseded(id));
        }
    }

    pub(super) fn reload_failed(&mut self) {
        let id = self.rollouts.next_id();
        self.rollouts.owed.push_back(Told::Aborted(id, None));
    }

    pub(super) fn rollouts_stopped(&mut self) {
        self.rollouts.finishes = None;
        let running = self.rollouts.running.take().and_then(|running| running.rollout());
        let waiting = self.rollouts.waiting.take().map(|(id, _)| id);
        self.rollouts.owed.extend(running.into_iter().chain(waiting).map(Told::Stopped));
    }

    /// A rollout is not over yet.
    pub(in super::super) fn is_rolling(&self) -> bool {
        let running = self.rollouts.running.as_ref().and_then(Running::rollout);
        running.is_some() || self.rollouts.waiting.is_some()
    }

    /// Nor is a step of recycling.
    pub(super) fn is_busy(&self) -> bool {
        self.rollouts.running.is_some() || self.rollouts.waiting.is_some()
    }

    pub(super) fn generation(&self) -> RolloutId {
        self.rollouts.generation
    }

    /// A turn has come to its end, and this is what the supervisor wants done.
    pub(in super::super) fn rolled(&mut self, now: At, wanted: &VecDeque<Action>) -> Verdict {
        self.rollouts.finishes = None;
        self.wear_by_time(now);
        self.take_over(now, wanted);
        self.is_done(now);
        let is_idle = self.rollouts.running.as_ref().is_none_or(|running| running.steps.is_empty());
        if let Some((id, plan)) = self.rollouts.waiting.filter(|_| is_idle) {
            let last = self.rollouts.running.take();
            self.rollouts.waiting = None;
            self.rollouts.owed.extend(last.and_then(|last| last.rollout()).map(Told::Superseded));
            self.rollouts.owed.push_back(Told::Started(id));
            self.rollouts.generation = id;
            self.rollouts.running = Some(Running::new(Goal::Rollout(id), plan));
            self.is_done(now);
        }
        self.begin_recycling();
        for action in wanted {
            if let Action::Emit(Event::Backoff { slot, delay, .. }) = action {
                self.will_wait(now, slot.index(), now.saturating_add(*delay));
            }
            if let Some(begun) = self.begun(now, action) {
                let may = self.may_begin(now);
                if may != Some(begun) && !self.is_aborted(wanted) {
                    return Err(format!("{action:?}: this is {begun:?}, and may begin: {may:?}"));
                }
                self.begin(now, begun, action);
            } else if let Action::Signal { id, why: Why::NotReady, .. } = action {
                self.was_not_ready(now, *id);
            } else if let Action::Ask { id, .. } = action {
                self.has_parted(now, *id);
            } else if let Action::Note { worker, what } = action {
                self.hears(now, worker, what);
            }
        }
        Ok(())
    }

    /// In this very turn: forks of successors that had begun before are withdrawn, and not seen.
    fn is_aborted(&self, wanted: &VecDeque<Action>) -> bool {
        let Some(rollout) = self.rollouts.running.as_ref().and_then(Running::rollout) else { return false };
        let is_end = |action: &Action| matches!(action, Action::Emit(Event::RolloutEnded { id, .. }) if *id == rollout);
        wanted.iter().any(is_end)
    }

    /// Until when, not only from when to when; whether it is right to say so is seen later.
    pub(super) fn will_wait(&mut self, now: At, slot: usize, until: At) {
        let Holds::Due { at, announced: None, .. } = &mut self.slots[slot].holds else { return };
        if !(at.from..=at.to).contains(&until) {
            return;
        }
        let was_known = at.from > now;
        *at = Span::exactly(until);
        if was_known {
            self.decide(slot, until);
        } else {
            self.wait_out(now, slot, Span::exactly(until));
        }
    }

    /// Whether that is right is seen when it gets the signal.
    fn was_not_ready(&mut self, now: At, id: WorkerId) {
        let Some(life) = self.live(id) else { return };
        life.missed_deadline = true;
        let slot = life.slot;
        if self.is_tried(&self.lives[&id]) {
            self.failed(now, slot);
        }
    }

    pub(super) fn rollout_settled(&self, now: At) -> Verdict {
        if let Some(told) = self.rollouts.owed.front() {
            return Err(format!("{told:?} is missing"));
        }
        if let Some(begin) = self.may_begin(now) {
            return Err(format!("the rollout may go on by {begin:?} and does not"));
        }
        if !self.is_busy() && self.is_anybody_worn() {
            return Err("somebody is worn, and nothing is done about it".to_owned());
        }
        let Some(slot) = (0..self.slots.len()).find(|slot| self.is_superfluous(*slot)) else { return Ok(()) };
        Err(format!("slot {slot} has a successor and there is no rollout"))
    }

    fn is_superfluous(&self, slot: usize) -> bool {
        matches!(self.slots[slot].next, Next::Live(_)) && self.stop.is_none() && self.step(slot) != Some(Step::Beside)
    }

    pub(super) fn rollout_deadlines(&self) -> impl Iterator<Item = At> {
        let running = self.rollouts.running.iter();
        running
            .flat_map(|running| running.steps.iter().filter_map(|(slot, step)| self.proved_at(running, *slot, *step)))
            .chain(self.rollouts.finishes)
            .chain(self.wear_deadlines())
    }

    pub(super) fn rollout_ended(&mut self, id: RolloutId, result: &RolloutResult) -> Verdict {
        self.told(match result {
            RolloutResult::Done => Told::Done(id),
            RolloutResult::Aborted { slot, .. } => Told::Aborted(id, slot.map(|slot| slot.index())),
            RolloutResult::Superseded => Told::Superseded(id),
            RolloutResult::Stopped => Told::Stopped(id),
        })
    }

    pub(super) fn rollout_started(&mut self, id: RolloutId) -> Verdict {
        self.told(Told::Started(id))
    }

    fn told(&mut self, told: Told) -> Verdict {
        let owed = self.rollouts.owed.pop_front();
        (owed == Some(told)).then_some(()).ok_or_else(|| format!("{told:?}, expected {owed:?}"))
    }

    /// The slot's worker is no more, or leaves, unasked, and somebody follows. True if that is its successor.
    pub(super) fn succeeded_early(&mut self, now: At, slot: usize) -> bool {
        if self.step(slot) != Some(Step::Beside) {
            return false;
        }
        self.rollouts.running.as_mut().and_then(|running| running.steps.insert(slot, Step::Without));
        self.promote(now, slot);
        true
    }

    /// A worker that was to prove itself has failed, or will not be there.
    pub(super) fn failed(&mut self, now: At, slot: usize) {
        let running = self.rollouts.running.as_ref().filter(|running| running.steps.contains_key(&slot));
        match running.map(|running| running.goal) {
            None => {}
            Some(Goal::Recycling) => self.put_off(now, slot),
            Some(Goal::Rollout(id)) => self.aborted(now, id, slot),
        }
    }

    fn aborted(&mut self, now: At, id: RolloutId, slot: usize) {
        let Some(running) = self.rollouts.running.take() else { return };
        self.rollouts.owed.push_back(Told::Aborted(id, Some(slot)));
        for slot in running.steps.into_keys() {
            self.discard_successor(now, slot);
            self.stay(now, slot, Cause::Rollout);
        }
    }

    pub(super) fn is_tried(&self, life: &Life) -> bool {
        let running = self.rollouts.running.as_ref();
        let running = running.filter(|running| running.steps.contains_key(&life.slot));
        running.is_some_and(|running| match running.goal {
            Goal::Rollout(id) => life.generation >= id,
            Goal::Recycling => life.wear.is_fresh(),
        })
    }

    pub(super) fn succeeds(&self, slot: usize) -> bool {
        self.step(slot) == Some(Step::Beside)
    }

    pub(super) fn leave_step(&mut self, slot: usize) {
        self.rollouts.running.as_mut().and_then(|running| running.steps.remove(&slot));
    }

    pub(super) fn discard_successor(&mut self, now: At, slot: usize) {
        let within = self.settings.drain_timeout;
        match self.slots[slot].next {
            Next::Nobody | Next::Forking(_) => {}
            Next::Ordered(_) => self.slots[slot].next = Next::Nobody,
            Next::Live(id) => {
                self.slots[slot].next = Next::Nobody;
                let cause = self.slots[slot].next_for;
                if let Some(life) = self.live(id) {
                    life.is_asked(now, within, Leave::HandOver, cause);
                }
            }
        }
    }

    /// Who shares a slot with its worker.
    pub(super) fn lingering(&self) -> usize {
        let beside = self.slots.iter().filter(|book| book.next != Next::Nobody).count();
        let is_former = |id: WorkerId, life: &Life| {
            let book = &self.slots[life.slot];
            life.exited.is_none() && book.holds != Holds::Live(id) && book.next != Next::Live(id)
        };
        beside + self.lives.iter().filter(|(id, life)| is_former(**id, life)).count()
    }

    pub(super) fn may_linger(&self) -> usize {
        let workers = if self.settings.manual { self.slots.len() } else { self.target };
        self.settings.max_lingering.unwrap_or(workers)
    }

    pub(super) fn step(&self, slot: usize) -> Option<Step> {
        self.rollouts.running.as_ref().and_then(|running| running.steps.get(&slot).copied())
    }

    fn promote(&mut self, now: At, slot: usize) {
        let book = &mut self.slots[slot];
        book.holds = match std::mem::replace(&mut book.next, Next::Nobody) {
            Next::Nobody => Holds::Empty,
            Next::Ordered(id) => {
                let at = Span::exactly(now);
                Holds::Due { id: Some(id), at, announced: Some(now), threads: false }
            }
            Next::Forking(id) => Holds::Forking(id),
            Next::Live(id) => {
                book.last = None;
                Holds::Live(id)
            }
        };
        self.all_ready_if_so();
    }

    /// Where the new worker has been ready for the settle time; but whoever accepts in fewer places than the one that
    /// is there takes over nothing, and ends the rollout.
    fn take_over(&mut self, now: At, wanted: &VecDeque<Action>) {
        let Some(mut running) = self.rollouts.running.take() else { return };
        let is_left = |slot: &usize| matches!(self.slots[*slot].holds, Holds::Empty | Holds::Retired(_));
        running.steps.retain(|slot, step| *step == Step::Beside || !is_left(slot));
        let mut deserted = Vec::new();
        for (slot, step) in running.steps.clone() {
            if self.proved_at(&running, slot, step).is_none_or(|at| at > now) {
                continue;
            }
            if step == Step::Beside && self.is_deserted(slot) {
                deserted.push(slot);
                continue;
            }
            running.steps.remove(&slot);
            running.proved += 1;
            let (Step::Beside, Holds::Live(old)) = (step, self.slots[slot].holds) else { continue };
            self.retired(now, slot, old);
            self.promote(now, slot);
            let within = self.settings.linger_timeout.unwrap_or(self.settings.drain_timeout);
            let cause = self.slots[slot].next_for;
            if let Some(life) = self.live(old) {
                life.is_asked(now, within, Leave::HandOver, cause);
            }
        }
        self.rollouts.running = Some(running);
        // Any of them may be the one that is named.
        let named = deserted.iter().find(|slot| wanted.iter().any(|action| is_aborted_by(action, **slot)));
        if let Some(slot) = named.or(deserted.first()) {
            self.failed(now, *slot);
        }
    }

    fn is_deserted(&self, slot: usize) -> bool {
        let (Holds::Live(old), Next::Live(new)) = (self.slots[slot].holds, self.slots[slot].next) else { return false };
        !self.lives[&old].accepts.is_subset(&self.lives[&new].accepts)
    }

    fn proved_at(&self, running: &Running, slot: usize, step: Step) -> Option<At> {
        let new = match (step, self.slots[slot].next, self.slots[slot].holds) {
            (Step::Beside, Next::Live(id), _) | (Step::Without, _, Holds::Live(id)) => id,
            (Step::Beside | Step::Without, ..) => return None,
        };
        let life = self.lives.get(&new).filter(|life| life.exited.is_none() && !life.is_leaving())?;
        life.ready.map(|ready| ready + running.plan.settle)
    }

    /// No step is under way and every slot that is to be filled has a worker of the generation that is ready.
    fn is_done(&mut self, now: At) {
        let Some(running) = self.rollouts.running.as_ref().filter(|running| running.steps.is_empty()) else { return };
        let Goal::Rollout(id) = running.goal else {
            if !self.is_anybody_worn() {
                self.rollouts.running = None;
            }
            return;
        };
        let is_new = |worker: WorkerId| {
            let life = &self.lives[&worker];
            if life.is_leaving() {
                self.slots[life.slot].dismissed
            } else {
                life.generation >= id && life.ready.is_some()
            }
        };
        let done = self.slots.iter().all(|book| match book.holds {
            Holds::Empty | Holds::Retired(_) => true,
            Holds::Due { .. } | Holds::Forking(_) => false,
            Holds::Live(worker) => is_new(worker),
        });
        // Newcomers may still meet somebody older that has yet to hear that it leaves; and others finish.
        let former = self.lives.iter().filter(|(worker, life)| {
            life.exited.is_none() && life.generation < id && self.slots[life.slot].holds != Holds::Live(**worker)
        });
        let met = former.clone().any(|(_, life)| !life.accepts.is_empty());
        let finishes = former.filter_map(|(_, life)| Some(life.draining? + FINISHES));
        let last = finishes.filter(|at| *at > now && self.rollouts.waiting.is_none()).max();
        self.rollouts.finishes = last.filter(|_| done && !met);
        if done && !met && last.is_none() {
            self.rollouts.running = None;
            self.rollouts.owed.push_back(Told::Done(id));
        }
    }
}

impl Rollouts {
    fn next_id(&mut self) -> RolloutId {
        self.last = self.last.next();
        self.last
    }
}

fn is_aborted_by(action: &Action, by: usize) -> bool {
    let Action::Emit(Event::RolloutEnded { result: RolloutResult::Aborted { slot, .. }, .. }) = action else {
        return false;
    };
    slot.is_some_and(|slot| slot.index() == by)
}

const FINISHES: At = At::from_secs(2);
