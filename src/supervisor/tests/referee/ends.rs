//! What follows the end of a slot's worker: the table "End of a cluster", the back-off, and giving up.

use std::time::Duration;

use super::{At, First, Holds, Referee, Span, Why};
use crate::{
    config::Restart,
    event::{Cause, ExitStatus, Shutdown},
};

/// How a slot's worker has ended.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) slot: usize,
    pub(super) ready: Option<At>,
    pub(super) cause: Cause,
    pub(super) status: ExitStatus,
    /// It was to prove itself in a rollout.
    pub(super) tried: bool,
}

impl Referee {
    pub(super) fn holder_ended(&mut self, now: At, end: End) {
        let End { slot, ready, cause, .. } = end;
        self.slots[slot].holds = Holds::Empty;
        self.was_ready(now, slot, ready);
        let book = &mut self.slots[slot];
        if cause.asked() {
            if book.first == First::Pending {
                book.first = First::Settled;
            }
            if self.slots[slot].dismissed || self.stop.is_some() {
                return self.abandon(now, slot);
            }
            self.is_due(now, slot, None);
        } else if self.stop.is_none() {
            self.died(now, end);
        }
    }

    /// Nobody wanted that end: the table "End of a cluster".
    fn died(&mut self, now: At, end: End) {
        let End { slot, status, .. } = end;
        // Who was told to end because it failed does not choose its last word.
        let failed = matches!(end.cause, Cause::Hung | Cause::NotReady) && self.settings.restart != Restart::Never;
        let (followed, healthy) = (self.settings.manual || failed || self.follows(status), end.ready.is_some());
        if followed && self.succeeded_early(now, slot) {
            return;
        }
        if end.tried {
            self.failed(now, slot);
        }
        if !healthy && self.slots[slot].first == First::Pending {
            self.slots[slot].first = First::Failed;
        }
        if self.stop_if_never_ready(now) {
            return;
        }
        if followed {
            return self.follow(now, slot, healthy);
        }
        self.delay_after(now, slot, healthy);
        self.leave_step(slot);
        self.discard_successor(now, slot);
        self.slots[slot].holds = Holds::Retired(status);
        self.abandon(now, slot);
    }

    /// A next one is to come, or may be wanted by the program.
    pub(super) fn follow(&mut self, now: At, slot: usize, healthy: bool) {
        let at = self.delay_after(now, slot, healthy);
        if self.settings.manual {
            return;
        }
        if self.is_over_budget(now) {
            return self.stop_at(now, Shutdown::Drain, Why::GaveUp, None);
        }
        self.slots[slot].dismissed = false;
        self.slots[slot].holds = Holds::due(None, at);
        if at.from > now {
            self.wait_out(now, slot, at);
        }
    }

    /// It was there for long enough to end a crash loop.
    pub(super) fn was_ready(&mut self, now: At, slot: usize, ready: Option<At>) {
        if ready.is_some_and(|since| now.saturating_sub(since) >= Duration::from_secs(10)) {
            self.slots[slot].delays = 0;
        }
    }

    fn delay_after(&mut self, now: At, slot: usize, healthy: bool) -> Span {
        let book = &mut self.slots[slot];
        let recent = |death: &At| now.saturating_sub(*death) < Duration::from_secs(1);
        let in_burst = book.deaths.iter().rev().take(20).filter(|death| recent(death)).count() == 20;
        book.deaths.push(now);
        if healthy && !in_burst {
            book.earliest = Span::exactly(Duration::ZERO);
            return Span::exactly(now);
        }
        self.back_off(now, slot)
    }

    fn is_over_budget(&mut self, now: At) -> bool {
        let Some(rule) = self.settings.intensity else { return false };
        self.restarts.retain(|at| now.saturating_sub(*at) < rule.period);
        self.restarts.push(now);
        self.restarts.len() > rule.restarts
    }

    pub(super) fn back_off(&mut self, now: At, slot: usize) -> Span {
        let book = &mut self.slots[slot];
        book.earliest = Span::of_delay(now, &self.settings.backoff, book.delays);
        book.delays += 1;
        book.earliest
    }

    pub(super) fn stop_if_never_ready(&mut self, now: At) -> bool {
        // Who was asked to leave says nothing of the others.
        let asked = |book: &&super::Book| book.first == First::Settled;
        let counted = self.slots[..self.initial()].iter().filter(|book| !asked(book)).count();
        let never = counted > 0 && !self.ready_ever && self.never_ready().count() == counted;
        if never {
            self.stop_at(now, Shutdown::Now, Why::NeverReady, None);
        }
        never
    }

    /// The first slots whose start has failed.
    pub(super) fn never_ready(&self) -> impl Iterator<Item = usize> {
        let firsts = self.slots[..self.initial()].iter().enumerate();
        firsts.filter(|(_, book)| matches!(book.first, First::Failed | First::Refused)).map(|(slot, _)| slot)
    }
}
