//! What follows the end of a worker.

use std::time::{Duration, Instant};

use super::{
    Course, Supervisor,
    doors::Surrender,
    post::{Awaits, PostState, Role},
    process::Process,
    stop::Outcome,
};
use crate::{
    config::Restart,
    event::{Cause, Event, ExitStatus, Shutdown},
    id::{Slot, WorkerId},
};

impl Supervisor {
    /// The worker has ended and was reaped.
    pub(crate) fn handle_exited(&mut self, now: Instant, id: WorkerId, status: ExitStatus) {
        let Some(index) = self.stir(now, id) else { return };
        self.disconnected(now, id);
        let Some((role, process)) = self.posts[index].remove(id) else { return };
        let cause = process.cause_of(status);
        let uptime = now.saturating_duration_since(process.forked);
        self.emit(Event::Exit { worker: process.worker, status, cause, uptime });
        match role {
            Role::Holder => self.holder_ended(now, index, &process, status, cause),
            Role::Successor => self.failed(now, &process, &format!("{status} before it was to take over")),
            Role::Former => {}
        }
        if !matches!(self.course, Course::Running) && self.posts[index].processes().next().is_none() {
            self.give_up_doors(index, Surrender::Left);
        }
    }

    fn holder_ended(&mut self, now: Instant, index: usize, process: &Process, status: ExitStatus, cause: Cause) {
        let post = &mut self.posts[index];
        post.pace.ended(now, process.ready_since);
        post.last = (!cause.asked()).then(|| process.exited(now));
        if cause.asked() {
            post.left();
            self.left(now, index);
        } else if matches!(self.course, Course::Running) {
            self.replace(now, index, process, status);
        }
    }

    /// The slot was left as asked. It is filled again if only this worker was not wanted, or if it is wanted again.
    fn left(&mut self, now: Instant, index: usize) {
        if self.posts[index].is_dismissed || !matches!(self.course, Course::Running) {
            return self.abandon_doors(now, index);
        }
        let id = self.take_id();
        self.schedule(now, index, id, self.posts[index].pace.remaining(now));
    }

    /// What follows a worker that nobody asked to leave.
    pub(super) fn replace(&mut self, now: Instant, index: usize, process: &Process, status: ExitStatus) {
        // How one ends that was told to because it failed says nothing: it may catch the signal, and exit with 0.
        let is_restarted = match self.settings.restart {
            Restart::Always | Restart::OnFailure if process.has_failed() => true,
            Restart::Always | Restart::OnFailure | Restart::Never => self.is_restarted(status),
        };
        let is_followed = self.settings.manual || is_restarted;
        if is_followed && self.succeed_early(index) {
            return;
        }
        let healthy = process.ready_since.is_some();
        self.failed(now, process, &status.to_string());
        if !healthy {
            self.posts[index].ended_unready(status.to_string());
            if self.give_up_if_never_ready(now) {
                return;
            }
        }
        if is_followed {
            self.restart(now, index, healthy);
        } else {
            self.posts[index].pace.died(now, healthy, &self.settings.backoff, &mut self.jitter);
            self.leave_step(now, index);
            self.posts[index].state = PostState::Retired(status);
            self.abandon_doors(now, index);
        }
    }

    /// The slot's worker has ended unasked, or is about to. `healthy`: it was ready once.
    pub(super) fn restart(&mut self, now: Instant, index: usize, healthy: bool) {
        let delay = self.posts[index].pace.died(now, healthy, &self.settings.backoff, &mut self.jitter);
        if self.settings.manual {
            return;
        }
        if self.budget.exceeded_by_restart_at(now) {
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
            self.wait_out(now, index, delay);
        }
        self.posts[index].is_dismissed = false;
        self.posts[index].state = PostState::Due { id, at: now + delay, awaits: Awaits::Time };
    }
}
