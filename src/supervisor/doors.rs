//! Which doors outlive their worker, and for how long.
//!
//! A door is the master's duplicate of a worker's listening socket. It belongs to a slot, so a replacement that is
//! forked at once finds it open, queue and all. While the slot's next worker is awaited, siblings take whoever waits
//! there ([`loans`](super::loans)). A door is given up when nobody comes and nobody can take it: a client is better
//! refused than left waiting.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{Action, Supervisor, loans::Attendance};
use crate::{
    event::Event,
    id::{Slot, WorkerId},
};

/// The doors of one slot, by the place of the address in the builder's order. Missing ones are shut.
#[derive(Default)]
pub(super) struct Doors(Vec<Door>);

#[derive(Default)]
struct Door {
    state: State,
    attendance: Attendance,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
enum State {
    /// The master holds none.
    #[default]
    Shut,
    /// These accept on it: the slot's worker, in a rollout its successor, and those that have yet to hear that they
    /// leave.
    Open(Vec<WorkerId>),
    /// The slot's next worker is to take it, until then; `None`: as long as it can be lent meanwhile.
    Kept { until: Option<Instant> },
    /// The slot gets no further worker; until then siblings take whoever waits.
    Left { until: Instant },
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
        let deadlines = self.0.iter().filter_map(|door| match &door.state {
            State::Kept { until } => *until,
            State::Left { until } | State::Condemned { until, .. } => Some(*until),
            State::Shut | State::Open(_) => None,
        });
        deadlines.min()
    }

    fn open(&mut self, address: usize, id: WorkerId) {
        if self.0.len() <= address {
            self.0.resize_with(address + 1, Door::default);
        }
        let Door { state, attendance } = &mut self.0[address];
        match state {
            State::Open(holders) if holders.contains(&id) => {}
            State::Open(holders) => {
                holders.push(id);
                attendance.begin_anew();
            }
            state @ (State::Shut | State::Kept { .. } | State::Left { .. } | State::Condemned { .. }) => {
                *state = State::Open(vec![id]);
                attendance.begin_anew();
            }
        }
    }

    /// It accepts somewhere.
    pub(super) fn has_open(&self, id: WorkerId) -> bool {
        self.0.iter().any(|door| matches!(&door.state, State::Open(holders) if holders.contains(&id)))
    }

    /// `id` no longer accepts at `address`, or nowhere at all; what nobody accepts on any more waits for another worker
    /// until `until`, unless there can be none.
    fn leave(&mut self, now: Instant, id: WorkerId, address: Option<usize>, until: Instant) {
        for (place, Door { state, .. }) in self.0.iter_mut().enumerate() {
            let (State::Open(holders) | State::Condemned { holders, .. }) = state else { continue };
            if address.is_some_and(|address| address != place) || !holders.contains(&id) {
                continue;
            }
            holders.retain(|holder| *holder != id);
            let is_left = holders.is_empty();
            match state {
                State::Open(_) if is_left => *state = State::Kept { until: Some(until) },
                State::Condemned { until, .. } if is_left => *until = now,
                State::Open(_) | State::Condemned { .. } => {}
                State::Shut | State::Kept { .. } | State::Left { .. } => {}
            }
        }
    }

    /// The address is no more.
    pub(super) fn condemn(&mut self, now: Instant, address: usize) {
        let Some(Door { state, .. }) = self.0.get_mut(address) else { return };
        match state {
            State::Open(holders) => {
                *state = State::Condemned { holders: mem::take(holders), until: now + REMOVED_FOR };
            }
            State::Kept { .. } | State::Left { .. } => *state = State::Condemned { holders: Vec::new(), until: now },
            State::Shut | State::Condemned { .. } => {}
        }
    }

    /// Of those that are not shut, with their places.
    pub(super) fn attended(&self) -> impl Iterator<Item = (usize, &Attendance)> {
        let doors = self.0.iter().enumerate().filter(|(_, door)| door.state != State::Shut);
        doors.map(|(address, door)| (address, &door.attendance))
    }

    /// `None`: it is shut.
    pub(super) fn attendance_mut(&mut self, address: usize) -> Option<&mut Attendance> {
        self.0.get_mut(address).filter(|door| door.state != State::Shut).map(|door| &mut door.attendance)
    }

    /// Who accept there.
    pub(super) fn holders(&self, address: usize) -> Vec<WorkerId> {
        match self.0.get(address).map(|door| &door.state) {
            Some(State::Open(holders)) => holders.clone(),
            Some(State::Shut | State::Kept { .. } | State::Left { .. } | State::Condemned { .. }) | None => Vec::new(),
        }
    }

    /// Nobody of the slot comes any more for some of them.
    pub(super) fn are_left(&self) -> bool {
        self.0.iter().any(|door| matches!(door.state, State::Left { .. }))
    }

    fn places(&self, wanted: impl Fn(&State) -> bool) -> Vec<usize> {
        let wanted = self.0.iter().enumerate().filter(|(_, door)| door.state != State::Shut && wanted(&door.state));
        wanted.map(|(address, _)| address).collect()
    }

    fn set(&mut self, address: usize, state: State) {
        self.0[address].state = state;
    }
}

