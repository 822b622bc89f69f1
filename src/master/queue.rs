//! Events that the program has not taken.
//!
//! Of a batch of messages the packet is queued, and each message made when the program takes it: a message per request
//! then costs the master one small allocation.

use std::collections::VecDeque;

use super::messages::weight;
use crate::{
    event::{Event, WorkerRef},
    wire::Bundle,
};

#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// The weight of the messages among them, and among those that are announced to the supervisor.
    weight: usize,
}

enum Item {
    Event(Event),
    /// Never empty.
    Messages(WorkerRef, Bundle),
}

impl Queue {
    /// A message that will come behind others; the supervisor has it until then.
    pub(super) fn expect(&mut self, event: &Event) {
        self.weight += weight(event);
    }

    pub(super) fn push(&mut self, event: Event) {
        self.items.push_back(Item::Event(event));
    }

    pub(super) fn push_messages(&mut self, worker: WorkerRef, messages: Bundle) {
        self.weight += messages.bytes();
        self.items.push_back(Item::Messages(worker, messages));
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        if let Item::Messages(worker, messages) = self.items.front_mut()? {
            let (worker, message) = (*worker, messages.next());
            if messages.is_empty() {
                self.weight -= messages.bytes();
                self.items.pop_front();
            }
            return message.map(|bytes| Event::Message { worker, message: bytes.into() });
        }
        match self.items.pop_front()? {
            Item::Event(event) => {
                self.weight -= weight(&event);
                Some(event)
            }
            Item::Messages(..) => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn events_mut(&mut self) -> impl Iterator<Item = &mut Event> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Event(event) => Some(event),
            Item::Messages(..) => None,
        })
    }
}
