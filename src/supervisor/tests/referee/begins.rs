//! Which step a rollout may begin, and which one an action says it has begun.

use super::{At, Holds, Life, Next, Referee, Span, rollouts::Step};
use crate::{config::Rollout, event::Cause, id::WorkerId, supervisor::Action, wire::Leave};

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
        let is_old = |slot: &usize| match self.slots[*slot].holds {
            Holds::Live(id) => !self.lives[&id].is_leaving() && self.lives[&id].generation < running.id,
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => false,
        };
        let waits = |slot: &usize| match self.slots[*slot].holds {
            Holds::Due { at, announced, .. } => announced.unwrap_or(at.from) > now,
            Holds::Empty | Holds::Retired(_) | Holds::Live(_) | Holds::Forking(_) => false,
        };
        let beside = running.steps.values().filter(|step| **step == Step::Beside).count();
        if under_way >= surge.saturating_add(max_unavailable) {
            return None;
        }
        let mut slots = (0..self.slots.len()).filter(idle);
        if let Some(slot) = slots.clone().find(is_old) {
            let succession = beside < surge && self.lingering() < self.may_linger();
            let renewal = under_way - beside < max_unavailable;
            return succession.then_some(Begin::Succession(slot)).or(renewal.then_some(Begin::Renewal(slot)));
        }
        // It may be what the rollout brings that they wait for, so they come last.
        slots.find(waits).filter(|_| beside == 0).map(Begin::Early)
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
            Action::Shut { .. } | Action::Refuse | Action::Emit(_) | Action::Finish(_) => None,
        }
    }

    pub(super) fn begin(&mut self, now: At, begun: Begin, action: &Action) {
        let (slot, step) = match begun {
            Begin::Succession(slot) => (slot, Step::Beside),
            Begin::Renewal(slot) | Begin::Early(slot) => (slot, Step::Without),
        };
        self.rollouts.running.as_mut().and_then(|running| running.steps.insert(slot, step));
        match (begun, action) {
            (Begin::Succession(slot), Action::Spawn { id, .. }) => self.slots[slot].next = Next::Ordered(*id),
            (Begin::Renewal(slot), _) => {
                if let Holds::Live(id) = self.slots[slot].holds {
                    self.parts(now, id, Cause::Rollout);
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
