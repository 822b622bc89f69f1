//! The look at the scoreboard and the queues: when it is taken, and what it is worth.
//!
//! While something happens there is a look every [`EVERY`]. When nothing has happened for [`QUIET`] the watch
//! **dozes**: the workers are told to wake it when one of them begins a turn, and the master waits for the doors
//! itself. One look more, a moment later, sees what began while that was said; then there is none, so an idle cluster
//! causes no wake-up. A worker that is in the same turn for long is looked at now and then.

use std::time::{Duration, Instant};

use super::{Action, Course, Supervisor};
use crate::id::{Slot, WorkerId};

/// What the master sees.
pub(crate) struct Look {
    pub(crate) seats: Vec<Sight>,
    pub(crate) queues: Vec<Queue>,
}

/// A live worker, as its seat shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sight {
    pub(crate) id: WorkerId,
    pub(crate) turns: u64,
    /// When its present turn began, in nanoseconds; 0: it waits.
    pub(crate) busy_since: u64,
    /// Connections.
    pub(crate) open: u64,
    /// It accepts nobody for want of room: as many connections as it may have, or no descriptor left.
    pub(crate) is_short: bool,
    /// How often it has looked into the doors that it was lent.
    pub(crate) sweeps: u64,
}

/// The queue of a door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Queue {
    pub(crate) slot: Slot,
    pub(crate) address: usize,
    /// Somebody waits to be accepted.
    pub(crate) waits: bool,
    /// How often the slot's own live workers have looked into it. `None`: nobody can say, for a program accepts there by
    /// itself; then nobody waits in vain, as far as is known.
    pub(crate) looks: Option<u64>,
}

pub(super) struct Watch {
    pace: Pace,
    last: Option<Instant>,
    /// When something has happened last.
    stirred: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    /// There is nobody to look at.
    Off,
    Awake {
        next: Instant,
    },
    /// The workers were told to wake it; what began before is seen by the next look.
    Dozing {
        next: Instant,
    },
    /// `next`: somebody is stuck.
    Asleep {
        next: Option<Instant>,
    },
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { pace: Pace::Off, last: None, stirred: None }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        match self.pace {
            Pace::Off => None,
            Pace::Awake { next } | Pace::Dozing { next } => Some(next),
            Pace::Asleep { next } => next,
        }
    }

    /// Since the last look, if this one is not so late that the master cannot have run, nor maybe anybody else.
    fn gap(&self, now: Instant) -> Duration {
        let usual = match self.pace {
            Pace::Asleep { .. } => SELDOM,
            Pace::Off | Pace::Awake { .. } | Pace::Dozing { .. } => EVERY,
        };
        let gap = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if gap <= usual + LATE { gap } else { Duration::ZERO }
    }
}

impl Supervisor {
    /// A look is wanted now.
    pub(crate) fn is_look_due(&self, now: Instant) -> bool {
        self.watch.next().is_some_and(|next| next <= now)
    }

    /// The look that was due.
    pub(crate) fn handle_look(&mut self, now: Instant, look: &Look) {
        let gap = self.watch.gap(now);
        self.watch.last = Some(now);
        let is_news = |sight: &Sight| {
            let mut processes = self.posts.iter().flat_map(|post| post.processes());
            processes.any(|process| process.worker.id == sight.id && !process.pulse.is_as(sight))
        };
        let happens = look.queues.iter().any(|queue| queue.waits) || look.seats.iter().any(is_news);
        look.seats.iter().for_each(|sight| self.see(sight));
        self.attend(now, &look.queues);
        let stuck = look.seats.iter().filter(|sight| self.feel(now, sight.id, gap)).count();
        self.pace(now, happens, stuck > 0);
    }

    /// Somebody has come, or begins a turn, while the watch dozed; or there is a door more.
    pub(crate) fn handle_stirred(&mut self, now: Instant) {
        if self.rouse() {
            self.watch.pace = Pace::Awake { next: now + EVERY };
        }
        self.watch.stirred = Some(now);
    }

    /// There is somebody to look at.
    pub(super) fn begin_watch(&mut self, now: Instant) {
        if matches!(self.course, Course::Running) {
            self.handle_stirred(now);
            if self.watch.pace == Pace::Off {
                self.watch.pace = Pace::Awake { next: now + EVERY };
            }
        }
    }

    /// The cluster stops, and all who leave have their deadlines.
    pub(super) fn end_watch(&mut self) {
        self.rouse();
        (self.watch.pace, self.watch.last) = (Pace::Off, None);
    }

    /// The doors are waited for no more. True if they were.
    pub(super) fn rouse(&mut self) -> bool {
        let is_told = matches!(self.watch.pace, Pace::Dozing { .. } | Pace::Asleep { .. });
        if let (true, Some(last)) = (is_told, self.watch.last) {
            self.actions.push_back(Action::Doze(false));
            self.watch.pace = Pace::Awake { next: last };
        }
        is_told
    }

    fn pace(&mut self, now: Instant, happens: bool, is_stuck: bool) {
        let seldom = is_stuck.then(|| now + SELDOM);
        match self.watch.pace {
            Pace::Off => {}
            _any if self.posts.iter().all(|post| post.processes().next().is_none()) => self.end_watch(),
            Pace::Dozing { .. } | Pace::Asleep { .. } if happens => self.handle_stirred(now),
            Pace::Dozing { .. } | Pace::Asleep { .. } => self.watch.pace = Pace::Asleep { next: seldom },
            Pace::Awake { .. } => {
                if happens {
                    self.watch.stirred = Some(now);
                }
                let quiet = self.watch.stirred.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
                let next = now + EVERY;
                if quiet >= QUIET {
                    self.actions.push_back(Action::Doze(true));
                    self.watch.pace = Pace::Dozing { next };
                } else {
                    self.watch.pace = Pace::Awake { next };
                }
            }
        }
    }
}

/// A client does not notice it, and 40 looks a second are a thousandth of a CPU.
const EVERY: Duration = Duration::from_millis(25);

/// For turns that last.
const SELDOM: Duration = Duration::from_millis(250);

/// A master that shares its CPU with busy workers is late by some of their time slices.
const LATE: Duration = Duration::from_millis(75);

/// Short, for a look costs more than going to sleep and being woken; long enough for a client's think time.
const QUIET: Duration = Duration::from_secs(1);
