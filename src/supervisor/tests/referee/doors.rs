//! Doors: who accepts on them, how long they are kept for another worker, and which have to be shut, and why.

use std::{collections::BTreeMap, time::Duration};

use super::{At, Book, Holds, Life, Next, Referee, Verdict};
use crate::{config::ReadyWhen, id::WorkerId, supervisor::Surrender};

/// Those of one slot that are not shut, by the place of the address.
pub(super) type Doors = BTreeMap<usize, Door>;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Door {
    /// These accept on it.
    Open(Vec<WorkerId>),
    /// Nobody accepts on it; another worker may take it until then.
    Kept { until: At },
    /// Its address is no more: until then, whoever accepts there may empty the queue.
    Condemned { holders: Vec<WorkerId>, until: At },
    /// It is to be shut before the turn is over.
    Doomed(Surrender),
}

impl Referee {
    /// The others have a socket that all workers share, or that nobody but the worker has.
    pub(in super::super) fn has_door(&self, address: usize) -> bool {
        self.settings.keep_listeners && address < SHARED
    }

    pub(super) fn door_opened(&mut self, id: WorkerId, address: usize) {
        let Some(slot) = self.live(id).map(|life| life.slot) else { return };
        if self.has_door(address) {
            let door = self.slots[slot].doors.entry(address).or_insert(Door::Open(Vec::new()));
            match door {
                Door::Open(holders) if holders.contains(&id) => {}
                Door::Open(holders) => holders.push(id),
                Door::Kept { .. } | Door::Condemned { .. } | Door::Doomed(_) => *door = Door::Open(vec![id]),
            }
        }
    }

    pub(super) fn has_door_open(&self, id: WorkerId) -> bool {
        let accepts = |door: &Door| matches!(door, Door::Open(holders) if holders.contains(&id));
        self.slots.iter().any(|book| book.doors.values().any(accepts))
    }

    /// The worker has closed it. If nobody else accepts on it, it waits for another one; if its slot is being left
    /// there is none, so it is shut with the turn, unless it is opened again before.
    pub(super) fn door_closed(&mut self, now: At, id: WorkerId, address: usize) {
        let Some(life) = self.live(id) else { return };
        let slot = life.slot;
        life.accepts.remove(&address);
        let until = if self.leaves_since(&self.slots[slot]).is_some() { now } else { now + PATIENCE };
        let Some(door) = self.slots[slot].doors.get_mut(&address) else { return };
        let (Door::Open(holders) | Door::Condemned { holders, .. }) = door else { return };
        let last = *holders == [id];
        holders.retain(|holder| *holder != id);
        match door {
            Door::Open(_) if last => *door = Door::Kept { until },
            Door::Condemned { until, .. } if last => *until = now,
            Door::Open(_) | Door::Condemned { .. } | Door::Kept { .. } | Door::Doomed(_) => {}
        }
    }

    /// Whoever has only waited for it is ready; its doors are shut soon.
    pub(super) fn address_removed(&mut self, now: At, place: usize) {
        let gone = self.addresses[place].take();
        self.condemn(now, place);
        let when = self.settings.ready_when;
        let ids: Vec<WorkerId> = self.lives.keys().copied().collect();
        for id in ids {
            let Some(life) = self.live(id) else { continue };
            life.awaited.retain(|awaited| Some(awaited) != gone.as_ref());
            life.accepts.remove(&place);
            if life.online.is_some() && !life.closed && life.awaited.is_empty() && when == ReadyWhen::Listening {
                self.ready(now, id, false);
            }
        }
    }

    fn condemn(&mut self, now: At, address: usize) {
        for door in self.slots.iter_mut().filter_map(|book| book.doors.get_mut(&address)) {
            match door {
                Door::Open(holders) => {
                    let (holders, until) = (std::mem::take(holders), now + Duration::from_secs(1));
                    *door = Door::Condemned { holders, until };
                }
                Door::Kept { .. } => *door = Door::Condemned { holders: Vec::new(), until: now },
                Door::Condemned { .. } | Door::Doomed(_) => {}
            }
        }
    }

    /// Its channel is closed, and no listener outlives that. If it has ended, what follows may doom them.
    pub(super) fn doors_abandoned(&mut self, now: At, id: WorkerId) {
        (0..self.addresses.len()).for_each(|address| self.door_closed(now, id, address));
    }

    /// Nobody comes for the doors of a slot without a worker, or nobody soon.
    pub(super) fn doom(&mut self, slot: usize, why: Surrender) {
        for door in self.slots[slot].doors.values_mut() {
            if !matches!(door, Door::Doomed(_)) {
                *door = Door::Doomed(why);
            }
        }
    }

