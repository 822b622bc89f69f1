//! What an input means: the facts that follow from it and what is owed because of it.

use std::time::Duration;

use super::{First, Holds, Life, Once, Referee, Said, Span, Stop, Why};
use crate::{
    config::{ReadyWhen, Restart},
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
        let forking = |id: &WorkerId| self.slots.iter().any(|book| book.holds == Holds::Forking(*id));
        let lives = |id: &WorkerId| self.lives.get(id).is_some_and(|life| life.exited.is_none());
        let heard = |id: &WorkerId| self.lives.get(id).is_some_and(|life| life.exited.is_none() && !life.closed);
        match input {
            Input::Spawned(id, _) | Input::SpawnFailed(id, _) => forking(id),
            Input::Listening(id, place) => heard(id) && self.addresses.get(*place).is_some_and(Option::is_some),
            Input::AddressRemoved(place) => self.addresses.get(*place).is_some_and(Option::is_some),
            Input::AddressAdded => self.stop.is_none() && !self.finished,
            Input::Online(id) | Input::ListenerClosed(id, _) => heard(id),
            Input::Ready(id) | Input::Said(id) | Input::Leaving(id) => heard(id),
            Input::Deaf(id) | Input::ChannelClosed(id) | Input::Exited(id, _) => lives(id),
            Input::Drain(id) | Input::Kill(id, _) => lives(id),
            Input::Fork => self.stop.is_none() && !self.finished,
            Input::Stop(..) => !self.finished,
        }
    }

    pub(in super::super) fn input(&mut self, now: At, input: &Input) {
        if !matches!(input, Input::Stop(..) | Input::SpawnFailed(..) | Input::AddressAdded | Input::AddressRemoved(_)) {
            self.look_again_for_threads(now);
        }
        match *input {
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
            Input::Leaving(id) => self.leave(now, id, false),
            Input::Deaf(id) => {
                if let Some(life) = self.live(id) {
                    life.deaf |= life.left.is_some();
                }
            }
            Input::ChannelClosed(id) => self.closed(now, id),
            Input::Exited(id, status) => self.exited(now, id, status),
            Input::Fork => {}
            Input::Drain(id) => {
                self.leave(now, id, true);
                if let Some(life) = self.live(id) {
                    life.disconnect = true;
                }
            }
            Input::Kill(id, signal) => {
                if let Some(life) = self.live(id) {
                    life.owed_signals.push(signal);
                    life.sent.push(signal);
                }
            }
            Input::Stop(how, by) => self.stop_requested(now, how, by),
            Input::AddressAdded => self.addresses.push(Some(address(self.addresses.len()))),
            Input::AddressRemoved(place) => self.address_removed(now, place),
        }
    }

    /// The answer to `Input::Fork`; `None`: the lowest free slot does not exist.
    pub(in super::super) fn fork_answered(&mut self, now: At, id: Option<WorkerId>) -> super::Verdict {
        let free = self.slots.iter_mut().find(|book| matches!(book.holds, Holds::Empty | Holds::Retired(_)));
        match (free, id) {
            (Some(book), Some(id)) => {
                if !self.ids.insert(id) {
                    return Err(format!("fork() gave the id {id}, which was used before"));
                }
                book.holds = Holds::due(Some(id), book.earliest.not_before(now));
                self.forks_accepted += 1;
                Ok(())
            }
            (None, None) => Ok(()),
            (Some(_), None) => Err("fork() was refused though a slot is free".to_owned()),
            (None, Some(id)) => Err(format!("fork() gave worker {id} though no slot is free")),
        }
    }

    fn spawned(&mut self, now: At, id: WorkerId, pid: u32) {
        let Some(slot) = self.forking_slot(id) else { return };
        let born = self.addresses.iter().flatten().cloned().collect();
        self.lives.insert(id, Life::new(slot, pid, now, born));
        let book = &mut self.slots[slot];
        book.holds = Holds::Live(id);
        book.last = None;
        if book.first == First::Refused {
            book.first = First::Pending;
        }
        if let Some(how) = self.stop.as_ref().map(|stop| stop.how) {
            self.must_go(now, id, how);
        }
    }

    fn spawn_failed(&mut self, now: At, id: WorkerId, failure: SpawnFailure) {
        let Some(slot) = self.forking_slot(id) else { return };
        self.owed_fork_failed.push_back((slot, id));
        self.slots[slot].holds = Holds::Empty;
        if self.stop.is_some() {
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
                    self.doom(slot, Surrender::BackOff);
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
        self.door_opened(id, address);
        let Some(address) = self.addresses[address].clone() else { return };
        let when = self.settings.ready_when;
        let Some(life) = self.live(id) else { return };
        if life.is_leaving() || life.listens.contains(&address) {
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
        let counted_on = |holds: Holds| match holds {
            Holds::Live(id) => self.lives.get(&id).is_some_and(|life| life.ready.is_some() && !life.is_leaving()),
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) => false,
        };
        let initial = self.initial();
        let all = initial > 0 && self.slots[..initial].iter().all(|book| counted_on(book.holds));
        if all && self.all_ready == Once::NotYet {
            self.all_ready = Once::Owed;
        }
    }

    /// It is to leave (`ask`) or says that it does.
    fn leave(&mut self, now: At, id: WorkerId, ask: bool) {
        let Some(life) = self.live(id) else { return };
        if life.is_leaving() {
            return;
        }
        life.left = Some(now);
        life.draining = Some(now);
        life.owed_ask = ask;
    }

    fn closed(&mut self, now: At, id: WorkerId) {
        let Some(life) = self.live(id) else { return };
        if !life.closed {
            life.closed = true;
            life.owed.push_back(Said::Disconnect);
            self.doors_abandoned(now, id);
        }
    }

    fn exited(&mut self, now: At, id: WorkerId, status: ExitStatus) {
        self.closed(now, id);
        let stopping = self.stop.is_some();
        let Some(life) = self.live(id) else { return };
        let killed_by_program =
            life.sent.contains(&Signal::TERM) || status.signal().is_some_and(|signal| life.sent.contains(&signal));
        let cause = if life.left.is_some() || life.disconnect {
            Cause::Asked
        } else if life.missed_deadline {
            Cause::NotReady
        } else if stopping {
            Cause::Asked
        } else if killed_by_program {
            Cause::Killed
        } else {
            Cause::Own
        };
        life.exited = Some(now);
        life.owed.push_back(Said::Exit { status, cause });
        let (slot, pid, ready) = (life.slot, life.pid, life.ready);
        let since = self.base + now;
        let book = &mut self.slots[slot];
        book.holds = Holds::Empty;
        let info = WorkerInfo { slot: Slot::from_index(slot), id, pid, state: State::Exited, since };
        book.last = (cause != Cause::Asked).then_some(info);
        if ready.is_some_and(|since| now.saturating_sub(since) >= Duration::from_secs(10)) {
            book.delays = 0;
        }
        if cause == Cause::Asked || stopping {
            self.doom(slot, Surrender::Left);
        }
        let book = &mut self.slots[slot];
        if cause == Cause::Asked {
            if book.first == First::Pending {
                book.first = First::Settled;
            }
        } else if !stopping {
            self.died(now, slot, ready.is_some(), status);
        }
    }

    /// Nobody wanted that end: the table "End of a cluster".
    fn died(&mut self, now: At, slot: usize, healthy: bool, status: ExitStatus) {
        let book = &mut self.slots[slot];
        let recent = |death: &At| now.saturating_sub(*death) < Duration::from_secs(1);
        let in_burst = book.deaths.iter().rev().take(20).filter(|death| recent(death)).count() == 20;
        book.deaths.push(now);
        if !healthy && book.first == First::Pending {
            book.first = First::Failed;
        }
        if self.stop_if_never_ready(now) {
            return;
        }
        let at = if healthy && !in_burst {
            self.slots[slot].earliest = Span::exactly(Duration::ZERO);
            Span::exactly(now)
        } else {
            self.back_off(now, slot)
        };
        if self.settings.manual {
            return;
        }
        let listed = status.code().is_some_and(|code| self.settings.no_restart_on.contains(&code));
        let again = match self.settings.restart {
            Restart::Always => !listed,
            Restart::OnFailure => !listed && status.code() != Some(0),
            Restart::Never => false,
        };
        if !again {
            self.slots[slot].holds = Holds::Retired(status);
            self.doom(slot, Surrender::Left);
        } else if self.is_over_budget(now) {
            self.stop_at(now, Shutdown::Drain, Why::GaveUp, None);
        } else {
            self.slots[slot].holds = Holds::due(None, at);
            if at.from > now {
                self.doom(slot, Surrender::BackOff);
            }
        }
    }

    fn is_over_budget(&mut self, now: At) -> bool {
        let Some(rule) = self.settings.intensity else { return false };
        self.restarts.retain(|at| now.saturating_sub(*at) < rule.period);
        self.restarts.push(now);
        self.restarts.len() > rule.restarts
    }

    /// 100 ms × 2ⁿ up to 30 s (or as configured), ± 20 %.
    fn back_off(&mut self, now: At, slot: usize) -> Span {
        let (first, most) = (self.settings.backoff.first, self.settings.backoff.most);
        let book = &mut self.slots[slot];
        let nominal = (0..book.delays).fold(first, |delay, _| delay.saturating_mul(2).min(most)).min(most);
        book.delays += 1;
        let slack = Duration::from_micros(1);
        let from = (nominal / 5 * 4).saturating_sub(slack);
        let to = (nominal / 5).saturating_mul(6).saturating_add(slack);
        book.earliest = Span { from: now.saturating_add(from), to: now.saturating_add(to) };
        book.earliest
    }

    fn stop_if_never_ready(&mut self, now: At) -> bool {
        let initial = self.initial();
        let failed = |first: First| matches!(first, First::Failed | First::Refused);
        let never = initial > 0 && !self.ready_ever && self.slots[..initial].iter().all(|book| failed(book.first));
        if never {
            self.stop_at(now, Shutdown::Now, Why::NeverReady, None);
        }
        never
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

    fn stop_at(&mut self, now: At, how: Shutdown, why: Why, by: Option<Signal>) {
        self.stop = Some(Stop { how, why, signals: by.into_iter().collect(), since: now });
        self.owed_stopping.push_back(how);
        for book in &mut self.slots {
            if let Holds::Due { announced, .. } = book.holds {
                book.moot = announced.is_none();
                book.holds = Holds::Empty;
            }
        }
        self.doom_where_nobody_lives();
        let ids: Vec<WorkerId> = self.lives.keys().copied().collect();
        ids.into_iter().for_each(|id| self.must_go(now, id, how));
    }

    fn must_go(&mut self, now: At, id: WorkerId, how: Shutdown) {
        match how {
            Shutdown::Drain => self.leave(now, id, true),
            Shutdown::Now => {
                if let Some(life) = self.live(id) {
                    life.draining.get_or_insert(now);
                }
            }
        }
    }

    fn look_again_for_threads(&mut self, now: At) {
        for book in &mut self.slots {
            if let Holds::Due { at, announced, threads: true, .. } = &mut book.holds {
                (*at, *announced) = (Span::exactly(now), Some(now));
            }
        }
    }

    fn forking_slot(&self, id: WorkerId) -> Option<usize> {
        self.slots.iter().position(|book| book.holds == Holds::Forking(id))
    }
}
