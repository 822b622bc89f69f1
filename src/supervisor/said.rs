//! What workers and program say to each other passes through here for its place among the other events.

use std::time::Instant;

use super::{Action, Supervisor};
use crate::{event::Event, id::WorkerId};

/// Where what a worker has said belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// There is no such worker, or its channel is closed: nowhere.
    Nobody,
    /// The program can have it.
    AtOnce,
    /// Behind events that are still to be emitted: it is to be announced.
    Behind,
}

impl Supervisor {
    /// The worker has said something to the program.
    pub(crate) fn handle_said(&mut self, now: Instant, id: WorkerId) -> Heard {
        if self.hear(now, id).is_none() {
            return Heard::Nobody;
        }
        self.came_online(now, id);
        if self.actions.is_empty() { Heard::AtOnce } else { Heard::Behind }
    }

    /// An event of the master's own takes its place among the others.
    pub(crate) fn announce(&mut self, event: Event) {
        self.emit(event);
    }

    /// Those that are still to be emitted.
    pub(crate) fn events_mut(&mut self) -> impl Iterator<Item = &mut Event> {
        self.actions.iter_mut().filter_map(|action| match action {
            Action::Emit(event) => Some(event),
            Action::Spawn { .. }
            | Action::Steer { .. }
            | Action::Lend { .. }
            | Action::Nudge { .. }
            | Action::TakeBack { .. }
            | Action::Doze(_)
            | Action::Part { .. }
            | Action::Stay { .. }
            | Action::Ask { .. }
            | Action::Signal { .. }
            | Action::Shut { .. }
            | Action::Refuse
            | Action::Note { .. }
            | Action::Finish(_) => None,
        })
    }
}