    /// The cluster stops, or has ended.
    pub(super) fn doom_where_nobody_lives(&mut self) {
        for slot in 0..self.slots.len() {
            if !self.is_inhabited(slot) {
                self.doom(slot, Surrender::Left);
            }
        }
    }

    /// By any process.
    pub(super) fn is_inhabited(&self, slot: usize) -> bool {
        self.lives.values().any(|life| life.slot == slot && life.exited.is_none())
    }

    pub(super) fn shut(&mut self, now: At, slot: usize, address: usize, why: Surrender) -> Verdict {
        let which = format!("slot {slot} shuts address {address} ({why:?})");
        let leaves_since = self.leaves_since(&self.slots[slot]);
        match self.slots[slot].doors.remove(&address) {
            None => Err(format!("{which}, which is not open")),
            Some(Door::Open(holders)) => Err(format!("{which}, where {holders:?} accept")),
            Some(Door::Kept { until }) if until > now => Err(format!("{which}, which is kept until {until:?}")),
            Some(Door::Condemned { until, .. }) if until > now => Err(format!("{which}, which has until {until:?}")),
            Some(Door::Condemned { .. }) => {
                (why == Surrender::Removed).then_some(()).ok_or_else(|| format!("{which}, whose address was removed"))
            }
            Some(Door::Kept { .. }) => {
                let fits = match why {
                    // It may have been told to stay since.
                    Surrender::Left => leaves_since.is_some() || self.stayed_at(slot) == Some(now),
                    // Its successor may have been taken back since.
                    Surrender::Unattended => true,
                    Surrender::BackOff | Surrender::Removed => false,
                };
                fits.then_some(())
                    .ok_or_else(|| format!("{which} after its time, but its worker leaves since {leaves_since:?}"))
            }
            Some(Door::Doomed(because)) => {
                // Its time was up anyway when the fork was refused that was to follow.
                let was_up = (why, because) == (Surrender::Unattended, Surrender::BackOff);
                (why == because || was_up).then_some(()).ok_or_else(|| format!("{which}, but because of {because:?}"))
            }
        }
    }

    /// No open door without somebody who accepts or a deadline.
    pub(super) fn no_door_waits_in_vain(&self, now: At) -> Verdict {
        for (slot, book) in self.slots.iter().enumerate() {
            for (address, door) in &book.doors {
                let wrong = match door {
                    Door::Doomed(why) => format!("was to be shut ({why:?})"),
                    Door::Kept { until } if *until <= now => format!("was kept until {until:?} and is not shut"),
                    Door::Condemned { until, .. } if *until <= now => {
                        format!("was condemned until {until:?} and is not shut")
                    }
                    Door::Open(holders) if holders.iter().any(|id| !self.is_alive(*id)) => {
                        format!("is open for {holders:?}, who are not all alive")
                    }
                    Door::Kept { .. } | Door::Condemned { .. } | Door::Open(_) => continue,
                };
                return Err(format!("address {address} of slot {slot} {wrong}"));
            }
        }
        Ok(())
    }

    pub(super) fn door_deadlines(&self) -> impl Iterator<Item = At> {
        self.slots.iter().flat_map(|book| book.doors.values()).filter_map(|door| match door {
            Door::Kept { until } | Door::Condemned { until, .. } => Some(*until),
            Door::Open(_) | Door::Doomed(_) => None,
        })
    }

    fn is_alive(&self, id: WorkerId) -> bool {
        self.lives.get(&id).is_some_and(|life| life.exited.is_none())
    }

    pub(super) fn has_open_door(&self) -> bool {
        self.slots.iter().any(|book| !book.doors.is_empty())
    }

    fn stayed_at(&self, slot: usize) -> Option<At> {
        self.lives.values().filter(|life| life.slot == slot).filter_map(|life| life.stayed).max()
    }

    /// And nobody takes its doors: nobody follows, or it was told to empty them.
    fn leaves_since(&self, book: &Book) -> Option<At> {
        let leaves = |life: &Life| {
            let parts = life.parting.is_some() && life.left.is_none() && life.killed.is_none();
            life.draining.filter(|_| book.dismissed || !parts)
        };
        match book.holds {
            Holds::Live(id) if book.next == Next::Nobody => self.lives.get(&id).and_then(leaves),
            Holds::Live(_) | Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => None,
        }
    }
}

/// How long a door is kept that nobody accepts on.
const PATIENCE: Duration = Duration::from_secs(1);

/// The place of the first address that is shared.
const SHARED: usize = 2;
