//! What the seats and the queues show in the tests by hand.

use std::collections::BTreeMap;

use super::rig::Place;
use crate::{
    id::{Slot, WorkerId},
    supervisor::{Look, Queue, Sight},
};

/// Nobody waits anywhere, and no worker says when it turns, unless the test says so.
#[derive(Default)]
pub(super) struct Scene {
    pub(super) seats: BTreeMap<WorkerId, Seat>,
    pub(super) lines: BTreeMap<Place, Line>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Seat {
    pub(super) turns: u64,
    pub(super) busy_since: u64,
    pub(super) open: u64,
    pub(super) is_short: bool,
    pub(super) sweeps: u64,
    /// From look to look.
    pub(super) is_turning: bool,
    pub(super) is_sweeping: bool,
}

/// Those who wait at a door.
#[derive(Clone, Copy, Default)]
pub(super) struct Line {
    pub(super) waits: bool,
    pub(super) looks: u64,
    /// A worker of the slot comes between two looks.
    pub(super) is_attended: bool,
    /// Its worker's program accepts there by itself.
    pub(super) is_untold: bool,
}

impl Scene {
    pub(super) fn look(&mut self, seats: &[WorkerId], doors: &[Place]) -> Look {
        let seats = seats.iter().map(|id| self.seats.entry(*id).or_default().sight(*id)).collect();
        let queues = doors.iter().map(|place| self.lines.entry(*place).or_default().queue(*place)).collect();
        Look { seats, queues }
    }
}

impl Seat {
    fn sight(&mut self, id: WorkerId) -> Sight {
        self.turns += u64::from(self.is_turning);
        self.sweeps += u64::from(self.is_sweeping);
        let Seat { turns, busy_since, open, is_short, sweeps, .. } = *self;
        Sight { id, turns, busy_since, open, is_short, sweeps }
    }
}

impl Line {
    fn queue(&mut self, (slot, address): Place) -> Queue {
        self.looks += u64::from(self.is_attended);
        let looks = (!self.is_untold).then_some(self.looks);
        Queue { slot: Slot::from_index(slot), address, waits: self.waits, looks }
    }
}
