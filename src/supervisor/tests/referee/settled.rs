//! What must have happened once a turn is over.

use std::time::Duration;

use super::{At, Book, Holds, Life, Next, Once, Referee, Verdict};
use crate::{
    event::{Shutdown, State, WorkerInfo},
    id::{Slot, WorkerId},
};

impl Referee {
    pub(in super::super) fn settled(
        &mut self,
        now: At,
        timeout: Option<At>,
        workers: impl Iterator<Item = WorkerInfo>,
    ) -> Verdict {
        self.nothing_is_owed()?;
        self.nothing_is_overdue(now)?;
        self.no_door_waits_in_vain(now)?;
        self.loans_settled(now)?;
        self.watch.settled()?;
        self.lives_fit_into_slots()?;
        self.rollout_settled(now)?;
        self.owed_note()?;
        self.deadlines_are_known(timeout)?;
        if self.is_busy() && timeout.is_none() && !self.awaits_the_kernel() {
            return Err("a rollout waits for nothing".to_owned());
        }
        let expected = self.workers();
        let mut actual: Vec<WorkerInfo> = workers.collect();
        if !actual.is_sorted_by_key(|worker| worker.slot) {
            return Err(format!("workers() is not in slot order: {actual:?}"));
        }
        actual.sort_by_key(|worker| (worker.slot, worker.id));
        if actual != expected {
            return Err(format!("workers() is {actual:?}, expected {expected:?}"));
        }
        // From here on whatever is said of them is about nothing that lives.
        self.lives.retain(|_, life| life.exited.is_none());
        Ok(())
    }

    /// Who was told to leave, or to end, opens no socket any more.
    pub(in super::super) fn knows_who_was_asked(&self, is_asked: impl Fn(WorkerId) -> bool) -> Verdict {
        for (id, life) in &self.lives {
            let ends = life.terminated.is_some() || life.killed.is_some() || life.pulse.dumps.is_some();
            let asked = life.left.is_some() || ends;
            if is_asked(*id) != (asked && life.exited.is_none()) {
                return Err(format!("worker {id}: the supervisor does not know what it was told"));
            }
        }
        Ok(())
    }

    fn nothing_is_owed(&self) -> Verdict {
        if self.all_ready == Once::Owed {
            return Err("AllReady is missing".to_owned());
        }
        if let Some(how) = self.owed_stopping.front() {
            return Err(format!("Stopping({how:?}) is missing"));
        }
        if let Some((slot, id)) = self.owed_fork_failed.front() {
            return Err(format!("ForkFailed of slot {slot}, worker {id} is missing"));
        }
        for (id, life) in &self.lives {
            if let Some(said) = life.owed.front() {
                return Err(format!("worker {id}: {said:?} is missing"));
            }
            if self.slots[life.slot].owed_stay {
                return Err(format!("slot {} was to stay", life.slot));
            }
            if !life.owed_asks.is_empty() || life.owed_part {
                return Err(format!("worker {id} was to be asked, or newcomers to be led past it"));
            }
            if let Some(signal) = life.owed_signals.first() {
                return Err(format!("worker {id} was to get the program's {signal}"));
            }
        }
        Ok(())
    }

    fn nothing_is_overdue(&self, now: At) -> Verdict {
        for (slot, book) in self.slots.iter().enumerate() {
            if let Holds::Due { at, announced, .. } = book.holds {
                if announced.unwrap_or(at.from) <= now {
                    return Err(format!("slot {slot} was to be refilled"));
                }
                if announced.is_none() {
                    return Err(format!("slot {slot} waits and no Backoff told so"));
                }
            }
        }
        let at_once = self.stop.as_ref().is_some_and(|stop| stop.how == Shutdown::Now);
        for (id, life) in self.living() {
            if at_once && life.killed.is_none() {
                return Err(format!("worker {id} was to be killed at once"));
            }
            if life.deaf && life.terminated.is_none() && life.killed.is_none() {
                return Err(format!("worker {id} is deaf and was to get SIGTERM"));
            }
            if life.pulse.is_to_end && life.killed.is_none() && life.pulse.dumps.is_none() {
                return Err(format!("worker {id} hangs and was to be killed"));
            }
            if self.deadline(life).is_some_and(|deadline| deadline <= now) {
                return Err(format!("worker {id} missed its deadline and nothing was done"));
            }
        }
        Ok(())
    }

