//! One deadline per connection, in a heap that is touched seldom: a deadline that moves later, as almost all do, moves
//! in the heap when its old time has come.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    timers: Vec<Timer>,
}

#[derive(Clone, Copy, Default)]
struct Timer {
    due: Option<Instant>,
    /// The earliest entry of the heap; others of this timer are ignored.
    queued: Option<Instant>,
}

impl Timers {
    pub(crate) fn new(count: usize) -> Self {
        Self { heap: BinaryHeap::new(), timers: vec![Timer::default(); count] }
    }

    /// Replaces the deadline of this timer. `None`: it has none.
    pub(crate) fn set(&mut self, at: usize, due: Option<Instant>) {
        self.timers[at].due = due;
        if due.is_some_and(|due| self.timers[at].queued.is_none_or(|queued| due < queued)) {
            self.queue(at);
        }
    }

    pub(crate) fn is_set(&self, at: usize) -> bool {
        self.timers[at].due.is_some()
    }

    /// One whose deadline is over; it has none then.
    pub(crate) fn over(&mut self, now: Instant) -> Option<usize> {
        while let Some(&Reverse((when, at))) = self.heap.peek().filter(|Reverse((when, _))| *when <= now) {
            self.heap.pop();
            if self.timers[at].queued != Some(when) {
                continue;
            }
            self.timers[at].queued = None;
            match self.timers[at].due {
                Some(due) if due <= now => {
                    self.timers[at].due = None;
                    return Some(at);
                }
                Some(_) => self.queue(at),
                None => {}
            }
        }
        None
    }

    /// When to look again; perhaps too early.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((when, _))| *when)
    }

    fn queue(&mut self, at: usize) {
        self.timers[at].queued = self.timers[at].due;
        self.heap.extend(self.timers[at].due.map(|due| Reverse((due, at))));
    }
}
