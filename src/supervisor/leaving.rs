//! How one worker leaves: part → ask → terminate → kill.
//!
//! A worker that leaves its slot for good first parts: newcomers are led past its doors while it serves on, so that
//! handshakes on their way to it are answered. Then it is asked to drain, and when it has left a door that is shut. One
//! that has no door of its own, or that newcomers cannot be led past, is asked at once, and shuts its sockets itself: the
//! time between its last look into the queue and the end of the socket is shortest so.

use std::time::{Duration, Instant};

use super::{Action, Course, Supervisor, Why, post::Role, process::Phase, steps::How};
use crate::{
    event::{Cause, Event, ExitStatus},
    id::{Signal, Slot, WorkerId},
    wire::Leave,
};

impl Supervisor {
    /// The worker says that it leaves; it counts as asked, and the drain is the master's word.
    pub(crate) fn handle_leaving(&mut self, now: Instant, id: WorkerId) {
        let Some(index) = self.hear(now, id) else { return };
        if self.process_mut(id).is_some_and(|process| !process.is_leaving()) {
            self.let_go(now, index, id, Cause::Asked);
        }
    }

    /// The worker is to leave though nobody has asked it here: somebody has sent it SIGTERM by hand. If it is to be
    /// replaced when it has ended, that need not wait: its successor starts beside it. Otherwise newcomers are led past it.
    pub(crate) fn handle_retires(&mut self, now: Instant, id: WorkerId) {
        let deadline = now + self.settings.drain_timeout;
        let Some(index) = self.hear(now, id).filter(|_| matches!(self.course, Course::Running)) else { return };
        if self.posts[index].role(id) == Some(Role::Successor) {
            return self.let_go(now, index, id, Cause::Rollout);
        }
        let Some(holder) = self.posts[index].holder_mut().filter(|holder| holder.worker.id == id) else { return };
        let healthy = holder.ready_since.is_some();
        if !holder.retires(now, deadline) {
            return;
        }
        let is_replaced = !self.settings.manual && self.is_restarted(ExitStatus::from_wait_status(0));
        let has_successor = self.has_step(index, How::Succession) && (self.settings.manual || is_replaced);
        if has_successor || is_replaced && self.has_seats() {
            self.posts[index].retire(now);
            if !self.succeed_early(index) {
                self.restart(now, index, healthy);
            }
            return self.release(now, index);
        }
        if !is_replaced {
            self.posts[index].is_dismissed = true;
            self.leave_step(now, index);
        }
        self.actions.push_back(Action::Part { slot: Slot::from_index(index), id });
    }

    /// If the slot has a worker that is ready, those whom a signal told to leave need not accept any longer.
    pub(super) fn release(&mut self, now: Instant, index: usize) {
        if !self.posts[index].is_attended() {
            return;
        }
        let former = self.posts[index].former.iter_mut();
        let told = former.filter_map(|process| Some((process.worker.id, process.release(now)?)));
        let told: Vec<_> = told.collect();
        for (id, within) in told {
            self.actions.push_back(Action::Ask { id, within, leave: Leave::HandOver });
        }
    }

    /// For one process more, beside those that the slots may have.
    fn has_seats(&self) -> bool {
        self.posts.len() + self.lingering() < self.settings.processes()
    }

    /// Newcomers are led past the worker that is to leave, or they cannot be.
    pub(crate) fn handle_parted(&mut self, now: Instant, id: WorkerId, steered: bool) {
        let Some(process) = self.process_mut(id) else { return };
        if !steered && matches!(process.phase, Phase::Parting { .. }) {
            self.ask_to_end(now, id);
        }
    }

    /// The worker could not be asked to drain: it is told by SIGTERM.
    pub(crate) fn handle_deaf(&mut self, now: Instant, id: WorkerId) {
        if self.stir(now, id).is_none() {
            return;
        }
        if self.process_mut(id).is_some_and(|process| matches!(process.phase, Phase::Asked { .. })) {
            self.terminate(now, id, Why::Deaf);
        }
    }

    /// The worker is to leave, and its slot with it, whatever it is there.
    pub(super) fn let_go(&mut self, now: Instant, index: usize, id: WorkerId, cause: Cause) {
        match self.posts[index].role(id) {
            Some(Role::Holder) => {
                self.posts[index].is_dismissed = true;
                self.leave_step(now, index);
                self.part(now, index, id, cause);
            }
            Some(Role::Successor) => {
                self.abort(now, index, format!("its successor, worker {id}, leaves before it was to take over"));
                self.discard_successor(now, index);
            }
            Some(Role::Former) | None => {}
        }
    }

