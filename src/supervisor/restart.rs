//! What follows a worker that ended by itself.

use std::time::{Duration, Instant};

use super::{
    Supervisor,
    doors::Surrender,
    post::{Awaits, PostState},
    process::Process,
    stop::Outcome,
};
use crate::{
    config::Restart,
    event::{Event, ExitStatus, Shutdown},
    id::{Slot, WorkerId},
};

impl Supervisor {
    /// What follows a worker that nobody asked to leave.
    pub(super) fn replace(&mut self, now: Instant, index: usize, process: &Process, status: ExitStatus) {
        let healthy = process.ready_since.is_some();
        if !healthy {
            self.posts[index].ended_unready(status.to_string());
            if self.give_up_if_never_ready(now) {
                return;
            }
        }
        let delay = self.posts[index].pace.died(now, healthy, &self.settings.backoff, &mut self.jitter);
        if self.settings.manual {
            return;
        }
        if !self.is_restarted(status) {
            self.posts[index].state = PostState::Retired(status);
            self.give_up_doors(index, Surrender::Left);
        } else if self.budget.exceeded_by_restart_at(now) {
            self.begin_stop(now, Shutdown::Drain, None, Outcome::GaveUp(self.settings.intensity));
        } else {
            let id = self.take_id();
            self.schedule(now, index, id, delay);
        }
    }

    pub(super) fn is_restarted(&self, status: ExitStatus) -> bool {
        if self.is_listed(status) {
            return false;
        }
        match self.settings.restart {
            Restart::Always => true,
            Restart::OnFailure => !status.success(),
            Restart::Never => false,
        }
    }

    pub(super) fn is_listed(&self, status: ExitStatus) -> bool {
        status.code().is_some_and(|code| self.settings.no_restart_on.contains(&code))
    }

    pub(super) fn schedule(&mut self, now: Instant, index: usize, id: WorkerId, delay: Duration) {
        if !delay.is_zero() {
            let deaths = self.posts[index].pace.delayed();
            self.emit(Event::Backoff { slot: Slot::from_index(index), delay, deaths });
            self.give_up_doors(index, Surrender::BackOff);
        }
        self.posts[index].state = PostState::Due { id, at: now + delay, awaits: Awaits::Time };
    }
}
