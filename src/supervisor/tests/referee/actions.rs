//! What the supervisor may do, given the facts.

use std::time::Duration;

use super::{At, Holds, Life, Next, Once, Rank, Referee, Said, Span, Verdict, Why};
use crate::{
    event::{Cause, Event, Shutdown, WorkerRef},
    id::{Signal, WorkerId},
    supervisor::{self, Action, Outcome},
};

impl Referee {
    pub(in super::super) fn action(&mut self, now: At, action: &Action) -> Verdict {
        if self.finished {
            return Err("finish is the last action".to_owned());
        }
        match action {
            Action::Spawn { slot, id } => self.spawn(now, slot.index(), *id),
            Action::Part { slot, id } => self.part(*id, slot.index()),
            Action::Stay { slot } => self.stays(slot.index()),
            Action::Ask { id, within, leave } => self.ask(*id, *within, *leave),
            Action::Signal { id, signal, why } => self.signal(now, *id, *signal, *why),
            Action::Shut { slot, address, why } => self.shut(now, slot.index(), *address, *why),
            Action::Steer { slot, away } => self.steers(slot.index(), *away),
            Action::Lend { loan, slot, address, to } => self.lends(now, *loan, (slot.index(), *address), *to),
            Action::TakeBack { loan, from } => self.takes_back(*loan, *from),
            Action::Nudge { id } => self.nudges(*id),
            Action::Doze(on) => self.watch.told(*on),
            Action::Refuse => {
                let right = self.stop.is_some() && !std::mem::replace(&mut self.refused, true);
                right.then_some(()).ok_or("nobody is let in any more: once, and when the cluster stops".to_owned())
            }
            Action::Note { worker, what } => self.noted(now, worker, what),
            Action::Emit(event) => self.event(now, event),
            Action::Finish(outcome) => self.finish(outcome),
        }
    }

    fn spawn(&mut self, now: At, slot: usize, id: WorkerId) -> Verdict {
        if self.stop.is_some() {
            return Err("nothing is spawned after a stop".to_owned());
        }
        let Some(book) = self.slots.get_mut(slot) else { return Err(format!("there is no slot {slot}")) };
        if book.next == Next::Ordered(id) {
            book.next = Next::Forking(id);
            let fresh = self.ids.insert(id);
            return fresh.then_some(()).ok_or_else(|| format!("worker {id}: ids are never reused"));
        }
        let Holds::Due { id: known, at, announced, .. } = book.holds else {
            return Err(format!("slot {slot} wants no worker (it is taken, retired or was left as asked)"));
        };
        let fresh = match known {
            Some(known) => known == id,
            None => self.ids.insert(id),
        };
        if !fresh {
            return Err(format!("worker {id}: ids are never reused and a retry keeps its own"));
        }
        if now < announced.unwrap_or(at.from) {
            return Err(format!(
                "slot {slot} is refilled at {now:?}, its back-off ends at {announced:?} or {:?}",
                at.from
            ));
        }
        book.holds = Holds::Forking(id);
        Ok(())
    }

    /// TERM after the deadline of the ask or when it is deaf; KILL after TERM's deadline, a missed ready deadline, or a
    /// stop at once, which may come between that decision and the deed; the program's own signals exactly as often as
    /// asked for.
    fn signal(&mut self, now: At, id: WorkerId, signal: Signal, why: supervisor::Why) -> Verdict {
        if why == supervisor::Why::Program {
            return self.program_signals(id, signal);
        }
        let life = self.lives.get(&id).ok_or("signal: no such worker")?;
        let alive = life.exited.is_none_or(|exited| exited == now);
        let late = self.deadline(life).is_some_and(|deadline| deadline <= now);
        let unready = life.parting.is_none() && life.left.is_none() && life.ready.is_none();
        let at_once = self.stop.as_ref().is_some_and(|stop| stop.how == Shutdown::Now);
        if let (supervisor::Why::Hung, true) = (why, alive) {
            return self.hangs(now, id, signal);
        }
        let dump_is_late = late && life.pulse.dumps.is_some();
        let own_term = alive && life.left.is_some() && life.terminated.is_none() && (late || life.deaf);
        let own_kill = alive && (at_once || dump_is_late || late && (life.terminated.is_some() || unready));
        let life = self.lives.get_mut(&id).ok_or("signal: no such worker")?;
        let first = life.killed.is_none();
        if signal == Signal::TERM && own_term && first {
            life.terminated = Some(now);
            life.reason.get_or_insert(Cause::Asked);
        } else if signal == Signal::KILL && own_kill && first {
            life.missed_deadline = unready && late && (why == supervisor::Why::NotReady || !at_once);
            life.killed = Some(now);
            life.draining.get_or_insert(now);
        } else {
            return Err(format!("worker {id} gets {signal} before its deadline, twice, or for no reason ({why:?})"));
        }
        Ok(())
    }

