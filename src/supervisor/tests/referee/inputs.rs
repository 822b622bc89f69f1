//! What an input means: the facts that follow from it and what is owed because of it.

use std::time::Duration;

use super::{First, Holds, Life, Next, Once, Referee, Said, Span, Stop, Why, ends::End};
use crate::{
    config::ReadyWhen,
    event::{Cause, ExitStatus, Shutdown, State, WorkerInfo},
    id::{Signal, Slot, WorkerId},
    supervisor::{
        SpawnFailure, Surrender,
        tests::rig::{Input, address},
    },
};

use super::At;

impl Referee {
    /// Whether the input is about something that exists; if not it must change nothing.
    pub(in super::super) fn knows(&self, input: &Input) -> bool {
        let forking = |id: &WorkerId| {
            self.slots.iter().any(|book| book.holds == Holds::Forking(*id) || book.next == Next::Forking(*id))
        };
        let lives = |id: &WorkerId| self.lives.get(id).is_some_and(|life| life.exited.is_none());
        let heard = |id: &WorkerId| self.lives.get(id).is_some_and(|life| life.exited.is_none() && !life.closed);
        match input {
            Input::Spawned(id, _) | Input::SpawnFailed(id, _) => forking(id),
            Input::Listening(id, place) => heard(id) && self.addresses.get(*place).is_some_and(Option::is_some),
            Input::AddressRemoved(place) => self.addresses.get(*place).is_some_and(Option::is_some),
            Input::AddressAdded => self.stop.is_none() && !self.finished,
            Input::Online(id) | Input::ListenerClosed(id, _) => heard(id),
            Input::Ready(id) | Input::Said(id) | Input::Leaving(id) | Input::Retires(id) => heard(id),
            Input::Parted(id, _) => {
                self.lives.get(id).is_some_and(|life| life.parting.is_some() && life.left.is_none())
            }
            Input::Worn(id, _) => self.stop.is_none() && self.may_wear(*id),
            Input::Deaf(id) | Input::ChannelClosed(id) | Input::Exited(id, _) => lives(id),
            Input::Stirred => true,
            Input::Returned(id, loan) => self.has_lent(*loan, *id),
            Input::Drain(id) | Input::Kill(id, _) => lives(id),
            Input::Fork | Input::ReloadFailed => self.stop.is_none() && !self.finished,
            Input::Scale(workers) => {
                let possible = !self.settings.manual && (1..=self.slots.len()).contains(workers);
                possible && self.stop.is_none() && !self.finished
            }
            Input::Rollout(plan) => {
                let workers = if self.settings.manual { self.slots.len() } else { self.target };
                let possible = plan.canary <= workers && (plan.surge > 0 || plan.max_unavailable > 0);
                possible && self.stop.is_none() && !self.finished
            }
            Input::Stop(..) => !self.finished,
        }
    }

    pub(in super::super) fn input(&mut self, now: At, input: &Input) {
        let changes_nobody =
            matches!(input, Input::Stop(..) | Input::SpawnFailed(..) | Input::Parted(..) | Input::ReloadFailed)
                || matches!(input, Input::Stirred | Input::Returned(..) | Input::Worn(..));
        if !changes_nobody && !matches!(input, Input::AddressAdded | Input::AddressRemoved(_)) {
            self.look_again_for_threads(now);
        }
        if input.is_request() { self.request(now, *input) } else { self.report(now, *input) }
    }

