//! One slot as the supervisor sees it: its processes and what is remembered of its past.
//!
//! It has one worker at a time, the holder. In a rollout its successor starts beside it; both accept on the slot's
//! doors until the successor is the holder. Those that held it before may take their time to finish.

use std::{mem, time::Instant};

use super::{
    doors::Doors,
    pace::Pace,
    process::{Phase, Process},
};
use crate::{
    event::{Cause, ExitStatus, WorkerInfo},
    id::WorkerId,
};

/// One slot: what it holds now, and what is remembered of its past.
pub(super) struct Post {
    pub(super) state: PostState,
    /// Who is to take the place of the worker that is there.
    pub(super) successor: Successor,
    /// Why there is, or was last, a successor.
    pub(super) succession: Cause,
    /// Have left the slot to a successor, or were a successor that is not wanted any more; they finish.
    pub(super) former: Vec<Process>,
    pub(super) pace: Pace,
    pub(super) doors: Doors,
    pub(super) first: First,
    /// Who was here last and ended by itself.
    pub(super) last: Option<WorkerInfo>,
    /// The program, or its worker, wants it empty: nobody follows the one that is there.
    pub(super) is_dismissed: bool,
    /// Newcomers are led past its doors, as nobody of it comes for them.
    pub(super) is_led_past: bool,
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
    Live(Box<Process>),
}

pub(super) enum Successor {
    Nobody,
    /// The fork was ordered, its result is awaited.
    Spawning {
        id: WorkerId,
    },
    Live(Box<Process>),
}