    fn lives_fit_into_slots(&self) -> Verdict {
        let taken = |book: &&Book| matches!(book.holds, Holds::Forking(_) | Holds::Live(_));
        let taken = self.slots.iter().filter(taken).count();
        if self.settings.manual && taken > self.forks_accepted {
            return Err(format!("{taken} workers live, and the program has forked {}", self.forks_accepted));
        }
        for (slot, book) in self.slots.iter().enumerate().filter(|_| self.stop.is_none() && !self.settings.manual) {
            let wrong = match book.holds {
                Holds::Empty => slot < self.target && !book.dismissed,
                Holds::Retired(_) => false,
                Holds::Due { .. } | Holds::Forking(_) | Holds::Live(_) => {
                    slot >= self.target && !book.dismissed && !book.by_hand
                }
            };
            if wrong {
                return Err(format!("slot {slot} is not as {} workers want it", self.target));
            }
        }
        let live = self.living().count();
        let most = self.settings.processes();
        (live <= most).then_some(()).ok_or_else(|| format!("{live} workers live and there is room for {most}"))
    }

    /// Every starting or draining worker, every slot that is due and every door that is kept has its deadline, and
    /// there are no others.
    fn deadlines_are_known(&self, actual: Option<At>) -> Verdict {
        let workers = self.living().filter_map(|(_, life)| self.deadline(life));
        let slots = self.slots.iter().filter_map(|book| match book.holds {
            Holds::Due { at, announced, .. } => Some(announced.unwrap_or(at.from)),
            Holds::Empty | Holds::Retired(_) | Holds::Forking(_) | Holds::Live(_) => None,
        });
        let soon = |at: &At| *at < NEVER;
        let expected = workers
            .chain(slots)
            .chain(self.door_deadlines())
            .chain(self.rollout_deadlines())
            .chain(self.watch.next())
            .filter(soon)
            .min();
        let actual = actual.filter(soon);
        (actual == expected).then_some(()).ok_or_else(|| format!("poll_timeout is {actual:?}, expected {expected:?}"))
    }

    fn workers(&self) -> Vec<WorkerInfo> {
        let living = self.living().map(|(id, life)| self.info(*id, life));
        let mut workers: Vec<WorkerInfo> = living.chain(self.slots.iter().filter_map(|book| book.last)).collect();
        workers.sort_by_key(|worker| (worker.slot, worker.id));
        workers
    }

    fn info(&self, id: WorkerId, life: &Life) -> WorkerInfo {
        let (state, since) = match (life.draining, life.ready, life.listening, life.online) {
            (Some(at), _, _, _) => (State::Draining, at),
            (None, Some(at), _, _) => (State::Ready, life.stayed.unwrap_or(at)),
            (None, None, Some(at), _) => (State::Listening, at),
            (None, None, None, Some(at)) => (State::Online, at),
            (None, None, None, None) => (State::Starting, life.forked),
        };
        WorkerInfo { slot: Slot::from_index(life.slot), id, pid: life.pid, state, since: self.base + since }
    }

    /// The result of a fork, or the end of somebody who was killed.
    fn awaits_the_kernel(&self) -> bool {
        let forks = |book: &Book| matches!(book.holds, Holds::Forking(_)) || matches!(book.next, Next::Forking(_));
        self.slots.iter().any(forks) || self.living().any(|(_, life)| life.killed.is_some())
    }

    fn living(&self) -> impl Iterator<Item = (&WorkerId, &Life)> {
        self.lives.iter().filter(|(_, life)| life.exited.is_none())
    }
}

/// Deadlines of settings such as `Duration::MAX`; any moment beyond this will do.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);
