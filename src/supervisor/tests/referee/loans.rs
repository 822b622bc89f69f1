//! Doors that siblings accept on: when one is lent, to whom, and until when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{At, Holds, Referee, Verdict, doors::Door};
use crate::{
    id::WorkerId,
    supervisor::{Queue, tests::rig::Place},
};

/// What the looks at one door have shown.
#[derive(Default)]
pub(super) struct Attended {
    looks: u64,
    /// Looks in succession at which somebody waited for whom nobody of the slot had come since the look before.
    missed: u32,
    loan: Option<Loan>,
    /// Looks in succession after which it was nobody's, or that of a borrower who does not come, and a sibling was fit.
    unserved: u32,
}

struct Loan {
    number: u32,
    to: WorkerId,
    sweeps: u64,
    /// As above, and nor had the borrower.
    missed: u32,
    back: bool,
    /// Looks in succession at which nobody waited or somebody of the slot had come, since one has.
    clean: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Loans {
    numbers: BTreeSet<u32>,
    /// Who are to look into their queues.
    nudged: Vec<WorkerId>,
    /// Who are to turn before they are accused, and whether they were told.
    pub(super) called: BTreeMap<WorkerId, bool>,
    /// Taken back early: the door is shut, or lent to another one, in the same turn.
    early: BTreeMap<Place, Loan>,
    /// Given back in this turn, or its borrower has ended, and what was known of the borrower before: it may have been
    /// taken back, too.
    returned: BTreeMap<u32, Option<At>>,
    /// Who held a slot at the last look.
    holders: BTreeSet<WorkerId>,
    /// Opened again before they were shut: nothing of what was seen there counts any more.
    pub(super) reopened: BTreeSet<Place>,
}

impl Attended {
    /// The looks of those who have ended are not counted any more.
    pub(super) fn another_comes(&mut self) {
        self.looks = 0;
    }

    pub(super) fn is_missed(&self) -> bool {
        self.missed >= TWICE || self.loan.as_ref().is_some_and(|loan| !loan.back)
    }

    /// Nobody comes, neither of the slot nor the borrower.
    fn is_served_by_nobody(&self) -> bool {
        self.missed >= TWICE && self.loan.as_ref().is_none_or(|loan| loan.missed >= TWICE)
    }

    fn is_over(&self) -> bool {
        self.loan.as_ref().is_some_and(|loan| loan.back && loan.clean >= TWICE)
    }
}

impl Referee {
    pub(super) fn attends(&mut self, queue: &Queue) {
        let (slot, address) = (queue.slot.index(), queue.address);
        if !self.slots[slot].doors.contains_key(&address) {
            return;
        }
        let borrower = self.slots[slot].attended.get(&address).and_then(|door| Some(door.loan.as_ref()?.to));
        let sweeps = borrower.and_then(|id| self.live(id)).map_or(0, |life| life.pulse.sweeps());
        let door = self.slots[slot].attended.entry(address).or_default();
        // Who accepts there by himself may always have.
        let came = queue.looks.is_none_or(|looks| looks > door.looks);
        door.looks = queue.looks.unwrap_or(0);
        let counts = |count: u32, so: bool| if so { count + 1 } else { 0 };
        door.missed = counts(door.missed, queue.waits && !came);
        if let Some(loan) = &mut door.loan {
            let swept = sweeps > loan.sweeps;
            loan.sweeps = sweeps;
            loan.missed = counts(loan.missed, queue.waits && !came && !swept);
            loan.back |= came;
            loan.clean = counts(loan.clean, loan.back && (came || !queue.waits));
        }
    }

    pub(super) fn sees_holders(&mut self) {
        let holders = self.slots.iter().filter_map(|book| match book.holds {
            Holds::Live(id) => Some(id),
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => None,
        });
        self.loans.holders = holders.collect();
    }

    /// Those who accept at this address for other slots, and could do so here, if not at this moment.
    pub(super) fn siblings(&self, now: At, slot: usize, address: usize) -> impl Iterator<Item = WorkerId> {
        let others = self.slots.iter().enumerate().filter(move |(other, _)| *other != slot);
        let holders = others.filter_map(|(_, book)| match book.holds {
            Holds::Live(id) => Some(id),
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => None,
        });
        holders.filter(move |id| {
            let Some(life) = self.lives.get(id) else { return false };
            let declined = life.pulse.declined.is_some_and(|at| now.saturating_sub(at) < ASKED_AGAIN);
            let ready = life.exited.is_none() && life.ready.is_some() && !life.is_leaving();
            ready && !life.closed && !declined && life.accepts.contains(&address)
        })
    }