impl Supervisor {
    /// A socket of the worker takes connections at this address, by its place in the builder's order, and the master
    /// keeps a duplicate.
    pub(crate) fn handle_listening(&mut self, now: Instant, id: WorkerId, address: usize) {
        let Some(index) = Some(id).filter(|_| self.is_there(address)).and_then(|id| self.hear(now, id)) else { return };
        self.handle_stirred(now);
        self.posts[index].doors.open(address, id);
        self.withdraw_shut(Slot::from_index(index), address);
        self.lead_back(index);
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
        let is_leaving = self.posts[index].is_leaving();
        let until = if is_leaving { now } else { now + KEPT_FOR };
        self.posts[index].doors.leave(now, id, address, until);
        self.process_mut(id).into_iter().for_each(|process| process.accepts_no_more(address));
        if is_leaving && address.is_none() {
            // It has not looked into its queues for the last time.
            self.abandon_doors(now, index);
        }
        self.rollout_goes_on(now);
    }

    /// Nobody of the slot comes any more. Whoever waits is a sibling's, if there is one.
    pub(super) fn abandon_doors(&mut self, now: Instant, index: usize) {
        for address in self.posts[index].doors.places(|state| matches!(state, State::Kept { .. })) {
            if self.can_lend(now, index, address) {
                self.posts[index].doors.set(address, State::Left { until: now + LEFT_FOR });
                self.lead_past(index);
            } else {
                self.shut_door(index, address, Surrender::Left);
            }
        }
    }

    /// The slot's next worker comes after `delay`. Siblings take whoever waits; if nobody can, and it takes long,
    /// clients are refused.
    pub(super) fn wait_out(&mut self, now: Instant, index: usize, delay: Duration) {
        for address in self.posts[index].doors.places(|state| matches!(state, State::Kept { .. } | State::Left { .. }))
        {
            if self.can_lend(now, index, address) || delay < KEPT_FOR {
                self.posts[index].doors.set(address, State::Kept { until: Some(now + KEPT_FOR) });
            } else {
                self.shut_door(index, address, Surrender::BackOff);
            }
        }
        self.lead_back(index);
    }

    /// Whatever the slot still holds.
    pub(super) fn give_up_doors(&mut self, index: usize, why: Surrender) {
        let all = self.posts[index].doors.places(|_state| true);
        all.into_iter().for_each(|address| self.shut_door(index, address, why));
    }

    /// What was kept long enough.
    pub(super) fn give_up_unattended(&mut self, now: Instant, index: usize) {
        let is_kept = |state: &State| matches!(state, State::Kept { until } if until.is_none_or(|until| until <= now));
        let why = if self.posts[index].is_leaving() { Surrender::Left } else { Surrender::Unattended };
        for address in self.posts[index].doors.places(is_kept) {
            if self.posts[index].awaits_worker() && self.can_lend(now, index, address) {
                self.posts[index].doors.set(address, State::Kept { until: None });
            } else {
                self.shut_door(index, address, why);
            }
        }
        let in_vain = self.has_no_siblings(index);
        let is_left = |state: &State| matches!(state, State::Left { until } if in_vain || *until <= now);
        for address in self.posts[index].doors.places(is_left) {
            self.shut_door(index, address, Surrender::Left);
        }
        let overdue = |state: &State| matches!(state, State::Condemned { until, .. } if *until <= now);
        for address in self.posts[index].doors.places(overdue) {
            self.shut_door(index, address, Surrender::Removed);
        }
    }

    /// Nobody stays in any other slot, and nobody is awaited there.
    fn has_no_siblings(&self, index: usize) -> bool {
        let mut others = self.posts.iter().enumerate().filter(|(other, _)| *other != index);
        others.all(|(_, post)| !post.is_ready() && !post.awaits_worker())
    }

    /// A worker that leaves has shut the socket itself, so it is of no use to anybody else.
    pub(crate) fn handle_shut(&mut self, slot: Slot, address: usize) {
        let index = slot.index();
        if self.posts[index].doors.attendance_mut(address).is_some() {
            self.shut_door(index, address, Surrender::Left);
        }
    }

    /// What was to be shut with this turn has just been replaced.
    fn withdraw_shut(&mut self, opened: Slot, place: usize) {
        self.actions.retain(
            |action| !matches!(action, Action::Shut { slot, address, .. } if (*slot, *address) == (opened, place)),
        );
    }

    fn shut_door(&mut self, index: usize, address: usize, why: Surrender) {
        self.rouse();
        self.take_back(index, address);
        self.posts[index].doors.0[address] = Door::default();
        self.actions.push_back(Action::Shut { slot: Slot::from_index(index), address, why });
        // Only now, or newcomers would come to it.
        self.lead_back(index);
    }
}

/// For a worker that is awaited while no sibling can take who waits, and for one that has dropped its listener and may
/// be about to end: a client's first retransmission of an unanswered SYN comes after a second, and a start takes less.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// A client that knocked before newcomers were led elsewhere has sent the last packet of its handshake by then, also if
/// one packet was lost: the first retransmission of a SYN comes after a second.
const LEFT_FOR: Duration = Duration::from_secs(1);

/// A worker that hears of a removal empties its queue within a turn of its loop.
const REMOVED_FOR: Duration = Duration::from_secs(1);
