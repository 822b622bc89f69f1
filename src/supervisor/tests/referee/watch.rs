//! The watch: when it looks, when it sleeps, and what wakes it.

use std::time::Duration;

use super::{At, Referee, Verdict};
use crate::supervisor::Look;

/// Off until the first fork, and from a stop on.
#[derive(Default)]
pub(super) struct Watch {
    on: bool,
    /// The workers and the doors are to wake it, and it has looked once since.
    dozes: bool,
    asleep: bool,
    next: Option<At>,
    last: Option<At>,
    stirred: At,
    /// What the master was told.
    told: bool,
    /// It has looked in this turn.
    pub(super) has_looked: bool,
    /// A door was shut in this turn.
    has_shut: bool,
}

impl Watch {
    pub(super) fn begins(&mut self, now: At) {
        if !self.on {
            (self.on, self.next) = (true, Some(now + EVERY));
        }
        self.stirs(now);
    }

    /// Something happens.
    pub(super) fn stirs(&mut self, now: At) {
        self.stirred = now;
        if self.on && self.dozes {
            self.wakes(now + EVERY);
        }
    }

    /// A door is shut: the queues are looked at once more.
    pub(super) fn door_shut(&mut self, now: At) {
        self.has_shut = true;
        if self.on && self.dozes {
            self.wakes(self.last.unwrap_or(now));
        }
    }

    pub(super) fn ends(&mut self) {
        let Self { told, has_looked, has_shut, .. } = *self;
        *self = Self { told, has_looked, has_shut, ..Self::default() };
    }

    pub(super) fn next(&self) -> Option<At> {
        self.next
    }

    pub(super) fn told(&mut self, on: bool) -> Verdict {
        let changes = std::mem::replace(&mut self.told, on) != on;
        changes.then_some(()).ok_or_else(|| format!("Doze({on}) twice in succession"))
    }

    pub(super) fn settled(&mut self) -> Verdict {
        (self.has_looked, self.has_shut) = (false, false);
        let right = self.told == self.dozes;
        right.then_some(()).ok_or_else(|| format!("the watch dozes: {}, and was told {}", self.dozes, self.told))
    }

    fn wakes(&mut self, next: At) {
        (self.dozes, self.asleep, self.next) = (false, false, Some(next));
    }

    /// The time since the last look that counts: none, if the master was late by more than some time slices.
    fn gap(&self, now: At) -> Duration {
        let usual = if self.asleep { SELDOM } else { EVERY };
        let gap = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        if gap > usual + LATE { Duration::ZERO } else { gap }
    }

    /// A look has shown this.
    fn looked(&mut self, now: At, happens: bool, hangs: bool) {
        (self.last, self.has_looked) = (Some(now), true);
        if happens {
            self.stirs(now);
        }
        if self.dozes {
            (self.asleep, self.next) = (true, hangs.then_some(now + SELDOM));
        } else {
            self.dozes = now.saturating_sub(self.stirred) >= QUIET;
            self.next = Some(now + EVERY);
        }
    }
}

impl Referee {
    pub(in super::super) fn look(&mut self, now: At, look: &Look) -> Verdict {
        self.forget_what_was_shut();
        if self.watch.next.is_none_or(|next| next > now) && !self.watch.has_shut {
            return Err(format!("a look at {now:?}, due at {:?}", self.watch.next));
        }
        let gap = self.watch.gap(now);
        let news = look.seats.iter().any(|sight| self.is_news(sight));
        let happens = news || look.queues.iter().any(|queue| queue.waits);
        look.seats.iter().for_each(|sight| self.sees(sight));
        self.sees_holders();
        look.queues.iter().for_each(|queue| self.attends(queue));
        let hangs = look.seats.iter().filter(|sight| self.feels(now, sight.id, gap)).count() > 0;
        if self.lives.values().all(|life| life.exited.is_some()) {
            self.watch.ends();
        } else {
            self.watch.looked(now, happens, hangs);
        }
        Ok(())
    }
}

const EVERY: Duration = Duration::from_millis(25);

/// For turns that last.
const SELDOM: Duration = Duration::from_millis(250);
const LATE: Duration = Duration::from_millis(75);
const QUIET: Duration = Duration::from_secs(1);