    fn fit(&self, now: At, (slot, address): Place, strictly: bool) -> impl Iterator<Item = WorkerId> {
        let loan = self.slots[slot].attended.get(&address).and_then(|door| door.loan.as_ref());
        let borrower = loan.map(|loan| loan.to);
        let others = self.siblings(now, slot, address).filter(move |id| Some(*id) != borrower);
        others.filter(move |id| {
            let life = &self.lives[id];
            let is_new = life.stayed == Some(now) || !self.loans.holders.contains(id);
            life.pulse.is_well(strictly) && !(strictly && is_new)
        })
    }

    pub(super) fn lends(&mut self, now: At, number: u32, place: Place, to: WorkerId) -> Verdict {
        let (slot, address) = place;
        let which = format!("loan {number}: the door of slot {slot} at {address} to worker {to}");
        let holders = match self.slots[slot].doors.get(&address) {
            None => return Err(format!("{which}, which is shut")),
            Some(Door::Open(holders)) => holders.clone(),
            Some(_) => Vec::new(),
        };
        let is_void = self.lives.get(&to).is_none_or(|life| life.closed);
        if !self.loans.numbers.insert(number) {
            return Err(format!("{which}: numbers are never used again"));
        }
        if let Some(Loan { to, missed, .. }) = self.loans.early.remove(&place) {
            self.live(to).into_iter().for_each(|life| life.pulse.declined = Some(now));
            if missed < TWICE {
                return Err(format!("{which}, and worker {to}, who has borrowed it, has come"));
            }
        }
        // Others may be fit no more, and it may leave, since that was decided in this turn.
        let open = |id: &WorkerId| self.lives[id].pulse.open();
        let least = self.fit(now, place, true).map(|id| open(&id)).min();
        let fits = self.fit(now, place, false).any(|id| id == to);
        let leaves =
            self.lives.get(&to).is_some_and(|life| life.draining == Some(now) || life.pulse.declined == Some(now));
        if !(fits || leaves || is_void) || least.is_some_and(|least| least < open(&to)) {
            return Err(format!("{which}, who is not the one with the fewest connections of those who can"));
        }
        // Some may have left it since.
        let nudged = std::mem::take(&mut self.loans.nudged);
        if !holders.iter().all(|id| nudged.contains(id)) {
            return Err(format!("{which}, and {holders:?} were not all told to look"));
        }
        let sweeps = self.lives[&to].pulse.sweeps();
        let door = self.slots[slot].attended.entry(address).or_default();
        if door.loan.is_some() || door.missed < TWICE {
            return Err(format!("{which}, which is lent already, or where nobody waits in vain"));
        }
        if is_void {
            return Ok(());
        }
        door.loan = Some(Loan { number, to, sweeps, missed: 0, back: false, clean: 0 });
        Ok(())
    }

    pub(super) fn takes_back(&mut self, number: u32, from: WorkerId) -> Verdict {
        if let Some(declined) = self.loans.returned.remove(&number) {
            self.live(from).into_iter().for_each(|life| life.pulse.declined = declined);
            return Ok(());
        }
        let Some(place) = self.lent(number, from) else {
            return Err(format!("loan {number} is taken back from worker {from}, who does not have it"));
        };
        let door = self.slots[place.0].attended.entry(place.1).or_default();
        let is_over = door.is_over();
        let loan = door.loan.take();
        if !is_over && !self.loans.reopened.contains(&place) {
            self.loans.early.extend(loan.map(|loan| (place, loan)));
        }
        Ok(())
    }

    pub(super) fn has_lent(&self, number: u32, to: WorkerId) -> bool {
        self.lent(number, to).is_some()
    }

    pub(super) fn returned(&mut self, now: At, id: WorkerId, number: u32) {
        let Some((slot, address)) = self.lent(number, id) else { return };
        self.slots[slot].attended.entry(address).or_default().loan = None;
        let before = self.live(id).and_then(|life| life.pulse.declined.replace(now));
        self.loans.returned.insert(number, before);
    }

    pub(super) fn forget_loans_to(&mut self, id: WorkerId) {
        let declined = self.lives.get(&id).and_then(|life| life.pulse.declined);
        for door in self.slots.iter_mut().flat_map(|book| book.attended.values_mut()) {
            if door.loan.as_ref().is_some_and(|loan| loan.to == id) {
                let over = door.loan.take().map(|loan| (loan.number, declined));
                self.loans.returned.extend(over);
            }
        }
    }

