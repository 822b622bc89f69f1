//! One slot as the supervisor sees it: what it holds now and what is remembered of its past.

use std::time::Instant;

use super::{
    doors::Doors,
    pace::Pace,
    process::{Phase, Process},
};
use crate::{
    event::{ExitStatus, WorkerInfo},
    id::WorkerId,
};

/// One slot: what it holds now, and what is remembered of its past.
pub(super) struct Post {
    pub(super) state: PostState,
    pub(super) pace: Pace,
    pub(super) doors: Doors,
    pub(super) first: First,
    /// Who was here last and ended by itself.
    pub(super) last: Option<WorkerInfo>,
}

pub(super) enum PostState {
    /// Never used, or its worker left as asked.
    Vacant,
    /// Its worker ended and is not to be restarted.
    Retired(ExitStatus),
    /// A worker is to be forked.
    Due {
        id: WorkerId,
        at: Instant,
        awaits: Awaits,
    },
    /// The fork was ordered, its result is awaited.
    Spawning {
        id: WorkerId,
    },
    Live(Process),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Its time only.
    Time,
    /// The end of the master's other threads: any event is a reason to look again.
    Threads,
}

/// What became of the first worker of an initial slot; decides "never ready".
pub(super) enum First {
    /// Not an initial slot, or it was ready or asked to leave.
    Settled,
    /// It has until `deadline`, also if it cannot be forked at first.
    Pending { deadline: Instant },
    /// It could not be forked until its deadline; it is tried again.
    Refused { deadline: Instant, how: String },
    /// It ended without having been ready. With the slot's latest such end.
    Failed(String),
}

impl Post {
    pub(super) fn new() -> Self {
        let (pace, doors) = (Pace::default(), Doors::default());
        Self { state: PostState::Vacant, pace, doors, first: First::Settled, last: None }
    }

    pub(super) fn is_spawning(&self, wanted: WorkerId) -> bool {
        matches!(self.state, PostState::Spawning { id } if id == wanted)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.live().is_some_and(|process| matches!(process.phase, Phase::Ready))
    }

    /// Its worker leaves, and is not replaced at once.
    pub(super) fn is_leaving(&self) -> bool {
        self.live().is_some_and(Process::is_leaving)
    }

    pub(super) fn live(&self) -> Option<&Process> {
        match &self.state {
            PostState::Live(process) => Some(process),
            PostState::Vacant | PostState::Retired(_) | PostState::Due { .. } | PostState::Spawning { .. } => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Process> {
        match &mut self.state {
            PostState::Live(process) => Some(process),
            PostState::Vacant | PostState::Retired(_) | PostState::Due { .. } | PostState::Spawning { .. } => None,
        }
    }

    /// Of its worker, or of the last one.
    pub(super) fn info(&self) -> Option<WorkerInfo> {
        self.live().map_or(self.last, |process| Some(process.info()))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            PostState::Due { at, .. } => Some(*at),
            PostState::Live(process) => process.deadline(),
            PostState::Vacant | PostState::Retired(_) | PostState::Spawning { .. } => None,
        };
        own.into_iter().chain(self.doors.deadline()).min()
    }

    pub(super) fn refused(&mut self, now: Instant, how: String) {
        match self.first {
            First::Pending { deadline } | First::Refused { deadline, .. } if deadline <= now => {
                self.first = First::Refused { deadline, how };
            }
            First::Pending { .. } | First::Refused { .. } | First::Settled | First::Failed(_) => {}
        }
    }

    pub(super) fn forked(&mut self) {
        self.last = None;
        match self.first {
            First::Refused { deadline, .. } => self.first = First::Pending { deadline },
            First::Settled | First::Pending { .. } | First::Failed(_) => {}
        }
    }

    pub(super) fn ended_unready(&mut self, how: String) {
        match self.first {
            First::Pending { .. } | First::Refused { .. } | First::Failed(_) => self.first = First::Failed(how),
            First::Settled => {}
        }
    }

    /// It ended as asked, which is no failure.
    pub(super) fn left(&mut self) {
        match self.first {
            First::Pending { .. } | First::Refused { .. } => self.first = First::Settled,
            First::Settled | First::Failed(_) => {}
        }
    }
}
