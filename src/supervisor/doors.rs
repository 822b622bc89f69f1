//! Which doors outlive their worker, and for how long.
//!
//! A door is the master's duplicate of a worker's listening socket. It belongs to a slot, so a replacement that is
//! forked at once finds it open, queue and all. It is given up as soon as it is known that no replacement comes soon,
//! and at the latest when it has had no worker for [`KEPT_FOR`]: a client is better refused than left waiting.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{Action, Supervisor};
use crate::{
    event::Event,
    id::{Slot, WorkerId},
};

/// The doors of one slot, by the place of the address in the builder's order. Missing ones are shut.
#[derive(Default)]
pub(super) struct Doors(Vec<Door>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Door {
    /// The master holds none.
    Shut,
    /// These accept on it: the slot's worker, in a rollout its successor, and those that have yet to hear that they leave.
    Open(Vec<WorkerId>),
    /// Nobody does; it waits for a replacement.
    Kept { until: Instant },
    /// Its address is no more: whoever accepts there is to leave by then.
    Condemned { holders: Vec<WorkerId>, until: Instant },
}

/// Why a door is shut; for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Surrender {
    /// The slot's next worker comes after a delay.
    BackOff,
    /// The slot gets no further worker by itself.
    Left,
    /// Nobody accepted on it for too long.
    Unattended,
    /// The address was removed.
    Removed,
}

impl Doors {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.0.iter().filter_map(|door| match door {
            Door::Kept { until } | Door::Condemned { until, .. } => Some(*until),
            Door::Shut | Door::Open(_) => None,
        });
        deadlines.min()
    }

    fn open(&mut self, address: usize, id: WorkerId) {
        if self.0.len() <= address {
            self.0.resize(address + 1, Door::Shut);
        }
        match &mut self.0[address] {
            Door::Open(holders) if holders.contains(&id) => {}
            Door::Open(holders) => holders.push(id),
            door @ (Door::Shut | Door::Kept { .. } | Door::Condemned { .. }) => *door = Door::Open(vec![id]),
        }
    }

    /// It accepts somewhere.
    pub(super) fn has_open(&self, id: WorkerId) -> bool {
        self.0.iter().any(|door| matches!(door, Door::Open(holders) if holders.contains(&id)))
    }

    /// `id` no longer accepts at `address`, or nowhere at all; what nobody accepts on any more waits for another worker
    /// until `until`, unless there can be none.
    fn leave(&mut self, now: Instant, id: WorkerId, address: Option<usize>, until: Instant) {
        for (place, door) in self.0.iter_mut().enumerate() {
            let (Door::Open(holders) | Door::Condemned { holders, .. }) = door else { continue };
            if address.is_some_and(|address| address != place) || !holders.contains(&id) {
                continue;
            }
            holders.retain(|holder| *holder != id);
            let is_left = holders.is_empty();
            match door {
                Door::Open(_) if is_left => *door = Door::Kept { until },
                Door::Condemned { until, .. } if is_left => *until = now,
                Door::Open(_) | Door::Condemned { .. } | Door::Shut | Door::Kept { .. } => {}
            }
        }
    }

    /// The address is no more.
    pub(super) fn condemn(&mut self, now: Instant, address: usize) {
        let Some(door) = self.0.get_mut(address) else { return };
        match door {
            Door::Open(holders) => {
                *door = Door::Condemned { holders: mem::take(holders), until: now + REMOVED_FOR };
            }
            Door::Kept { .. } => *door = Door::Condemned { holders: Vec::new(), until: now },
            Door::Shut | Door::Condemned { .. } => {}
        }
    }

    /// Those that `doomed` names, which are shut from now on.
    fn take(&mut self, doomed: impl Fn(&Door) -> bool) -> Vec<usize> {
        let doomed = |door: &mut Door| *door != Door::Shut && doomed(door);
        let taken = self.0.iter_mut().enumerate().filter_map(|(address, door)| {
            doomed(door).then(|| {
                *door = Door::Shut;
                address
            })
        });
        taken.collect()
    }
}

