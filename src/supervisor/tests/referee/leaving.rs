//! How workers leave: who parts, who is asked, for what reason, and until when.

use std::time::Duration;

use super::{At, Holds, Life, Next, Referee, Verdict};
use crate::{
    config::Restart,
    event::{Cause, ExitStatus, Shutdown},
    id::{Signal, WorkerId},
    wire::Leave,
};

impl Referee {
    /// It is to leave its slot for good, whatever it is there.
    pub(super) fn let_go(&mut self, now: At, id: WorkerId, cause: Cause) {
        let Some(slot) = self.live(id).map(|life| life.slot) else { return };
        if self.slots[slot].holds == Holds::Live(id) {
            self.slots[slot].dismissed = true;
            self.leave_step(slot);
            self.discard_successor(now, slot);
            self.parts(now, id, cause);
        } else if self.slots[slot].next == Next::Live(id) {
            self.failed(now, slot);
            self.discard_successor(now, slot);
        }
    }

    /// The program's word counts more than any other reason.
    pub(super) fn dismiss(&mut self, id: WorkerId, cause: Cause) {
        if let Some(life) = self.live(id).filter(|life| life.reason != Some(Cause::Asked)) {
            life.reason = Some(cause);
        }
    }

    /// With an open door newcomers are led past it first.
    pub(super) fn parts(&mut self, now: At, id: WorkerId, cause: Cause) {
        let parts = self.stop.is_none() && self.has_door_open(id);
        let within = self.settings.drain_timeout;
        let Some(life) = self.live(id) else { return };
        if life.is_leaving() {
            return;
        }
        if parts {
            life.reason.get_or_insert(cause);
            (life.parting, life.draining, life.owed_part) = (Some(now), Some(now), true);
        } else {
            life.is_asked(now, within, Leave::Shut, cause);
        }
    }

    /// Newcomers cannot be led past it.
    pub(super) fn parted(&mut self, now: At, id: WorkerId, steered: bool) {
        let within = self.settings.drain_timeout;
        let at_once = self.stop.as_ref().is_some_and(|stop| stop.how == Shutdown::Now);
        if let Some(life) = self.live(id).filter(|_| !steered && !at_once) {
            life.is_asked(now, within, Leave::Shut, Cause::Asked);
        }
    }

    /// A signal told it to leave. Where somebody is to follow, that one starts beside it, if there is a place for one
    /// more process at all; otherwise newcomers are led past it.
    pub(super) fn retires(&mut self, now: At, id: WorkerId) {
        let Some(slot) = self.live(id).map(|life| life.slot) else { return };
        if self.stop.is_some() {
            return;
        }
        if self.slots[slot].next == Next::Live(id) {
            return self.let_go(now, id, Cause::Rollout);
        }
        let (is_holder, within) = (self.slots[slot].holds == Holds::Live(id), self.settings.drain_timeout);
        let Some(life) = self.live(id).filter(|life| is_holder && !life.is_leaving()) else { return };
        (life.left, life.draining, life.until) = (Some(now), Some(now), now.saturating_add(within));
        life.awaits_word = true;
        let healthy = life.ready.is_some();
        let (manual, restarted) = (self.settings.manual, self.follows(ExitStatus::from_wait_status(0)));
        let place = self.slots.len() + self.lingering() < self.settings.processes();
        if self.succeeds(slot) && (manual || restarted) {
            self.retired(now, slot, id);
            self.succeeded_early(now, slot);
            self.released(now, slot);
        } else if restarted && !manual && place {
            self.retired(now, slot, id);
            self.follow(now, slot, healthy);
        } else {
            self.slots[slot].dismissed = manual || !restarted;
            if self.slots[slot].dismissed {
                self.leave_step(slot);
                self.discard_successor(now, slot);
            }
            self.live(id).into_iter().for_each(|life| life.owed_part = true);
        }
    }

    /// If somebody is ready in this slot, nobody else who is to leave it need accept any longer.
    pub(super) fn released(&mut self, now: At, slot: usize) {
        let (holds, next) = (self.slots[slot].holds, self.slots[slot].next);
        let has = |id: WorkerId| holds == Holds::Live(id) || next == Next::Live(id);
        let ready = |(id, life): (&WorkerId, &Life)| has(*id) && life.ready.is_some() && !life.is_leaving();
        if !self.lives.iter().any(ready) {
            return;
        }
        let former = self.lives.iter_mut().filter(|(id, life)| life.slot == slot && !has(**id) && !life.ends());
        for (_, life) in former.filter(|(_, life)| life.exited.is_none() && !life.deaf) {
            if std::mem::take(&mut life.awaits_word) {
                life.owed_asks.push_back((life.until.saturating_sub(now), Leave::HandOver));
            }
        }
    }

