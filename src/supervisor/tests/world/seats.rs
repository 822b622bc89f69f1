//! What the simulated workers do between two looks, and who waits at their doors.

use std::collections::{BTreeMap, HashMap};

use super::Random;
use crate::{
    id::{Slot, WorkerId},
    supervisor::{
        Look, Queue, Sight,
        tests::{referee::At, rig::Place},
    },
};

pub(super) struct Seats {
    random: Random,
    slots: HashMap<WorkerId, usize>,
    moods: HashMap<WorkerId, Mood>,
    waits: BTreeMap<Place, bool>,
    loans: BTreeMap<u32, (WorkerId, Place)>,
    pub(super) last_loan: u32,
    habits: Habits,
}

/// Of this walk, per cent of looks.
struct Habits {
    /// Somebody comes to a door.
    come: u64,
    /// A worker turns that has nothing to do.
    turn: u64,
    /// A worker changes.
    change: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Course {
    Fine,
    /// In one turn that does not end.
    Busy,
    Stopped,
    Full,
}

struct Mood {
    course: Course,
    /// It says when it turns.
    is_public: bool,
    turns: u64,
    busy_since: u64,
    sweeps: u64,
    open: u64,
    looks: HashMap<usize, u64>,
}

impl Seats {
    pub(super) fn new(mut random: Random) -> Self {
        let habits = Habits {
            come: random.pick(&[0, 2, 30]),
            turn: random.pick(&[0, 0, 50]),
            change: random.pick(&[0, 1, 5, 20]),
        };
        let (slots, moods, waits, loans) = (HashMap::new(), HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { random, slots, moods, waits, loans, last_loan: 0, habits }
    }

    pub(super) fn forked(&mut self, slot: Slot, id: WorkerId) {
        self.slots.insert(id, slot.index());
        let is_public = self.random.chance(80);
        let looks = HashMap::new();
        let mood = Mood { course: Course::Fine, is_public, turns: 0, busy_since: 0, sweeps: 0, open: 0, looks };
        self.moods.insert(id, mood);
    }

    pub(super) fn lent(&mut self, loan: u32, place: Place, to: WorkerId) {
        self.last_loan = loan;
        self.loans.insert(loan, (to, place));
    }

    pub(super) fn is_over(&mut self, loan: u32) {
        self.loans.remove(&loan);
    }

    pub(super) fn look(&mut self, now: At, seats: &[WorkerId], doors: &[Place]) -> Look {
        for id in seats {
            self.turns(now, *id);
        }
        for place in doors {
            let comes = self.random.chance(self.habits.come);
            *self.waits.entry(*place).or_default() |= comes;
            self.is_served(*place, seats);
        }
        let queues = doors.iter().map(|place| self.queue(*place, seats)).collect();
        Look { seats: seats.iter().map(|id| self.moods[id].sight(*id)).collect(), queues }
    }

    fn turns(&mut self, now: At, id: WorkerId) {
        let (random, habits) = (&mut self.random, &self.habits);
        let Some(mood) = self.moods.get_mut(&id) else { return };
        if random.chance(habits.change) {
            mood.course = random.pick(&[Course::Fine, Course::Fine, Course::Busy, Course::Stopped, Course::Full]);
            let is_busy = mood.course == Course::Busy && mood.is_public;
            mood.busy_since = if is_busy { now.as_nanos() as u64 + 1 } else { 0 };
        }
        let goes_on = matches!(mood.course, Course::Fine | Course::Full);
        if goes_on && random.chance(habits.turn) {
            mood.turns += u64::from(mood.is_public);
            mood.open = random.below(4);
        }
    }

    /// By the slot's own workers, or by whoever has borrowed the door.
    fn is_served(&mut self, place: Place, seats: &[WorkerId]) {
        let (slot, address) = place;
        let waits = self.waits.get(&place).is_some_and(|waits| *waits);
        let mut served = false;
        for id in seats {
            let borrows = self.loans.values().any(|loan| *loan == (*id, place));
            let Some(mood) = self.moods.get_mut(id).filter(|mood| mood.course == Course::Fine) else { continue };
            if borrows && waits && self.random.chance(85) {
                (mood.sweeps, served) = (mood.sweeps + 1, true);
            }
            if self.slots[id] == slot && (waits || self.random.chance(5)) && self.random.chance(90) {
                *mood.looks.entry(address).or_default() += 1;
                mood.turns += u64::from(mood.is_public);
                served = true;
            }
        }
        if served {
            self.waits.insert(place, false);
        }
    }

    fn queue(&self, place: Place, seats: &[WorkerId]) -> Queue {
        let (slot, address) = place;
        let own = seats.iter().filter(|id| self.slots[*id] == slot);
        let looks = Some(own.filter_map(|id| self.moods[id].looks.get(&address)).sum());
        Queue { slot: Slot::from_index(slot), address, waits: self.waits[&place], looks }
    }
}

impl Mood {
    fn sight(&self, id: WorkerId) -> Sight {
        let Self { turns, busy_since, open, sweeps, .. } = *self;
        Sight { id, turns, busy_since, open, is_short: self.course == Course::Full, sweeps }
    }
}
