//! Doors: who accepts on them, how long they are kept for another worker, and which have to be shut, and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{At, Book, Holds, Life, Next, Referee, Span, Verdict};
use crate::{
    config::ReadyWhen,
    event::Cause,
    id::WorkerId,
    supervisor::{Surrender, tests::rig::Place},
};

/// Those of one slot that are not shut, by the place of the address.
pub(super) type Doors = BTreeMap<usize, Door>;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Door {
    /// These accept on it.
    Open(Vec<WorkerId>),
    /// Nobody accepts on it; another worker may take it until then. `None`: as long as one is awaited and siblings can
    /// take who waits.
    Kept { until: Option<At> },
    /// The same, or it is to be shut: that depends on how long its slot waits.
    Undecided { since: At },
    /// Nobody of the slot comes any more. Siblings take who waits until then.
    Left { until: At },
    /// Its address is no more: until then, whoever accepts there may empty the queue.
    Condemned { holders: Vec<WorkerId>, until: At },
    /// It is to be shut before the turn is over.
    Doomed(Surrender),
}

/// At some moment of the turn a sibling could take who waits at these doors, or could not.
#[derive(Default)]
pub(super) struct Chances {
    could: BTreeSet<Place>,
    could_not: BTreeSet<Place>,
}

impl Referee {
    /// The others have a socket that all workers share, or that nobody but the worker has.
    pub(in super::super) fn has_door(&self, address: usize) -> bool {
        self.settings.keep_listeners && address < SHARED
    }