    /// It has left the slot to another one.
    pub(super) fn retired(&mut self, now: At, slot: usize, id: WorkerId) {
        let ready = self.live(id).and_then(|life| life.ready);
        self.slots[slot].holds = Holds::Empty;
        self.was_ready(now, slot, ready);
    }

    /// The table "End of a cluster".
    pub(super) fn follows(&self, status: ExitStatus) -> bool {
        let listed = status.code().is_some_and(|code| self.settings.no_restart_on.contains(&code));
        match self.settings.restart {
            Restart::Always => !listed,
            Restart::OnFailure => !listed && status.code() != Some(0),
            Restart::Never => false,
        }
    }

    /// The cluster stops.
    pub(super) fn must_go(&mut self, now: At, id: WorkerId, how: Shutdown) {
        let within = self.settings.drain_timeout;
        let Some(life) = self.live(id) else { return };
        match how {
            Shutdown::Drain => life.is_asked(now, within, Leave::Shut, Cause::Asked),
            Shutdown::Now => {
                life.draining.get_or_insert(now);
            }
        }
    }

    pub(super) fn part(&mut self, id: WorkerId, slot: usize) -> Verdict {
        let life = self.lives.get_mut(&id).ok_or("part: no such worker")?;
        let right = std::mem::take(&mut life.owed_part) && life.slot == slot;
        right.then_some(()).ok_or_else(|| format!("worker {id} parts without a request, twice, or in the wrong slot"))
    }

    /// Newcomers have been led past it for a second.
    pub(super) fn has_parted(&mut self, now: At, id: WorkerId) {
        let within = self.settings.drain_timeout;
        let parted = |life: &Life| life.parting.is_some_and(|since| since + ON_THEIR_WAY <= now);
        if let Some(life) = self.live(id).filter(|life| life.left.is_none() && parted(life)) {
            life.is_asked(now, within, Leave::HandOver, Cause::Asked);
        }
    }

    pub(super) fn ask(&mut self, id: WorkerId, within: Duration, leave: Leave) -> Verdict {
        let life = self.lives.get_mut(&id).ok_or("ask: no such worker")?;
        match life.owed_asks.pop_front() {
            None => Err(format!("worker {id} is asked without a request, twice, early, or when it leaves already")),
            Some(owed) if owed != (within, leave) => {
                Err(format!("worker {id} is asked to leave within {within:?}, {leave:?}, and not {owed:?}"))
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn deadline(&self, life: &Life) -> Option<At> {
        if life.killed.is_some() {
            None
        } else if let Some(at) = life.pulse.dumps {
            Some(at + DUMPS)
        } else if let Some(at) = life.terminated {
            Some(at.saturating_add(self.settings.terminate_timeout))
        } else if life.left.is_some() {
            Some(life.until)
        } else if let Some(at) = life.parting {
            Some(at + ON_THEIR_WAY)
        } else if life.ready.is_some() {
            None
        } else {
            Some(life.forked.saturating_add(self.settings.ready_timeout))
        }
    }

    pub(super) fn cause(&self, life: &Life, status: ExitStatus) -> Cause {
        let by_program =
            life.sent.contains(&Signal::TERM) || status.signal().is_some_and(|signal| life.sent.contains(&signal));
        let stopping = self.stop.as_ref().is_some_and(|stop| life.left.is_none() || stop.how == Shutdown::Now);
        match life.reason {
            Some(reason) => reason,
            None if life.missed_deadline => Cause::NotReady,
            None if stopping || life.deaf || life.terminated.is_some() || life.killed.is_some() => Cause::Asked,
            None if by_program => Cause::Killed,
            None => Cause::Own,
        }
    }
}

impl Life {
    /// Unless it is being ended. One that was before is told again if it waits for the word, or has less time now.
    pub(super) fn is_asked(&mut self, now: At, within: Duration, leave: Leave, cause: Cause) {
        let until = now.saturating_add(within);
        if self.ends() {
            return;
        }
        if self.left.is_some() {
            if !self.deaf && (until < self.until || self.awaits_word) {
                (self.until, self.awaits_word) = (self.until.min(until), false);
                self.owed_asks.push_back((self.until.saturating_sub(now), leave));
            }
            return;
        }
        if self.is_leaving() && self.parting.is_none() {
            return;
        }
        self.reason.get_or_insert(cause);
        (self.left, self.until) = (Some(now), until);
        self.draining.get_or_insert(now);
        self.owed_asks.push_back((within, leave));
    }

    fn ends(&self) -> bool {
        self.pulse.dumps.is_some() || self.killed.is_some() || self.terminated.is_some() || self.missed_deadline
    }
}

/// A client that knocked before it was led elsewhere has sent the last packet of its handshake by then.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// For a core of some gigabytes.
const DUMPS: Duration = Duration::from_secs(10);