    /// It leaves its slot for good, or before anybody takes its place.
    pub(super) fn part(&mut self, now: Instant, index: usize, id: WorkerId, cause: Cause) {
        let is_open = self.posts[index].doors.has_open(id) && matches!(self.course, Course::Running);
        let Some(process) = self.process_mut(id).filter(|process| !process.is_leaving()) else { return };
        if is_open {
            process.part(now, now + ON_THEIR_WAY, cause);
            self.actions.push_back(Action::Part { slot: Slot::from_index(index), id });
        } else {
            self.ask(now, id, self.settings.drain_timeout, Leave::Shut, cause);
        }
    }

    /// It need not leave after all, and has not been told yet.
    pub(super) fn stay(&mut self, now: Instant, index: usize, cause: Cause) {
        if self.posts[index].holder_mut().is_some_and(|holder| holder.stays(now, cause)) {
            self.actions.push_back(Action::Stay { slot: Slot::from_index(index) });
        }
    }

    /// Nobody else accepts at its sockets.
    pub(super) fn ask_to_end(&mut self, now: Instant, id: WorkerId) {
        self.ask(now, id, self.settings.drain_timeout, Leave::Shut, Cause::Asked);
    }

    /// Newcomers went elsewhere for a while.
    pub(super) fn ask_behind_others(&mut self, now: Instant, id: WorkerId) {
        self.ask(now, id, self.settings.drain_timeout, Leave::HandOver, Cause::Asked);
    }

    pub(super) fn ask(&mut self, now: Instant, id: WorkerId, within: Duration, leave: Leave, cause: Cause) {
        let Some(process) = self.process_mut(id) else { return };
        if let Some(within) = process.leave(now, now + within, cause) {
            self.actions.push_back(Action::Ask { id, within, leave });
        }
    }

    pub(super) fn terminate(&mut self, now: Instant, id: WorkerId, why: Why) {
        let deadline = now + self.settings.terminate_timeout;
        self.end(now, id, Phase::Terminated { deadline }, why);
    }

    /// It hangs, and is to show where.
    pub(super) fn dump(&mut self, now: Instant, id: WorkerId) {
        self.end(now, id, Phase::Aborted { deadline: now + DUMPS }, Why::Hung);
    }

    pub(super) fn kill(&mut self, now: Instant, id: WorkerId, why: Why) {
        self.end(now, id, Phase::Killed, why);
    }

    /// What it was told.
    pub(crate) fn is_asked(&self, id: WorkerId) -> bool {
        let mut processes = self.posts.iter().flat_map(|post| post.processes());
        processes.any(|process| process.worker.id == id && process.is_asked())
    }

    pub(super) fn disconnected(&mut self, now: Instant, id: WorkerId) {
        let Some(process) = self.process_mut(id) else { return };
        if process.disconnect() {
            let worker = process.worker;
            self.leave_doors(now, worker.slot.index(), id, None);
            self.forget_loans_to(id);
            self.emit(Event::Disconnect(worker));
        }
    }

    pub(super) fn not_ready(&mut self, now: Instant, index: usize, id: WorkerId) {
        let is_tried = self.posts[index].processes().any(|process| process.worker.id == id && self.is_tried(process));
        self.end(now, id, Phase::Killed, Why::NotReady);
        self.rollout_goes_on(now);
        if is_tried {
            let within = self.settings.ready_timeout;
            self.abort(now, index, format!("worker {id} was not ready within {within:?}; see what it logged"));
        }
    }

    fn end(&mut self, now: Instant, id: WorkerId, phase: Phase, why: Why) {
        let Some(process) = self.process_mut(id) else { return };
        let signal = match phase {
            Phase::Killed => Signal::KILL,
            Phase::Aborted { .. } => Signal::ABRT,
            Phase::Starting { .. } | Phase::Online { .. } | Phase::Ready | Phase::Parting { .. } => Signal::TERM,
            Phase::Asked { .. } | Phase::Terminated { .. } => Signal::TERM,
        };
        let cause = match why {
            Why::NotReady => Cause::NotReady,
            Why::Hung | Why::DumpOverdue => Cause::Hung,
            Why::Program | Why::Deaf | Why::Stuck | Why::AtOnce => Cause::Asked,
            Why::DrainOverdue | Why::TerminateOverdue => Cause::Asked,
        };
        if process.end(now, phase, cause) {
            self.actions.push_back(Action::Signal { id, signal, why });
        }
    }
}

/// For a core of some gigabytes, or a crash reporter.
const DUMPS: Duration = Duration::from_secs(10);

/// A client that knocked before newcomers were led elsewhere has sent the last packet of its handshake by then, also if
/// one packet was lost: the first retransmission of a SYN comes after a second.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);