    fn report(&mut self, now: At, input: Input) {
        match input {
            Input::Spawned(id, pid) => self.spawned(now, id, pid),
            Input::SpawnFailed(id, failure) => self.spawn_failed(now, id, failure),
            Input::Online(id) => self.online(now, id),
            Input::Listening(id, address) => self.listening(now, id, address),
            Input::ListenerClosed(id, address) => self.door_closed(now, id, address),
            Input::Ready(id) => {
                self.online(now, id);
                self.ready(now, id, true);
            }
            Input::Said(id) => self.sent(now, id),
            Input::Leaving(id) => {
                if self.live(id).is_some_and(|life| !life.is_leaving()) {
                    self.let_go(now, id, Cause::Asked);
                }
            }
            Input::Retires(id) => self.retires(now, id),
            Input::Parted(id, steered) => self.parted(now, id, steered),
            Input::Deaf(id) => {
                if let Some(life) = self.live(id) {
                    life.deaf |= life.left.is_some();
                }
            }
            Input::ChannelClosed(id) => self.closed(now, id),
            Input::Stirred => self.watch.stirs(now),
            Input::Returned(id, loan) => self.returned(now, id, loan),
            Input::Exited(id, status) => self.exited(now, id, status),
            Input::Worn(id, why) => self.wears(id, why),
            Input::Fork | Input::Drain(_) | Input::Kill(..) | Input::Stop(..) => {}
            Input::Scale(_) | Input::Rollout(_) | Input::ReloadFailed => {}
            Input::AddressAdded | Input::AddressRemoved(_) => {}
        }
    }

    fn request(&mut self, now: At, input: Input) {
        match input {
            Input::Fork => {}
            Input::Drain(id) => {
                self.let_go(now, id, Cause::Asked);
                self.dismiss(id, Cause::Asked);
            }
            Input::Kill(id, signal) => {
                if let Some(life) = self.live(id) {
                    life.owed_signals.push(signal);
                    life.sent.push(signal);
                }
            }
            Input::Stop(how, by) => self.stop_requested(now, how, by),
            Input::Scale(workers) => self.scaled(now, workers),
            Input::Rollout(plan) => self.rollout_requested(plan),
            Input::ReloadFailed => self.reload_failed(),
            Input::AddressAdded => self.addresses.push(Some(address(self.addresses.len()))),
            Input::AddressRemoved(place) => self.address_removed(now, place),
            Input::Spawned(..) | Input::SpawnFailed(..) | Input::Online(_) | Input::Listening(..) => {}
            Input::ListenerClosed(..) | Input::Ready(_) | Input::Said(_) | Input::Leaving(_) | Input::Deaf(_) => {}
            Input::ChannelClosed(_) | Input::Exited(..) | Input::Retires(_) | Input::Parted(..) => {}
            Input::Worn(..) => {}
            Input::Stirred | Input::Returned(..) => {}
        }
    }