    pub(super) fn nudges(&mut self, id: WorkerId) -> Verdict {
        self.loans.nudged.push(id);
        self.loans.called.entry(id).and_modify(|told| *told = true);
        let lives = self.lives.get(&id).is_some_and(|life| life.exited.is_none());
        lives.then_some(()).ok_or_else(|| format!("worker {id} is to look, and does not live"))
    }

    pub(super) fn steers(&mut self, slot: usize, away: bool) -> Verdict {
        let changes = std::mem::replace(&mut self.slots[slot].led_past, away) != away;
        changes.then_some(()).ok_or_else(|| format!("newcomers are led past slot {slot}, {away}, twice"))
    }

    /// What is lent is taken back first, and newcomers are led to a slot that was left no sooner than behind that: who came
    /// in between would be reset.
    pub(super) fn shuts(&mut self, now: At, place: Place) -> Verdict {
        self.watch.door_shut(now);
        self.loans.early.remove(&place);
        let book = &self.slots[place.0];
        if matches!(book.doors.get(&place.1), Some(Door::Left { .. })) && !book.led_past {
            return Err("and newcomers were led there".to_owned());
        }
        let attended = self.slots[place.0].attended.remove(&place.1);
        let lent = attended.and_then(|door| door.loan).map(|loan| loan.to);
        lent.map_or(Ok(()), |to| Err(format!("which worker {to} has borrowed")))
    }

    pub(super) fn forget_what_was_shut(&mut self) {
        for (slot, address) in std::mem::take(&mut self.loans.reopened) {
            self.slots[slot].attended.remove(&address);
        }
    }

    pub(super) fn loans_settled(&mut self, now: At) -> Verdict {
        self.forget_what_was_shut();
        self.loans.returned.clear();
        if let Some(((slot, address), _)) = self.loans.early.pop_first() {
            return Err(format!("the door of slot {slot} at {address} is taken back too early"));
        }
        let (nudged, called) = (std::mem::take(&mut self.loans.nudged), std::mem::take(&mut self.loans.called));
        if nudged.iter().any(|id| !called.contains_key(id)) {
            return Err(format!("{nudged:?} are to look, and nothing is lent"));
        }
        if let Some((id, _)) = called.into_iter().find(|(_, told)| !told) {
            return Err(format!("worker {id} seems to hang, and was not told to turn"));
        }
        for slot in 0..self.slots.len() {
            self.slot_is_led_past_for_a_reason(slot)?;
            let places: Vec<usize> = self.slots[slot].attended.keys().copied().collect();
            if self.watch.has_looked {
                places.into_iter().try_for_each(|address| self.is_served(now, (slot, address)))?;
            }
        }
        Ok(())
    }

    fn slot_is_led_past_for_a_reason(&self, slot: usize) -> Verdict {
        let book = &self.slots[slot];
        let left = book.doors.values().any(|door| matches!(door, Door::Left { .. }));
        let wanted = left || book.attended.values().any(|door| door.loan.is_some());
        let right = wanted == book.led_past;
        right
            .then_some(())
            .ok_or_else(|| format!("newcomers are led past slot {slot}: {}, not {wanted}", book.led_past))
    }

    fn is_served(&mut self, now: At, place: Place) -> Verdict {
        let (slot, address) = place;
        let has_fit = self.fit(now, place, true).next().is_some();
        let door = self.slots[slot].attended.entry(address).or_default();
        if door.is_over() {
            return Err(format!("the door of slot {slot} at {address} is to be taken back"));
        }
        door.unserved = if door.is_served_by_nobody() && has_fit { door.unserved + 1 } else { 0 };
        let right = door.unserved < TWICE;
        right.then_some(()).ok_or_else(|| format!("somebody waits at {address} of slot {slot}, and nobody is asked"))
    }

    fn lent(&self, number: u32, to: WorkerId) -> Option<Place> {
        let is_it = |door: &Attended| door.loan.as_ref().is_some_and(|loan| (loan.number, loan.to) == (number, to));
        self.slots.iter().enumerate().find_map(|(slot, book)| {
            let (address, _) = book.attended.iter().find(|(_, door)| is_it(door))?;
            Some((slot, *address))
        })
    }
}

const TWICE: u32 = 2;

/// Whoever has declined is left alone for so long.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
