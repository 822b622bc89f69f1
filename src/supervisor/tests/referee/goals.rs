//! What steps are under way, and what for.

use std::collections::BTreeMap;

use crate::{config::Rollout, event::Cause, id::RolloutId};

pub(super) struct Running {
    pub(super) goal: Goal,
    pub(super) plan: Rollout,
    /// Under way, by slot.
    pub(super) steps: BTreeMap<usize, Step>,
    pub(super) proved: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    Rollout(RolloutId),
    /// Nobody is worn.
    Recycling,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The successor starts beside the worker.
    Beside,
    /// The slot has no other worker.
    Without,
}

impl Running {
    pub(super) fn new(goal: Goal, plan: Rollout) -> Self {
        Self { goal, plan, steps: BTreeMap::new(), proved: 0 }
    }

    pub(super) fn rollout(&self) -> Option<RolloutId> {
        match self.goal {
            Goal::Rollout(id) => Some(id),
            Goal::Recycling => None,
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match self.goal {
            Goal::Rollout(_) => Cause::Rollout,
            Goal::Recycling => Cause::Recycled,
        }
    }
}