    /// The answer to `Input::Fork`; `None`: the lowest free slot does not exist.
    pub(in super::super) fn fork_answered(&mut self, now: At, id: Option<WorkerId>) -> super::Verdict {
        let manual = self.settings.manual;
        let mut slots = self.slots.iter_mut().enumerate();
        let free = slots.find(|(_, book)| matches!(book.holds, Holds::Empty | Holds::Retired(_)));
        match (free, id) {
            (Some((slot, _)), Some(id)) => {
                // One worker more is wanted, not one for each slot in between.
                if !manual && slot >= self.target {
                    self.target += 1;
                    self.slots[slot].by_hand = true;
                }
                if !self.ids.insert(id) {
                    return Err(format!("fork() gave the id {id}, which was used before"));
                }
                self.forks_accepted += 1;
                self.is_due(now, slot, Some(id));
                Ok(())
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err("fork() was refused though a slot is free".to_owned()),
            (None, Some(id)) => Err(format!("fork() gave worker {id} though no slot is free")),
        }
    }

    /// Somebody is wanted there, not before its back-off has passed.
    pub(super) fn is_due(&mut self, now: At, slot: usize, id: Option<WorkerId>) {
        let at = self.slots[slot].earliest.not_before(now);
        self.slots[slot].holds = Holds::due(id, at);
        self.slots[slot].dismissed = false;
        if at.from > now {
            self.wait_out(now, slot, at);
        }
    }

    fn spawned(&mut self, now: At, id: WorkerId, pid: u32) {
        let Some(slot) = self.forking_slot(id) else { return };
        if self.stop.is_none() {
            self.watch.begins(now);
        }
        let born = self.addresses.iter().flatten().cloned().collect();
        self.lives.insert(id, Life::new(slot, pid, now, self.generation(), born));
        let book = &mut self.slots[slot];
        let dismissed = book.dismissed;
        if book.next == Next::Forking(id) {
            book.next = Next::Live(id);
        } else {
            (book.holds, book.last) = (Holds::Live(id), None);
            if book.first == First::Refused {
                book.first = First::Pending;
            }
        }
        let is_successor = self.slots[slot].next == Next::Live(id);
        match self.stop.as_ref().map(|stop| stop.how) {
            Some(how) => self.must_go(now, id, how),
            None if is_successor && !self.succeeds(slot) => self.discard_successor(now, slot),
            None if !is_successor && dismissed => {
                self.let_go(now, id, Cause::Scaled);
                self.dismiss(id, Cause::Scaled);
            }
            None => {}
        }
    }

    fn spawn_failed(&mut self, now: At, id: WorkerId, failure: SpawnFailure) {
        let Some(slot) = self.forking_slot(id) else { return };
        self.owed_fork_failed.push_back((slot, id));
        let is_successor = self.slots[slot].next == Next::Forking(id);
        // It was the one that a step waited for, beside the worker or without one.
        if is_successor == self.succeeds(slot) {
            self.failed(now, slot);
        }
        if is_successor {
            self.slots[slot].next = Next::Nobody;
            return;
        }
        self.slots[slot].holds = Holds::Empty;
        if self.stop.is_some() || self.slots[slot].dismissed {
            return;
        }
        match failure {
            SpawnFailure::Threads => {
                let at = now + Duration::from_secs(1);
                self.slots[slot].holds =
                    Holds::Due { id: Some(id), at: Span::exactly(at), announced: Some(at), threads: true };
            }
            SpawnFailure::Refused => {
                let late = now >= self.began.saturating_add(self.settings.ready_timeout);
                let book = &mut self.slots[slot];
                if late && book.first == First::Pending {
                    book.first = First::Refused;
                }
                if !self.stop_if_never_ready(now) {
                    let at = self.back_off(now, slot);
                    self.slots[slot].holds = Holds::due(Some(id), at);
                    self.wait_out(now, slot, at);
                }
            }
        }
    }

    fn sent(&mut self, now: At, id: WorkerId) {
        self.online(now, id);
        if let Some(life) = self.live(id) {
            life.owed.push_back(Said::Message);
        }
    }

    fn online(&mut self, now: At, id: WorkerId) {
        let when = self.settings.ready_when;
        let Some(life) = self.live(id) else { return };
        if life.is_leaving() || life.online.is_some() {
            return;
        }
        life.online = Some(now);
        life.owed.push_back(Said::Online);
        if life.awaited.is_empty() && when == ReadyWhen::Listening {
            self.ready(now, id, false);
        }
    }

    fn listening(&mut self, now: At, id: WorkerId, address: usize) {
        self.online(now, id);
        self.door_opened(now, id, address);
        if self.has_door(address) {
            self.watch.stirs(now);
        }
        if let Some(life) = self.live(id) {
            life.accepts.insert(address);
        }
        let Some(address) = self.addresses[address].clone() else { return };
        let when = self.settings.ready_when;
        let at_once = self.stop.as_ref().is_some_and(|stop| stop.how == Shutdown::Now);
        let Some(life) = self.live(id) else { return };
        let parts = life.parting.is_some() && life.left.is_none() && life.killed.is_none() && !at_once;
        if life.is_leaving() && !parts || life.listens.contains(&address) {
            return;
        }
        life.listens.push(address.clone());
        life.listening.get_or_insert(now);
        life.awaited.retain(|awaited| *awaited != address);
        life.owed.push_back(Said::Listening(address));
        if life.awaited.is_empty() && when == ReadyWhen::Listening {
            self.ready(now, id, false);
        }
    }

    pub(super) fn ready(&mut self, now: At, id: WorkerId, told: bool) {
        let Some(life) = self.live(id) else { return };
        if life.is_leaving() || life.ready.is_some() {
            return;
        }
        life.ready = Some(now);
        life.told_ready = told;
        life.owed.push_back(Said::Ready);
        let slot = life.slot;
        self.ready_ever = true;
        self.slots[slot].first = First::Settled;
        self.all_ready_if_so();
        self.released(now, slot);
    }

    pub(super) fn all_ready_if_so(&mut self) {
        let counted_on = |holds: Holds| match holds {
            Holds::Live(id) => self.lives.get(&id).is_some_and(|life| life.ready.is_some() && !life.is_leaving()),
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => false,
        };
        let initial = self.initial().min(self.target);
        let all = initial > 0 && self.slots[..initial].iter().all(|book| counted_on(book.holds));
        if all && self.all_ready == Once::NotYet {
            self.all_ready = Once::Owed;
        }
    }

    fn closed(&mut self, now: At, id: WorkerId) {
        let Some(life) = self.live(id) else { return };
        if !life.closed {
            life.closed = true;
            life.owed.push_back(Said::Disconnect);
            self.doors_abandoned(now, id);
            self.forget_loans_to(id);
        }
    }

    fn exited(&mut self, now: At, id: WorkerId, status: ExitStatus) {
        self.closed(now, id);
        let Some(life) = self.lives.get(&id).filter(|life| life.exited.is_none()) else { return };
        let (cause, tried) = (self.cause(life, status), self.is_tried(life));
        let Some(life) = self.live(id) else { return };
        life.exited = Some(now);
        life.owed.push_back(Said::Exit { status, cause });
        let (slot, pid, ready) = (life.slot, life.pid, life.ready);
        if self.slots[slot].holds == Holds::Live(id) {
            let info =
                WorkerInfo { slot: Slot::from_index(slot), id, pid, state: State::Exited, since: self.base + now };
            self.slots[slot].last = (!cause.asked()).then_some(info);
            self.holder_ended(now, End { slot, ready, cause, status, tried });
        } else if self.slots[slot].next == Next::Live(id) {
            self.slots[slot].next = Next::Nobody;
            self.failed(now, slot);
        }
        if self.stop.is_some() && !self.is_inhabited(slot) {
            self.doom(slot, Surrender::Left);
        }
    }

    fn stop_requested(&mut self, now: At, how: Shutdown, by: Option<Signal>) {
        let Some(stop) = &mut self.stop else { return self.stop_at(now, how, Why::Asked, by) };
        if stop.how == Shutdown::Now {
            return;
        }
        let second = by.is_some_and(|by| {
            let one_request = Duration::from_millis(if stop.signals.contains(&by) { 50 } else { 250 });
            !stop.signals.is_empty() && now.saturating_sub(stop.since) >= one_request
        });
        if second || how == Shutdown::Now {
            stop.how = Shutdown::Now;
            self.owed_stopping.push_back(Shutdown::Now);
        } else if let Some(by) = by {
            if stop.signals.is_empty() {
                stop.since = now;
            }
            stop.signals.push(by);
        }
    }

    pub(super) fn stop_at(&mut self, now: At, how: Shutdown, why: Why, by: Option<Signal>) {
        self.stop = Some(Stop { how, why, signals: by.into_iter().collect(), since: now });
        self.rollouts_stopped();
        self.watch.ends();
        self.owed_stopping.push_back(how);
        for book in &mut self.slots {
            if let Holds::Due { announced, .. } = book.holds {
                book.moot = announced.is_none();
                book.holds = Holds::Empty;
            }
            if matches!(book.next, Next::Ordered(_)) {
                book.next = Next::Nobody;
            }
        }
        self.doom_where_nobody_lives();
        let ids: Vec<WorkerId> = self.lives.keys().copied().collect();
        ids.into_iter().for_each(|id| self.must_go(now, id, how));
    }

    fn look_again_for_threads(&mut self, now: At) {
        for book in &mut self.slots {
            if let Holds::Due { at, announced, threads: true, .. } = &mut book.holds {
                (*at, *announced) = (Span::exactly(now), Some(now));
            }
        }
    }

    fn forking_slot(&self, id: WorkerId) -> Option<usize> {
        self.slots.iter().position(|book| book.holds == Holds::Forking(id) || book.next == Next::Forking(id))
    }
}
