//! Workers that hang: they are told of, and in the end killed and replaced.
//!
//! A worker hangs if it is in one and the same turn from look to look, or if it does not come to its door though
//! somebody waits there and it has room: it is stopped, dead-locked, swapped out, or computes. What counts is the time
//! between [looks](super::watch) that came in time, so neither a suspended machine nor a stopped master accuses
//! anybody. Killed are only workers that say when they turn; of the others one cannot know what they do.

use std::time::{Duration, Instant};

use super::{
    Action, Supervisor, Why,
    process::{Phase, Process},
    watch::Sight,
};
use crate::{config::Hang, event::Event, id::WorkerId};

/// What the looks at one worker have shown.
#[derive(Default)]
pub(super) struct Pulse {
    last: Option<Sight>,
    /// For how long it has been stuck in what the last look showed.
    stuck_for: Duration,
    is_stuck: bool,
    /// The last two looks have shown the same turn.
    is_same: bool,
    /// It waits, and was told to turn since it is stuck.
    is_called: bool,
    /// It was told of.
    is_told: bool,
}

impl Pulse {
    /// It turns, as far as is known, and has room.
    pub(super) fn is_well(&self) -> bool {
        let is_busy = self.is_stuck || self.last.is_some_and(|last| last.busy_since != 0);
        !(self.is_same && is_busy || self.last.is_some_and(|last| last.is_short))
    }

    pub(super) fn open(&self) -> u64 {
        self.last.map_or(0, |last| last.open)
    }

    pub(super) fn sweeps(&self) -> u64 {
        self.last.map_or(0, |last| last.sweeps)
    }

    /// Nothing has happened since the last look.
    pub(super) fn is_as(&self, sight: &Sight) -> bool {
        self.last == Some(*sight)
    }

    /// It says when it turns.
    fn is_public(&self) -> bool {
        self.last.is_some_and(|last| last.turns > 0)
    }

    fn see(&mut self, sight: &Sight) {
        let turn = |sight: &Sight| (sight.turns, sight.busy_since);
        self.is_same = self.last.replace(*sight).is_some_and(|last| turn(&last) == turn(sight));
    }

    /// `is_missed`: it does not come to a door of its own. Returns for how long it had been stuck, if that is over.
    fn feel(&mut self, is_missed: bool, gap: Duration) -> Option<Duration> {
        let hangs = |last: Sight| last.busy_since != 0 || is_missed && !last.is_short;
        self.is_stuck = self.is_same && self.last.is_some_and(hangs);
        if self.is_stuck {
            self.stuck_for += gap;
            return None;
        }
        self.is_called = false;
        let was_stuck_for = std::mem::take(&mut self.stuck_for);
        std::mem::take(&mut self.is_told).then_some(was_stuck_for)
    }

    fn waits(&self) -> bool {
        self.last.is_some_and(|last| last.busy_since == 0)
    }
}

impl Supervisor {
    /// What the look shows of one worker.
    pub(super) fn see(&mut self, sight: &Sight) {
        self.process_mut(sight.id).into_iter().for_each(|process| process.pulse.see(sight));
    }

    /// What that means, `gap` after the last look. True: it is stuck.
    pub(super) fn feel(&mut self, now: Instant, id: WorkerId, gap: Duration) -> bool {
        let is_missed = self.is_missed(id);
        let Some(process) = self.process_mut(id) else { return false };
        // One that starts or leaves has its deadline.
        let is_judged = matches!(process.phase, Phase::Ready);
        let recovered = process.pulse.feel(is_missed, if is_judged { gap } else { Duration::ZERO });
        let (worker, is_stuck) = (process.worker, process.pulse.is_stuck);
        if let Some(after) = recovered {
            self.emit(Event::Recovered { worker, after });
        }
        self.judge(now, id);
        is_stuck
    }

    /// Somebody waits, or did, for whom this worker has not come.
    fn is_missed(&self, id: WorkerId) -> bool {
        let Some(post) = self.posts.iter().find(|post| post.live().is_some_and(|process| process.worker.id == id))
        else {
            return false;
        };
        let places = post.live().map_or(&[][..], Process::accepts);
        post.doors.attended().any(|(address, door)| places.contains(&address) && door.is_missed())
    }

    fn judge(&mut self, now: Instant, id: WorkerId) {
        let Hang { warn, kill, abort } = self.settings.hang;
        let Some(process) = self.process_mut(id).filter(|process| matches!(process.phase, Phase::Ready)) else {
            return;
        };
        let (stuck_for, is_public, worker) = (process.pulse.stuck_for, process.pulse.is_public(), process.worker);
        if process.pulse.waits() && !process.pulse.is_called {
            if process.pulse.is_stuck && stuck_for >= warn / 2 {
                process.pulse.is_called = true;
                self.actions.push_back(Action::Nudge { id });
            }
            return;
        }
        if stuck_for >= warn && !std::mem::replace(&mut process.pulse.is_told, true) {
            self.emit(Event::Hung { worker, since: stuck_for });
        }
        if is_public && kill.is_some_and(|kill| stuck_for >= kill) {
            if abort {
                self.dump(now, id);
            } else {
                self.kill(now, id, Why::Hung);
            }
        }
    }
}
