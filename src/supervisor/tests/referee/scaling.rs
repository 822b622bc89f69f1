//! The number of workers: which slots are to be filled, and which to be left.

use super::{At, First, Holds, Referee, Verdict};
use crate::event::Cause;

impl Referee {
    /// The number of workers.
    pub(super) fn scaled(&mut self, now: At, workers: usize) {
        self.target = workers;
        (0..workers).for_each(|slot| self.fill(now, slot));
        (workers..self.slots.len()).for_each(|slot| self.vacate(now, slot));
        self.all_ready_if_so();
    }

    fn fill(&mut self, now: At, slot: usize) {
        self.slots[slot].dismissed = false;
        self.stay(now, slot, Cause::Scaled);
        if self.slots[slot].holds == Holds::Empty {
            self.is_due(now, slot, None);
        }
    }

    fn vacate(&mut self, now: At, slot: usize) {
        let book = &mut self.slots[slot];
        (book.dismissed, book.by_hand) = (true, false);
        match book.holds {
            Holds::Empty | Holds::Retired(_) => {}
            Holds::Due { announced, at, .. } => {
                book.moot = announced.is_none() && at.from > now;
                (book.holds, book.last) = (Holds::Empty, None);
                if matches!(book.first, First::Pending | First::Refused) {
                    book.first = First::Settled;
                }
                self.leave_step(slot);
                self.abandon(now, slot);
            }
            Holds::Forking(_) => self.abandon(now, slot),
            Holds::Live(id) => {
                self.let_go(now, id, Cause::Scaled);
                self.dismiss(id, Cause::Scaled);
            }
        }
    }

    /// It was told nothing yet, and the reason is gone.
    pub(super) fn stay(&mut self, now: At, slot: usize, reason: Cause) {
        let Holds::Live(id) = self.slots[slot].holds else { return };
        let Some(life) = self.live(id) else { return };
        let parts = life.parting.is_some() && life.left.is_none() && life.killed.is_none();
        if parts && life.reason == Some(reason) && life.ready.is_some() {
            (life.parting, life.draining, life.reason, life.stayed) = (None, None, None, Some(now));
            self.slots[slot].owed_stay = true;
        }
    }

    pub(super) fn stays(&mut self, slot: usize) -> Verdict {
        let owed = std::mem::take(&mut self.slots[slot].owed_stay);
        owed.then_some(()).ok_or_else(|| format!("slot {slot} is to stay, and nobody has said so"))
    }
}