impl Supervisor {
    /// A socket of the worker takes connections at this address, by its place in the builder's order, and the master
    /// keeps a duplicate.
    pub(crate) fn handle_listening(&mut self, now: Instant, id: WorkerId, address: usize) {
        let Some(index) = Some(id).filter(|_| self.is_there(address)).and_then(|id| self.hear(now, id)) else { return };
        self.posts[index].doors.open(address, id);
        self.withdraw_shut(Slot::from_index(index), address);
        self.listens(now, id, address);
    }

    /// The worker accepts at this address, on a socket that is no door: all workers share it, or nobody else has it.
    pub(crate) fn handle_opened(&mut self, now: Instant, id: WorkerId, address: usize) {
        if self.is_there(address) && self.hear(now, id).is_some() {
            self.listens(now, id, address);
        }
    }

    fn listens(&mut self, now: Instant, id: WorkerId, place: usize) {
        self.came_online(now, id);
        let Some(address) = self.addresses[place].clone() else { return };
        let Some(process) = self.process_mut(id) else { return };
        process.accepts_at(place);
        if process.listens_at(now, place) {
            let event = Event::Listening { worker: process.worker, address };
            self.emit(event);
            self.ready_if_it_listens(now, id);
        }
    }

    /// The worker has dropped its listener, or has shut the socket itself.
    pub(crate) fn handle_closed(&mut self, now: Instant, id: WorkerId, address: usize) {
        let Some(index) = self.hear(now, id) else { return };
        self.leave_doors(now, index, id, Some(address));
    }

    /// The worker no longer accepts at this address; `None`: nowhere, for a listener lives no longer than the channel.
    ///
    /// A worker that fails drops its listener a moment before it ends, and its replacement wants the door. One that
    /// leaves has none; its door is shut with the turn, not at once: it may have opened another one by then.
    pub(super) fn leave_doors(&mut self, now: Instant, index: usize, id: WorkerId, address: Option<usize>) {
        let until = if self.posts[index].is_leaving() { now } else { now + KEPT_FOR };
        self.posts[index].doors.leave(now, id, address, until);
        self.process_mut(id).into_iter().for_each(|process| process.accepts_no_more(address));
        self.rollout_goes_on(now);
    }

    /// Whatever the slot still holds.
    pub(super) fn give_up_doors(&mut self, index: usize, why: Surrender) {
        self.shut_doors(index, why, |_door| true);
    }

    /// What was kept long enough.
    pub(super) fn give_up_unattended(&mut self, now: Instant, index: usize) {
        let why = if self.posts[index].is_leaving() { Surrender::Left } else { Surrender::Unattended };
        self.shut_doors(index, why, |door| matches!(door, Door::Kept { until } if *until <= now));
        let overdue = |door: &Door| matches!(door, Door::Condemned { until, .. } if *until <= now);
        self.shut_doors(index, Surrender::Removed, overdue);
    }

    /// What was to be shut with this turn has just been replaced.
    fn withdraw_shut(&mut self, opened: Slot, place: usize) {
        self.actions.retain(
            |action| !matches!(action, Action::Shut { slot, address, .. } if (*slot, *address) == (opened, place)),
        );
    }

    fn shut_doors(&mut self, index: usize, why: Surrender, doomed: impl Fn(&Door) -> bool) {
        let slot = Slot::from_index(index);
        for address in self.posts[index].doors.take(doomed) {
            self.actions.push_back(Action::Shut { slot, address, why });
        }
    }
}

/// A replacement that starts at once has it within a few milliseconds, and within some hundred on a machine that is
/// overloaded; a client's first retransmission of an unanswered SYN comes after a second.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// A worker that hears of a removal empties its queue within a turn of its loop.
const REMOVED_FOR: Duration = Duration::from_secs(1);
