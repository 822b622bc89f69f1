//! Workers that have served for long enough: who is to be replaced, when, and what is said of it.

use super::{
    At, Holds, Life, Referee, Span, Verdict,
    goals::{Goal, Running, Step},
};
use crate::{
    config::Rollout,
    event::WorkerRef,
    id::WorkerId,
    supervisor::{Limits, Note, Worn},
};

/// How worn a worker is.
#[derive(Default)]
pub(super) struct Wear {
    /// It is to be replaced, for this reason.
    worn: Option<Worn>,
    /// By its age it will be from then on.
    ages: Option<At>,
    /// Attempts to replace it that have failed, and when the next one is due.
    attempts: u32,
    put_off: Option<Span>,
    /// What is to be said.
    owed: Option<Owed>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Owed {
    Worn,
    PutOff,
}

impl Referee {
    /// What the supervisor says that this worker may do before it is replaced.
    pub(in super::super) fn limited(&mut self, id: WorkerId, limits: Limits) -> Verdict {
        let rule = self.settings.recycle;
        let Some(life) = self.live(id) else { return Ok(()) };
        life.wear.ages = limits.age.map(|age| life.forked + age);
        let Some(most) = rule.age else { return Ok(()) };
        let least = most.mul_f64(1.0 - rule.jitter);
        let right = limits.age.is_some_and(|age| (least..=most).contains(&age));
        right
            .then_some(())
            .ok_or_else(|| format!("worker {id} is replaced after {:?}, the rule says {rule:?}", limits.age))
    }

    /// It has its slot, is ready, and nothing of the kind was said of it before.
    pub(super) fn may_wear(&self, id: WorkerId) -> bool {
        self.lives.get(&id).is_some_and(|life| self.has_its_slot(id, life) && life.wear.worn.is_none())
    }

    pub(super) fn wears(&mut self, id: WorkerId, why: Worn) {
        if let Some(life) = self.live(id) {
            life.wear.worn = Some(why);
        }
    }

    /// Time has passed.
    pub(super) fn wear_by_time(&mut self, now: At) {
        let holders =
            self.slots.iter().filter_map(|book| if let Holds::Live(id) = book.holds { Some(id) } else { None });
        let holders: Vec<WorkerId> = holders.collect();
        for id in holders {
            let Some(life) = self.live(id).filter(|life| life.is_ready()) else { continue };
            let age = Worn::Age(now.saturating_sub(life.forked));
            let wear = &mut life.wear;
            if wear.worn.is_none() && wear.ages.is_some_and(|at| at <= now) {
                wear.worn = Some(age);
            }
            if wear.put_off.is_some_and(|at| at.from == at.to && at.to <= now) {
                wear.put_off = None;
            }
        }
    }

    pub(super) fn wear_deadlines(&self) -> impl Iterator<Item = At> {
        let holders = self.lives.iter().filter(|(id, life)| self.has_its_slot(**id, life));
        holders.filter_map(|(_, life)| match life.wear.worn {
            None => life.wear.ages,
            Some(_) => life.wear.put_off.map(|at| at.to),
        })
    }

    /// If nothing else is under way.
    pub(super) fn begin_recycling(&mut self) {
        if self.rollouts.running.is_some() || self.rollouts.waiting.is_some() || !self.is_anybody_worn() {
            return;
        }
        let Rollout { surge, settle, .. } = self.settings.rollout;
        let plan = Rollout { surge: surge.min(1), max_unavailable: usize::from(surge == 0), settle, canary: 0 };
        self.rollouts.running = Some(Running::new(Goal::Recycling, plan));
    }

    pub(super) fn is_anybody_worn(&self) -> bool {
        self.stop.is_none() && (0..self.slots.len()).any(|slot| self.is_worn(slot))
    }

    /// Its worker is to be replaced now.
    pub(super) fn is_worn(&self, slot: usize) -> bool {
        let Holds::Live(id) = self.slots[slot].holds else { return false };
        let Some(life) = self.lives.get(&id).filter(|life| self.has_its_slot(id, life)) else { return false };
        life.wear.worn.is_some() && life.wear.put_off.is_none()
    }

    /// The oldest that is worn.
    pub(super) fn first_worn(&self, mut slots: impl Iterator<Item = usize>) -> Option<usize> {
        let worn = |slot: &usize| self.is_worn(*slot);
        let mut first = slots.find(worn)?;
        for slot in slots.filter(worn) {
            if let (Holds::Live(id), Holds::Live(older)) = (self.slots[slot].holds, self.slots[first].holds) {
                first = if id < older { slot } else { first };
            }
        }
        Some(first)
    }

    /// A step begins, and that is said.
    pub(super) fn owes_note(&mut self, slot: usize) {
        let Holds::Live(id) = self.slots[slot].holds else { return };
        let is_recycling = self.rollouts.running.as_ref().is_some_and(|running| running.goal == Goal::Recycling);
        if let Some(life) = self.live(id).filter(|_| is_recycling) {
            life.wear.owed = Some(Owed::Worn);
        }
    }

    /// The one who was to replace the slot's worker has failed.
    pub(super) fn put_off(&mut self, now: At, slot: usize) {
        let (Some(Step::Beside), Holds::Live(id)) = (self.step(slot), self.slots[slot].holds) else { return };
        self.leave_step(slot);
        self.discard_successor(now, slot);
        let backoff = self.settings.backoff;
        let Some(life) = self.live(id) else { return };
        let wear = &mut life.wear;
        let span = Span::of_delay(now, &backoff, wear.attempts);
        wear.attempts += 1;
        (wear.put_off, wear.owed) = (Some(span), Some(Owed::PutOff));
    }

    /// What was said, or will be: until when. It may have ended meanwhile.
    pub(super) fn hears(&mut self, now: At, worker: &WorkerRef, note: &Note) {
        let (Note::PutOff { again, .. }, Some(life)) = (note, self.lives.get_mut(&worker.id)) else { return };
        let at = now.saturating_add(*again);
        if let Some(span) = &mut life.wear.put_off {
            if (span.from..=span.to).contains(&at) {
                *span = Span::exactly(at);
            }
        }
    }

    pub(super) fn noted(&mut self, now: At, worker: &WorkerRef, note: &Note) -> Verdict {
        self.hears(now, worker, note);
        let life = self.lives.get_mut(&worker.id).ok_or_else(|| format!("{note:?} of an unknown worker"))?;
        let owed = life.wear.owed.take();
        let right = match note {
            Note::Worn(why) => owed == Some(Owed::Worn) && life.wear.worn == Some(*why),
            Note::PutOff { .. } => owed == Some(Owed::PutOff) && life.wear.put_off.is_some_and(|at| at.from == at.to),
        };
        right.then_some(()).ok_or_else(|| format!("{worker}: {note:?}, expected {owed:?}, {:?}", life.wear.worn))
    }

    pub(super) fn owed_note(&self) -> Verdict {
        let owed = self.lives.iter().find_map(|(id, life)| Some((id, life.wear.owed?)));
        owed.map_or(Ok(()), |(id, owed)| Err(format!("worker {id}: {owed:?} is to be said")))
    }

    /// And is ready.
    fn has_its_slot(&self, id: WorkerId, life: &Life) -> bool {
        self.slots[life.slot].holds == Holds::Live(id) && life.is_ready()
    }
}

impl Wear {
    pub(super) fn is_fresh(&self) -> bool {
        self.worn.is_none()
    }
}
