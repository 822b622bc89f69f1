//! What workers and program say to each other passes through here for its place among the other events.

use std::{collections::VecDeque, time::Instant};

use super::{Action, Supervisor};
use crate::{event::Event, id::WorkerId};

impl Supervisor {
    /// The worker has said something to the program. Nothing is taken of `events` once its channel is closed. They go to
    /// `program` at once, unless others must go before them.
    pub(crate) fn handle_said(
        &mut self,
        now: Instant,
        id: WorkerId,
        events: impl Iterator<Item = Event>,
        program: &mut VecDeque<Event>,
    ) {
        let Some(index) = self.hear(now, id) else { return };
        self.came_online(now, index);
        if self.actions.is_empty() {
            program.extend(events);
        } else {
            events.for_each(|event| self.emit(event));
        }
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
            | Action::Ask { .. }
            | Action::Signal { .. }
            | Action::Shut { .. }
            | Action::Refuse
            | Action::Finish(_) => None,
        })
    }
}