    fn program_signals(&mut self, id: WorkerId, signal: Signal) -> Verdict {
        let life = self.lives.get_mut(&id).ok_or("signal: no such worker")?;
        let position = life.owed_signals.iter().position(|owed| *owed == signal);
        let position = position.ok_or_else(|| format!("worker {id} gets {signal}, and the program has sent none"))?;
        life.owed_signals.remove(position);
        Ok(())
    }

    fn event(&mut self, now: At, event: &Event) -> Verdict {
        match event {
            Event::Fork(worker) => self.said(worker, Said::Fork),
            Event::Online(worker) => self.said(worker, Said::Online),
            Event::Listening { worker, address } => self.said(worker, Said::Listening(address.clone())),
            Event::Ready(worker) => self.said(worker, Said::Ready),
            Event::Message { worker, .. } => self.said(worker, Said::Message),
            Event::Hung { worker, since } => self.said(worker, Said::Hung(*since)),
            Event::Recovered { worker, after } => self.said(worker, Said::Recovered(*after)),
            Event::Reply { .. } | Event::Writable(_) => Err("nobody has sent anything".to_owned()),
            Event::Stranger { .. } => Err("the supervisor knows no sockets".to_owned()),
            Event::Disconnect(worker) => self.said(worker, Said::Disconnect),
            Event::Exit { worker, status, cause, uptime } => {
                self.said(worker, Said::Exit { status: *status, cause: *cause })?;
                let life = &self.lives[&worker.id];
                let expected = life.exited.unwrap_or(now).saturating_sub(life.forked);
                (expected == *uptime).then_some(()).ok_or_else(|| format!("worker {}: uptime {uptime:?}", worker.id))
            }
            Event::ForkFailed { slot, id, .. } => {
                let owed = self.owed_fork_failed.pop_front();
                let right = owed == Some((slot.index(), *id));
                right.then_some(()).ok_or_else(|| format!("ForkFailed for worker {id}, expected {owed:?}"))
            }
            Event::Backoff { slot, delay, deaths } => self.announced(now, slot.index(), *delay, *deaths),
            Event::AllReady { workers, addresses, .. } => {
                let right = self.all_ready == Once::Owed
                    && *workers == self.initial().min(self.target)
                    && addresses.iter().eq(self.addresses.iter().flatten());
                self.all_ready = Once::Done;
                right.then_some(()).ok_or("AllReady comes once, and when every first slot is ready".to_owned())
            }
            Event::RolloutStarted(id) => self.rollout_started(*id),
            Event::RolloutEnded { id, result } => self.rollout_ended(*id, result),
            Event::Stopping(how) => {
                let owed = self.owed_stopping.pop_front();
                (owed == Some(*how)).then_some(()).ok_or_else(|| format!("Stopping({how:?}), expected {owed:?}"))
            }
        }
    }

    fn said(&mut self, worker: &WorkerRef, said: Said) -> Verdict {
        let life = self.lives.get_mut(&worker.id).ok_or_else(|| format!("{said:?} of an unknown worker"))?;
        if (worker.slot.index(), worker.pid) != (life.slot, life.pid) {
            return Err(format!("{said:?} of {worker} names the wrong slot or pid"));
        }
        if let Some(rank) = said.rank() {
            let late = matches!(&said, Said::Listening(address) if !life.born.contains(address));
            life.comes(rank, late).map_err(|why| format!("{worker}: {why}"))?;
        } else if said == Said::Message && life.last.is_none_or(|last| last >= Rank::Disconnect) {
            return Err(format!("{worker}: {said:?} after {:?}", life.last));
        }
        let owed = life.owed.pop_front();
        (owed.as_ref() == Some(&said)).then_some(()).ok_or_else(|| format!("{worker}: {said:?}, expected {owed:?}"))
    }

