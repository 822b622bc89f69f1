//! Which step a rollout may begin, and which one an action says it has begun.

use super::{
    At, Holds, Life, Next, Referee, Span,
    goals::{Goal, Running, Step},
};
use crate::{
    config::Rollout,
    event::Cause,
    id::{RolloutId, WorkerId},
    supervisor::Action,
    wire::Leave,
};

/// What a rollout does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    Succession(usize),
    /// The worker leaves first.
    Renewal(usize),
    /// What is due is started before its time.
    Early(usize),
}

impl Referee {
    pub(super) fn may_begin(&self, now: At) -> Option<Begin> {
        let running = self.rollouts.running.as_ref().filter(|_| self.rollouts.waiting.is_none())?;
        let Rollout { surge, max_unavailable, canary, settle: _ } = running.plan;
        let under_way = running.steps.len();
        if running.proved < canary && running.proved + under_way >= canary {
            return None;
        }
        let idle = |slot: &usize| !running.steps.contains_key(slot) && self.slots[*slot].next == Next::Nobody;
        let waits = |slot: &usize| match self.slots[*slot].holds {
            Holds::Due { at, announced, .. } => announced.unwrap_or(at.from) > now,
            Holds::Empty | Holds::Retired(_) | Holds::Live(_) | Holds::Forking(_) => false,
        };
        let beside = running.steps.values().filter(|step| **step == Step::Beside).count();
        if under_way >= surge.saturating_add(max_unavailable) {
            return None;
        }
        let mut slots = (0..self.slots.len()).filter(idle);
        let old = match running.goal {
            Goal::Rollout(id) => slots.clone().find(|slot| self.is_old(*slot, id)),
            Goal::Recycling => self.first_worn(slots.clone()),
        };
        if let Some(slot) = old {
            let succession = beside < surge && self.lingering() < self.may_linger();
            let renewal = under_way - beside < max_unavailable;
            return succession.then_some(Begin::Succession(slot)).or(renewal.then_some(Begin::Renewal(slot)));
        }
        // It may be what the rollout brings that they wait for, so they come last.
        let waiting = running.rollout().and_then(|_| slots.find(waits));
        waiting.filter(|_| beside == 0).map(Begin::Early)
    }

    fn is_old(&self, slot: usize, rollout: RolloutId) -> bool {
        match self.slots[slot].holds {
            Holds::Live(id) => !self.lives[&id].is_leaving() && self.lives[&id].generation < rollout,
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => false,
        }
    }

    /// What this says of the rollout; nothing if there is another reason for it.
    pub(super) fn begun(&self, now: At, action: &Action) -> Option<Begin> {
        let leaves = |id: &WorkerId| self.lives.get(id).is_none_or(Life::is_leaving);
        match action {
            Action::Spawn { slot, id } => {
                let book = self.slots.get(slot.index())?;
                match book.holds {
                    Holds::Live(_) if book.next != Next::Ordered(*id) => Some(Begin::Succession(slot.index())),
                    Holds::Due { at, announced, .. } if announced.unwrap_or(at.from) > now => {
                        Some(Begin::Early(slot.index()))
                    }
                    Holds::Live(_) | Holds::Due { .. } | Holds::Empty | Holds::Retired(_) | Holds::Forking(_) => None,
                }
            }
            Action::Part { slot, id } if !leaves(id) => Some(Begin::Renewal(slot.index())),
            Action::Ask { id, leave: Leave::Shut, .. } if !leaves(id) => Some(Begin::Renewal(self.lives[id].slot)),
            Action::Part { .. } | Action::Ask { .. } | Action::Stay { .. } | Action::Signal { .. } => None,
            Action::Shut { .. } | Action::Refuse | Action::Note { .. } => None,
            Action::Emit(_) | Action::Finish(_) => None,
            Action::Steer { .. } | Action::Lend { .. } | Action::TakeBack { .. } => None,
            Action::Nudge { .. } | Action::Doze(_) => None,
        }
    }

    pub(super) fn begin(&mut self, now: At, begun: Begin, action: &Action) {
        let (slot, step) = match begun {
            Begin::Succession(slot) => (slot, Step::Beside),
            Begin::Renewal(slot) | Begin::Early(slot) => (slot, Step::Without),
        };
        let cause = self.rollouts.running.as_ref().map_or(Cause::Rollout, Running::cause);
        self.rollouts.running.as_mut().and_then(|running| running.steps.insert(slot, step));
        self.owes_note(slot);
        match (begun, action) {
            (Begin::Succession(slot), Action::Spawn { id, .. }) => {
                (self.slots[slot].next, self.slots[slot].next_for) = (Next::Ordered(*id), cause);
            }
            (Begin::Renewal(slot), _) => {
                if let Holds::Live(id) = self.slots[slot].holds {
                    self.parts(now, id, cause);
                }
            }
            (Begin::Early(slot), _) => {
                let book = &mut self.slots[slot];
                if let Holds::Due { at, announced, .. } = &mut book.holds {
                    book.moot = announced.is_none();
                    (*at, *announced) = (Span::exactly(now), Some(now));
                }
            }
            (Begin::Succession(_), _) => {}
        }
    }
}