/// What a process of a slot is to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Holder,
    Successor,
    Former,
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
        Self {
            state: PostState::Vacant,
            successor: Successor::Nobody,
            succession: Cause::Rollout,
            former: Vec::new(),
            pace: Pace::default(),
            doors: Doors::default(),
            first: First::Settled,
            last: None,
            is_dismissed: false,
            is_led_past: false,
        }
    }

    /// As whom.
    pub(super) fn is_spawning(&self, wanted: WorkerId) -> Option<Role> {
        match (&self.state, &self.successor) {
            (PostState::Spawning { id }, _) if *id == wanted => Some(Role::Holder),
            (_, Successor::Spawning { id }) if *id == wanted => Some(Role::Successor),
            _neither => None,
        }
    }

    /// No process, and none on its way.
    pub(super) fn is_empty(&self) -> bool {
        let is_left = matches!(self.state, PostState::Vacant | PostState::Retired(_));
        is_left && matches!(self.successor, Successor::Nobody) && self.former.is_empty()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.live().is_some_and(|process| matches!(process.phase, Phase::Ready))
    }

    /// A worker of it starts, or is to.
    pub(super) fn awaits_worker(&self) -> bool {
        match (&self.state, &self.successor) {
            (_, Successor::Spawning { .. } | Successor::Live(_)) => true,
            (PostState::Due { .. } | PostState::Spawning { .. }, Successor::Nobody) => true,
            (PostState::Live(process), Successor::Nobody) => !process.is_leaving() && process.ready_since.is_none(),
            (PostState::Vacant | PostState::Retired(_), Successor::Nobody) => false,
        }
    }

    /// Its worker is ready, or the one that is to follow.
    pub(super) fn is_attended(&self) -> bool {
        let successor = matches!(&self.successor, Successor::Live(process) if process.phase == Phase::Ready);
        successor || self.is_ready()
    }

    /// The successor that does not accept everywhere where the worker does that is there.
    pub(super) fn deserter(&self) -> Option<WorkerId> {
        let Successor::Live(successor) = &self.successor else { return None };
        let takes = |place: &usize| successor.accepts().contains(place);
        let is_deserted = self.live().is_some_and(|holder| !holder.accepts().iter().all(takes));
        is_deserted.then_some(successor.worker.id)
    }

    /// Its worker leaves, and nobody takes its doors: the slot is left, or the worker was asked to empty them. One that
    /// is killed because it failed is replaced.
    pub(super) fn is_leaving(&self) -> bool {
        let leaves = |process: &Process| {
            process.is_asked() && !process.has_failed() || process.is_leaving() && self.is_dismissed
        };
        matches!(self.successor, Successor::Nobody) && self.live().is_some_and(leaves)
    }

    /// All of its processes.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        let successor = match &self.successor {
            Successor::Live(process) => Some(process.as_ref()),
            Successor::Nobody | Successor::Spawning { .. } => None,
        };
        self.live().into_iter().chain(successor).chain(&self.former)
    }

    pub(super) fn ids(&self) -> Vec<WorkerId> {
        self.processes().map(|process| process.worker.id).collect()
    }

    pub(super) fn role(&self, id: WorkerId) -> Option<Role> {
        if self.live().is_some_and(|process| process.worker.id == id) {
            return Some(Role::Holder);
        }
        if matches!(&self.successor, Successor::Live(process) if process.worker.id == id) {
            return Some(Role::Successor);
        }
        self.former.iter().any(|process| process.worker.id == id).then_some(Role::Former)
    }

    pub(super) fn holder_mut(&mut self) -> Option<&mut Process> {
        self.state.live_mut()
    }

    pub(super) fn process_mut(&mut self, id: WorkerId) -> Option<&mut Process> {
        let successor = match &mut self.successor {
            Successor::Live(process) => Some(process.as_mut()),
            Successor::Nobody | Successor::Spawning { .. } => None,
        };
        let mut all = self.state.live_mut().into_iter().chain(successor).chain(&mut self.former);
        all.find(|process| process.worker.id == id)
    }

    /// It has ended.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<(Role, Process)> {
        if self.live().is_some_and(|process| process.worker.id == id) {
            let PostState::Live(process) = mem::replace(&mut self.state, PostState::Vacant) else { return None };
            return Some((Role::Holder, *process));
        }
        if matches!(&self.successor, Successor::Live(process) if process.worker.id == id) {
            let successor = mem::replace(&mut self.successor, Successor::Nobody);
            let Successor::Live(process) = successor else { return None };
            return Some((Role::Successor, *process));
        }
        let place = self.former.iter().position(|process| process.worker.id == id)?;
        Some((Role::Former, self.former.remove(place)))
    }

    /// Whoever is there has left the slot to another one.
    pub(super) fn retire(&mut self, now: Instant) {
        if let PostState::Live(process) = mem::replace(&mut self.state, PostState::Vacant) {
            self.pace.ended(now, process.ready_since);
            self.former.push(*process);
        }
    }

    /// The successor takes the place that is empty.
    pub(super) fn promote(&mut self) {
        self.state = match mem::replace(&mut self.successor, Successor::Nobody) {
            Successor::Nobody => PostState::Vacant,
            Successor::Spawning { id } => PostState::Spawning { id },
            Successor::Live(process) => {
                self.forked();
                PostState::Live(process)
            }
        };
    }

    pub(super) fn live(&self) -> Option<&Process> {
        match &self.state {
            PostState::Live(process) => Some(process),
            PostState::Vacant | PostState::Retired(_) | PostState::Due { .. } | PostState::Spawning { .. } => None,
        }
    }

    /// Of its processes, or of the last one if there is none.
    pub(super) fn info(&self) -> impl Iterator<Item = WorkerInfo> + '_ {
        let last = if self.live().is_some() { None } else { self.last };
        last.into_iter().chain(self.processes().map(Process::info))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = match &self.state {
            PostState::Due { at, .. } => Some(*at),
            PostState::Vacant | PostState::Retired(_) | PostState::Spawning { .. } | PostState::Live(_) => None,
        };
        let processes = self.processes().filter_map(Process::deadline);
        due.into_iter().chain(processes).chain(self.doors.deadline()).min()
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

impl PostState {
    fn live_mut(&mut self) -> Option<&mut Process> {
        match self {
            PostState::Live(process) => Some(process),
            PostState::Vacant | PostState::Retired(_) | PostState::Due { .. } | PostState::Spawning { .. } => None,
        }
    }
}