    fn announced(&mut self, now: At, slot: usize, delay: Duration, deaths: u32) -> Verdict {
        let exactly = now.saturating_add(delay);
        self.decide(slot, exactly);
        self.will_wait(now, slot, exactly);
        let book = &mut self.slots[slot];
        let is_moot = std::mem::take(&mut book.moot);
        let at = match &mut book.holds {
            _any if is_moot => book.earliest,
            Holds::Due { at, announced: announced @ None, .. } => {
                *announced = Some(exactly);
                *at
            }
            Holds::Empty | Holds::Retired(_) | Holds::Due { .. } | Holds::Forking(_) | Holds::Live(_) => {
                return Err(format!("Backoff of slot {slot}, which waits for nothing or was announced before"));
            }
        };
        if delay.is_zero() || exactly < at.from || exactly > at.to || deaths != book.delays {
            return Err(format!(
                "Backoff of slot {slot}: {delay:?} and {deaths}, expected {:?} to {:?} and {}",
                at.from.saturating_sub(now),
                at.to.saturating_sub(now),
                book.delays
            ));
        }
        book.earliest = Span::exactly(exactly);
        Ok(())
    }

    fn finish(&mut self, outcome: &Outcome) -> Verdict {
        if !self.is_over() {
            return Err("finish while a worker lives, is due or being forked".to_owned());
        }
        if self.has_open_door() {
            return Err("finish while a door is open".to_owned());
        }
        if self.stop.is_some() && !self.refused {
            return Err("a stop that goes on letting clients in".to_owned());
        }
        self.finished = true;
        let right = match (self.stop.as_ref().map(|stop| stop.why), outcome) {
            (Some(Why::Asked), Outcome::Stopped) => true,
            (Some(Why::GaveUp), Outcome::GaveUp(rule)) => *rule == self.settings.intensity,
            (Some(Why::NeverReady), Outcome::NeverReady(ends)) => {
                ends.iter().map(|(slot, _)| slot.index()).eq(self.never_ready())
            }
            (None, Outcome::Retired(bad)) => {
                let bad: Vec<usize> = bad.iter().map(|(slot, _)| slot.index()).collect();
                bad == self.ended_badly()
            }
            (_, Outcome::Stopped | Outcome::GaveUp(_) | Outcome::NeverReady(_) | Outcome::Retired(_)) => false,
        };
        right.then_some(()).ok_or_else(|| format!("finish says {outcome:?}, wrong"))
    }

    fn ended_badly(&self) -> Vec<usize> {
        let listed = |code: Option<i32>| code.is_some_and(|code| self.settings.no_restart_on.contains(&code));
        let bad = |book: &super::Book| match book.holds {
            Holds::Retired(status) => status.code() != Some(0) && !listed(status.code()),
            Holds::Empty | Holds::Due { .. } | Holds::Forking(_) | Holds::Live(_) => false,
        };
        (0..self.slots.len()).filter(|slot| bad(&self.slots[*slot])).collect()
    }
}

impl Life {
    /// The next of the steps that have an order; `late`: at an address that came after its birth.
    fn comes(&mut self, rank: Rank, late: bool) -> Verdict {
        let repeats = rank == Rank::Listening && self.last == Some(Rank::Listening);
        let after_ready = rank == Rank::Listening && self.last == Some(Rank::Ready) && (self.told_ready || late);
        let in_order = self.last.map_or(rank == Rank::Fork, |last| last < rank);
        let skipped = rank == Rank::Exit && self.last != Some(Rank::Disconnect)
            || matches!(rank, Rank::Listening | Rank::Ready) && self.last == Some(Rank::Fork);
        if skipped || !(in_order || repeats || after_ready) {
            return Err(format!("{rank:?} after {:?}", self.last));
        }
        if !after_ready {
            self.last = Some(rank);
        }
        Ok(())
    }
}