    pub(super) fn door_opened(&mut self, now: At, id: WorkerId, address: usize) {
        let Some(slot) = self.live(id).map(|life| life.slot) else { return };
        if self.has_door(address) {
            if matches!(self.slots[slot].doors.get(&address), Some(Door::Doomed(_))) {
                self.loans.reopened.insert((slot, address));
                self.watch.door_shut(now);
            }
            let door = self.slots[slot].doors.entry(address).or_insert(Door::Open(Vec::new()));
            let is_news = !matches!(door, Door::Open(holders) if holders.contains(&id));
            match door {
                Door::Open(holders) if holders.contains(&id) => return,
                Door::Open(holders) => holders.push(id),
                Door::Kept { .. } | Door::Undecided { .. } | Door::Left { .. } => *door = Door::Open(vec![id]),
                Door::Condemned { .. } | Door::Doomed(_) => *door = Door::Open(vec![id]),
            }
            if let Some(attended) = self.slots[slot].attended.get_mut(&address).filter(|_| is_news) {
                attended.another_comes();
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
        let until = if self.leaves_since(&self.slots[slot]).is_some() { now } else { now + KEPT_FOR };
        let Some(door) = self.slots[slot].doors.get_mut(&address) else { return };
        let (Door::Open(holders) | Door::Condemned { holders, .. }) = door else { return };
        let last = *holders == [id];
        holders.retain(|holder| *holder != id);
        match door {
            Door::Open(_) if last => *door = Door::Kept { until: Some(until) },
            Door::Condemned { until, .. } if last => *until = now,
            Door::Open(_) | Door::Condemned { .. } | Door::Doomed(_) => {}
            Door::Kept { .. } | Door::Undecided { .. } | Door::Left { .. } => {}
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
                Door::Kept { .. } | Door::Undecided { .. } | Door::Left { .. } => {
                    *door = Door::Condemned { holders: Vec::new(), until: now };
                }
                Door::Condemned { .. } | Door::Doomed(_) => {}
            }
        }
    }

    /// Its channel is closed, and no listener outlives that. If it leaves the slot for good, nobody else comes.
    pub(super) fn doors_abandoned(&mut self, now: At, id: WorkerId) {
        let slot = self.lives[&id].slot;
        let leaves = self.leaves_since(&self.slots[slot]).is_some();
        (0..self.addresses.len()).for_each(|address| self.door_closed(now, id, address));
        if leaves {
            self.abandon(now, slot);
        }
    }

    /// Nobody of the slot comes any more. Whoever waits is a sibling's for a second, if there is one.
    pub(super) fn abandon(&mut self, now: At, slot: usize) {
        for address in self.doors_of(slot, |door| matches!(door, Door::Kept { .. } | Door::Undecided { .. })) {
            let left = Door::Left { until: now + LEFT_FOR };
            let door = if self.could_take(now, slot, address) { left } else { Door::Doomed(Surrender::Left) };
            self.slots[slot].doors.insert(address, door);
        }
    }

    /// The slot's next worker comes then. Its doors are kept, if somebody could take who waits or it is soon.
    pub(super) fn wait_out(&mut self, now: At, slot: usize, at: Span) {
        let waits = |door: &Door| matches!(door, Door::Kept { .. } | Door::Undecided { .. } | Door::Left { .. });
        for address in self.doors_of(slot, waits) {
            let (least, most) = (at.from.saturating_sub(now), at.to.saturating_sub(now));
            let door = if self.could_take(now, slot, address) || most < KEPT_FOR {
                Door::Kept { until: Some(now + KEPT_FOR) }
            } else if least >= KEPT_FOR {
                Door::Doomed(Surrender::BackOff)
            } else {
                Door::Undecided { since: now }
            };
            self.slots[slot].doors.insert(address, door);
        }
    }

    /// It is known now when it comes.
    pub(super) fn decide(&mut self, slot: usize, at: At) {
        for door in self.slots[slot].doors.values_mut() {
            let Door::Undecided { since } = *door else { continue };
            let kept = Door::Kept { until: Some(since + KEPT_FOR) };
            *door = if at.saturating_sub(since) < KEPT_FOR { kept } else { Door::Doomed(Surrender::BackOff) };
        }
    }

    fn doors_of(&self, slot: usize, wanted: impl Fn(&Door) -> bool) -> Vec<usize> {
        let doors = self.slots[slot].doors.iter().filter(|(_, door)| wanted(door));
        doors.map(|(address, _)| *address).collect()
    }

    /// Those that the master holds: slot and address.
    pub(in super::super) fn doors(&self) -> Vec<Place> {
        let slots = self.slots.iter().enumerate();
        slots.flat_map(|(slot, book)| book.doors.keys().map(move |address| (slot, *address))).collect()
    }

    /// It is shut in any case.
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
        self.sees_who_could_take(now);
        let could_not = self.chances.could_not.contains(&(slot, address));
        self.shuts(now, (slot, address)).map_err(|why| format!("{which}, {why}"))?;
        match self.slots[slot].doors.remove(&address) {
            None => Err(format!("{which}, which is not open")),
            Some(Door::Open(holders)) => Err(format!("{which}, where {holders:?} accept")),
            Some(Door::Undecided { .. }) => Err(format!("{which}, and nobody has said until when its slot waits")),
            Some(Door::Kept { until: Some(until) }) if until > now => {
                Err(format!("{which}, which is kept until {until:?}"))
            }
            Some(Door::Kept { .. }) if !could_not => Err(format!("{which}, and a sibling can take who waits")),
            Some(Door::Left { until }) if until > now && !could_not => {
                Err(format!("{which}, which was left until {until:?}"))
            }
            Some(Door::Left { .. }) => {
                (why == Surrender::Left).then_some(()).ok_or_else(|| format!("{which}, whose slot was left"))
            }
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
                // It was to wait for too long before it was left.
                let waits = (why, because) == (Surrender::BackOff, Surrender::Left);
                (why == because || was_up || waits)
                    .then_some(())
                    .ok_or_else(|| format!("{which}, but because of {because:?}"))
            }
        }
    }

    /// No open door without somebody who accepts, or can be asked to, or a deadline.
    pub(super) fn no_door_waits_in_vain(&mut self, now: At) -> Verdict {
        self.sees_who_could_take(now);
        let could = std::mem::take(&mut self.chances).could;
        for (slot, book) in self.slots.iter_mut().enumerate() {
            for (address, door) in &mut book.doors {
                let is_late = |until: &At| *until <= now;
                let wrong = match door {
                    Door::Doomed(why) => format!("was to be shut ({why:?})"),
                    Door::Undecided { .. } => "waits, and nobody has said until when".to_owned(),
                    Door::Kept { until } if until.as_ref().is_none_or(is_late) => {
                        *until = None;
                        if could.contains(&(slot, *address)) {
                            continue;
                        }
                        "is kept though nobody is awaited, or nobody can take who waits".to_owned()
                    }
                    Door::Left { until } if *until > now && !could.contains(&(slot, *address)) => {
                        "is left, and nobody else stays".to_owned()
                    }
                    Door::Left { until } | Door::Condemned { until, .. } if is_late(until) => {
                        format!("had until {until:?} and is not shut")
                    }
                    Door::Open(holders) => {
                        let exited = |id: &WorkerId| self.lives.get(id).is_none_or(|life| life.exited.is_some());
                        if !holders.iter().any(exited) {
                            continue;
                        }
                        format!("is open for {holders:?}, who are not all alive")
                    }
                    Door::Kept { .. } | Door::Left { .. } | Door::Condemned { .. } => continue,
                };
                return Err(format!("address {address} of slot {slot} {wrong}"));
            }
        }
        Ok(())
    }

    /// At this moment of a turn: what a turn decides it decides by what it sees first or last.
    pub(in super::super) fn sees_who_could_take(&mut self, now: At) {
        for slot in 0..self.slots.len() {
            let waits = |door: &Door| matches!(door, Door::Kept { .. } | Door::Left { .. });
            for address in self.doors_of(slot, waits) {
                let is_left = matches!(self.slots[slot].doors[&address], Door::Left { .. });
                let could = if is_left { self.has_siblings(slot) } else { self.is_kept_on(now, slot, address) };
                let chances = if could { &mut self.chances.could } else { &mut self.chances.could_not };
                chances.insert((slot, address));
            }
        }
    }

    /// A worker of the slot is awaited, and a sibling can take who waits meanwhile.
    fn is_kept_on(&self, now: At, slot: usize, address: usize) -> bool {
        self.is_awaited(&self.slots[slot]) && self.could_take(now, slot, address)
    }

    fn is_awaited(&self, book: &Book) -> bool {
        match (book.holds, book.next) {
            (_, Next::Ordered(_) | Next::Forking(_) | Next::Live(_)) => true,
            (Holds::Due { .. } | Holds::Forking(_), Next::Nobody) => true,
            (Holds::Live(id), Next::Nobody) => {
                self.lives.get(&id).is_some_and(|life| !life.is_leaving() && life.ready.is_none())
            }
            (Holds::Empty | Holds::Retired(_), Next::Nobody) => false,
        }
    }

    /// Somebody stays in another slot, or is awaited there.
    fn has_siblings(&self, slot: usize) -> bool {
        let stays = |book: &Book| {
            let Holds::Live(id) = book.holds else { return false };
            self.lives.get(&id).is_some_and(|life| life.ready.is_some() && !life.is_leaving())
        };
        let mut others = self.slots.iter().enumerate().filter(|(other, _)| *other != slot);
        others.any(|(_, book)| stays(book) || self.is_awaited(book))
    }

    fn could_take(&self, now: At, slot: usize, address: usize) -> bool {
        self.stop.is_none() && self.siblings(now, slot, address).next().is_some()
    }

    pub(super) fn door_deadlines(&self) -> impl Iterator<Item = At> {
        self.slots.iter().flat_map(|book| book.doors.values()).filter_map(|door| match door {
            Door::Kept { until } => *until,
            Door::Left { until } | Door::Condemned { until, .. } => Some(*until),
            Door::Open(_) | Door::Doomed(_) | Door::Undecided { .. } => None,
        })
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
            // One that failed is followed by another one.
            let failed = life.missed_deadline && life.reason.is_none() || life.reason == Some(Cause::Hung);
            life.draining.filter(|_| book.dismissed || !parts && !failed)
        };
        match book.holds {
            Holds::Live(id) if book.next == Next::Nobody => self.lives.get(&id).and_then(leaves),
            Holds::Live(_) | Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => None,
        }
    }
}

/// How long a door is kept that nobody accepts on, whatever happens.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// How long siblings take who waits behind the doors of a slot that was left.
const LEFT_FOR: Duration = Duration::from_secs(1);

/// The place of the first address that is shared.
const SHARED: usize = 2;
