//! Who hangs, for how long, and what follows.

use std::time::Duration;

use super::{At, Holds, Referee, Said, Verdict};
use crate::{
    event::Cause,
    id::{Signal, WorkerId},
    supervisor::Sight,
};

/// What the looks at one worker have shown.
#[derive(Default)]
pub(super) struct Pulse {
    pub(super) sight: Option<Sight>,
    /// Its turn was the same at the look before.
    same: bool,
    /// It was in one turn for too long, or has not come to a door of its own: at the last look, and at the one before.
    stuck: bool,
    was_stuck: bool,
    stuck_for: Duration,
    /// It waits, and was told to turn since it is stuck, or is to be told now.
    called: bool,
    told: bool,
    /// It hangs, and a signal is owed or was sent.
    pub(super) is_to_end: bool,
    pub(super) killed: bool,
    /// Since when it is to leave a core.
    pub(super) dumps: Option<At>,
    /// When it has declined to accept at a door of another slot, or has not come there.
    pub(super) declined: Option<At>,
}

impl Pulse {
    /// It has room, and turns by what the last look showed or the one before; `strictly`: by both.
    pub(super) fn is_well(&self, strictly: bool) -> bool {
        let was_stuck = self.same && self.was_stuck;
        let is_busy = self.same && self.sight.is_some_and(|sight| sight.busy_since != 0);
        let stuck = is_busy || if strictly { self.stuck || was_stuck } else { self.stuck && was_stuck };
        !stuck && !self.sight.is_some_and(|sight| sight.is_short)
    }

    pub(super) fn open(&self) -> u64 {
        self.sight.map_or(0, |sight| sight.open)
    }

    pub(super) fn sweeps(&self) -> u64 {
        self.sight.map_or(0, |sight| sight.sweeps)
    }
}

impl Referee {
    pub(super) fn is_news(&self, sight: &Sight) -> bool {
        let life = self.lives.get(&sight.id).filter(|life| life.exited.is_none());
        life.is_some_and(|life| life.pulse.sight != Some(*sight))
    }

    pub(super) fn sees(&mut self, sight: &Sight) {
        let Some(life) = self.live(sight.id) else { return };
        let turn = |sight: &Sight| (sight.turns, sight.busy_since);
        life.pulse.same = life.pulse.sight.is_some_and(|before| turn(&before) == turn(sight));
        life.pulse.was_stuck = life.pulse.stuck;
        life.pulse.sight = Some(*sight);
    }

    /// True: it is stuck. Accused is nobody who has turned since the last look.
    pub(super) fn feels(&mut self, now: At, id: WorkerId, gap: Duration) -> bool {
        let hang = self.settings.hang;
        let is_missed = self.is_missed(id);
        let Some(life) = self.live(id) else { return false };
        let is_judged = life.ready.is_some() && !life.is_leaving();
        let Some(sight) = life.pulse.sight else { return false };
        let pulse = &mut life.pulse;
        pulse.stuck = pulse.same && (sight.busy_since != 0 || is_missed && !sight.is_short);
        if !pulse.stuck {
            pulse.called = false;
            let hung = std::mem::take(&mut pulse.stuck_for);
            if std::mem::take(&mut pulse.told) {
                life.owed.push_back(Said::Recovered(hung));
            }
            return false;
        }
        if !is_judged {
            return true;
        }
        pulse.stuck_for += gap;
        if sight.busy_since == 0 && !pulse.called {
            if pulse.stuck_for >= hang.warn / 2 {
                pulse.called = true;
                self.loans.called.insert(id, false);
            }
            return true;
        }
        if pulse.stuck_for >= hang.warn && !std::mem::replace(&mut pulse.told, true) {
            life.owed.push_back(Said::Hung(pulse.stuck_for));
        }
        pulse.is_to_end = sight.turns > 0 && hang.kill.is_some_and(|kill| pulse.stuck_for >= kill);
        if pulse.is_to_end {
            life.draining = Some(now);
        }
        true
    }

    /// It holds a slot, and somebody waits at a door of it where it accepts.
    fn is_missed(&self, id: WorkerId) -> bool {
        let Some(life) = self.lives.get(&id) else { return false };
        let book = &self.slots[life.slot];
        let places = book.attended.iter().filter(|(address, _)| book.doors.contains_key(address));
        book.holds == Holds::Live(id)
            && places.into_iter().any(|(address, door)| life.accepts.contains(address) && door.is_missed())
    }

    /// It gets the signal because it hangs.
    pub(super) fn hangs(&mut self, now: At, id: WorkerId, signal: Signal) -> Verdict {
        let abort = self.settings.hang.abort;
        let Some(life) = self.live(id) else { return Err(format!("worker {id} hangs, and does not live")) };
        if !std::mem::take(&mut life.pulse.is_to_end) || life.killed.is_some() || life.pulse.killed {
            return Err(format!("worker {id} gets {signal} because it hangs, and it does not"));
        }
        life.pulse.killed = true;
        life.reason.get_or_insert(Cause::Hung);
        match (signal, abort) {
            (Signal::ABRT, true) => life.pulse.dumps = Some(now),
            (Signal::KILL, false) => life.killed = Some(now),
            (_, _) => return Err(format!("worker {id} hangs and gets {signal}")),
        }
        Ok(())
    }
}
