//! From the supervisor's actions to processes, signals and events.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{End, Master, TARGET, crew::Child, fork, reactor::Ready};
use crate::{
    birth::Birth,
    channel::Channel,
    error::{Error, Kind, Result},
    event::{Event, ExitStatus},
    id::{Signal, Slot, WorkerId},
    scoreboard::{LAYOUT, Seat},
    steering::Away,
    supervisor::{Action, Outcome, SpawnFailure, Surrender, Why},
    sys::{
        fork::{Forked, Refused},
        owned::Owned,
        pidfd::PidFd,
    },
    wire::{Frame, Leave},
};

impl Master {
    /// Performs everything that the supervisor wants, then sets the timer.
    pub(super) fn act(&mut self, mut now: Instant) -> Result<()> {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Spawn { slot, id } => {
                    self.spawn(now, slot, id);
                    // The program's hook takes its time.
                    now = Instant::now();
                }
                Action::Part { slot, id } => self.part(now, slot, id),
                Action::Stay { slot } => self.custody.steer_back(slot, Away::Leaves),
                Action::Steer { slot, away: true } => drop(self.custody.steer_away(slot, Away::Missed)),
                Action::Steer { slot, away: false } => self.custody.steer_back(slot, Away::Missed),
                Action::Lend { loan, slot, address, to } => self.lend(now, loan, (slot, address), to),
                Action::Nudge { id } => self.answer(id, &Frame::Look),
                Action::TakeBack { loan, from } => self.answer(from, &Frame::TakeBack { loan }),
                Action::Doze(on) => self.doze(now, on),
                Action::Ask { id, within, leave } => self.ask(now, id, within, leave),
                Action::Signal { id, signal, why } => self.signal(id, signal, why),
                Action::Shut { slot, address, why } => self.shut(slot, address, why),
                Action::Refuse => self.refuse_newcomers(),
                Action::Note { worker, what } => self.report.note(&worker, &what),
                Action::Emit(event) => self.emit(now, event),
                Action::Finish(outcome) => self.finish(now, outcome),
            }
        }
        for place in self.custody.strangers() {
            self.emit(now, Event::Stranger { address: self.ports.address_at(place) });
        }
        self.report.rollout_waits(self.supervisor.rollout_waits(now));
        self.set_alarm(now)
    }

    /// As `act`, for a command: what it causes can be taken at once.
    pub(super) fn act_at_once(&mut self, now: Instant) -> Result<()> {
        self.check_process()?;
        self.act(now)?;
        self.ring()
    }

    pub(super) fn set_alarm(&mut self, now: Instant) -> Result<()> {
        let deadlines = [self.supervisor.poll_timeout(), self.mail.requests.deadline(), self.held_until(now)];
        self.reactor.arm(deadlines.into_iter().flatten().min(), now)
    }

    fn spawn(&mut self, now: Instant, slot: Slot, id: WorkerId) {
        // Counting threads takes time when there are some: once per turn is enough.
        let forked = match self.threads_seen {
            Some((at, running)) if at == now => Err(Refused::Threads(running)),
            Some(_) | None => self.fork_worker(slot, id),
        };
        match forked {
            Ok((pid, Some(child))) => {
                self.crew.insert(id, child);
                // If the slot was left, it is no more.
                self.custody.steer_back(slot, Away::Leaves);
                self.supervisor.handle_spawned(now, id, pid);
                self.gauge(now, id);
            }
            Ok((pid, None)) => {
                self.supervisor.handle_spawned(now, id, pid);
                self.supervisor.handle_exited(now, id, ExitStatus::unknown());
            }
            Err(Refused::Threads(running)) => {
                self.threads_seen = Some((now, running));
                let error = threads_run("forking a worker", running);
                self.supervisor.handle_spawn_failed(now, id, SpawnFailure::Threads, error);
            }
            Err(Refused::System(error)) => {
                self.supervisor.handle_spawn_failed(now, id, SpawnFailure::Refused, not_forked(error));
            }
        }
    }

    /// No child: it ended, and somebody else reaped it, before it could be looked at.
    fn fork_worker(&mut self, slot: Slot, id: WorkerId) -> std::result::Result<(u32, Option<Child>), Refused> {
        if let Some(hook) = &mut self.before_fork {
            hook(slot);
        }
        let (mut ours, theirs) = Channel::pair()?;
        let seat = self.seats.take(slot, id).ok_or(io::Error::from(io::ErrorKind::StorageFull))?;
        ours.count_frames(seat.share());
        let hello = ours.send(&Frame::hello(LAYOUT, self.process), &[]);
        match hello.map_err(Refused::System).and_then(|()| self.sacrifice.fork(fork::fork)) {
            Ok(Forked::Child) => self.be_born(slot, id, theirs, seat),
            Ok(Forked::Parent { pid, pidfd: Some(pidfd) }) => Ok(self.adopt(slot, id, pid, pidfd, ours, seat)?),
            Ok(Forked::Parent { pid, pidfd: None }) => {
                seat.has_pid(pid);
                self.seats.give_back(seat);
                Ok((pid, None))
            }
            Err(refused) => {
                self.seats.give_back(seat);
                Err(refused)
            }
        }
    }

    /// In the child.
    fn be_born(&mut self, slot: Slot, id: WorkerId, channel: Channel, seat: Seat) -> ! {
        self.forget_descriptors();
        let birth = Birth {
            slot,
            id,
            master: self.process,
            channel,
            seat: seat.share(),
            binds: Arc::clone(self.ports.binds()),
            owner: self.ports.owner(),
            custody: self.custody.is_on(),
            doors: self.doors_of(slot),
            drain_timeout: self.drain_timeout,
        };
        // Never dropped: its place is the master's.
        std::mem::forget(seat);
        let launch = self.launch.take();
        // The worker's own panics are caught in there; whatever else unwinds, a logger's for one, must not reach the
        // caller's frames.
        let code = catch_unwind(AssertUnwindSafe(|| launch.map_or(1, |launch| launch(birth))));
        fork::exit_now(code.unwrap_or_else(|panic| {
            // Its destructor is the program's, too.
            std::mem::forget(panic);
            101
        }))
    }

    /// In the child: what it finds open. A socket whose address is gone is left to those who still have it.
    fn doors_of(&mut self, slot: Slot) -> Vec<(usize, Owned)> {
        let doors = [self.custody.inheritance(slot), self.ports.inheritance()].into_iter().flatten();
        doors.filter(|(place, _)| !self.ports.is_removed(*place)).collect()
    }

    /// Watches the new child; if that fails it must not live unwatched.
    fn adopt(
        &mut self,
        slot: Slot,
        id: WorkerId,
        pid: u32,
        pidfd: PidFd,
        channel: Channel,
        seat: Seat,
    ) -> io::Result<(u32, Option<Child>)> {
        seat.has_pid(pid);
        let watched =
            self.reactor.add(&pidfd, Ready::Child(id)).and_then(|()| self.reactor.add(&channel, Ready::Channel(id)));
        let child = Child::new(slot, pid, pidfd, channel, seat);
        match watched {
            Ok(()) => Ok((pid, Some(child))),
            Err(error) => {
                child.kill_and_reap();
                self.seats.give_back(child.into_seat());
                Err(error)
            }
        }
    }

    fn part(&mut self, now: Instant, slot: Slot, id: WorkerId) {
        let steered = self.custody.steer_away(slot, Away::Leaves);
        self.supervisor.handle_parted(now, id, steered);
    }

    fn ask(&mut self, now: Instant, id: WorkerId, within: Duration, leave: Leave) {
        let Some(child) = self.crew.get_mut(&id) else { return };
        if !child.seat().is_aware() {
            // It may look in the next moment, and then wants to know what becomes of its sockets. What cannot be sent is
            // told by the signal alone.
            let _ = child.send(&Frame::Drain { within, leave }, &[]);
            self.flush(id);
            return self.supervisor.handle_deaf(now, id);
        }
        child.within = Some(within);
        let leaving = child.seat().is_draining();
        let knows = leaving || child.leaves;
        child.seat().drain();
        let sent = if child.is_stuck() { Ok(()) } else { child.send(&Frame::Drain { within, leave }, &[]) };
        match sent {
            Ok(()) => {
                self.flush(id);
                // What it does not read cannot tell it; its handler of SIGTERM does, and wakes it. Nobody need tell it
                // twice.
                if !leaving && self.crew.get(&id).is_some_and(Child::is_stuck) {
                    self.signal(id, Signal::TERM, Why::Stuck);
                }
            }
            // It knows by itself, or from a TERM to the group for one, and has closed its channel: it is on its way
            // out, and a TERM from here would cut that short.
            Err(_) if knows => {}
            Err(error) => {
                log::debug!(target: TARGET, "asking worker {id}: {error}");
                self.supervisor.handle_deaf(now, id);
            }
        }
    }

    fn signal(&mut self, id: WorkerId, signal: Signal, why: Why) {
        let Some(child) = self.crew.get(&id) else { return };
        self.report.signalled(id, child.pid(), why, child.within);
        if signal == Signal::TERM {
            child.seat().term_asks(matches!(why, Why::Stuck | Why::Deaf));
        }
        match child.signal(signal) {
            Ok(()) => {}
            // It has ended; its pidfd tells.
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => {}
            Err(error) => log::error!(target: TARGET, "sending {signal} to worker {id} (pid {}): {error}", child.pid()),
        }
    }

    fn shut(&mut self, slot: Slot, address: usize, why: Surrender) {
        let shut = self.custody.give_up(slot, address);
        self.gave_up(slot, address, why, shut);
    }

    pub(super) fn gave_up(&self, slot: Slot, address: usize, why: Surrender, shut: io::Result<Option<u32>>) {
        let at = self.ports.address_at(address);
        match shut {
            Ok(Some(waiting)) => {
                self.seats.add_reset(slot, waiting);
                self.report.gave_up(slot, &at, why, waiting);
            }
            Ok(None) => {}
            Err(error) => log::error!(target: TARGET, "shutting the socket of slot {slot} at {at}: {error}"),
        }
    }

    /// The cluster stops. At doors of the workers' own, too, before these look into their queues for the last time.
    fn refuse_newcomers(&mut self) {
        self.ports.refuse();
        self.custody.refuse_all_newcomers();
    }

    pub(super) fn shut_all(&mut self) {
        let shut = self.custody.give_up_all();
        shut.into_iter().for_each(|(slot, waiting)| self.seats.add_reset(slot, waiting));
    }

    fn emit(&mut self, now: Instant, event: Event) {
        self.report.event(now, &event, self.crew.len());
        if let Event::Exit { worker, status, cause, .. } = event {
            self.seats.add_end(worker.slot, status, cause);
        }
        self.events.push(event);
    }

    /// In the child: those of messages that the program has not taken yet are the master's. Only read, as memory that
    /// is written must be copied.
    fn forget_descriptors(&mut self) {
        let queued = self.supervisor.events_mut().chain(self.events.events_mut());
        for event in queued {
            if let Event::Message { message, .. } | Event::Reply { result: Ok(message), .. } = event {
                drop(std::mem::take(&mut message.fds));
            }
        }
    }

    /// The last action: ports and signals are given back.
    fn finish(&mut self, now: Instant, outcome: Outcome) {
        self.report.finished(now, &outcome);
        self.shut_all();
        self.ports.give_back();
        if let Some(signals) = self.signals.take() {
            if let Err(error) = self.reactor.remove(&signals) {
                log::error!(target: TARGET, "forgetting signals: {error}");
            }
        }
        self.end = End::Result(outcome.into_result());
    }
}

/// Refuses early what no fork could do.
pub(super) fn only_thread(step: &str) -> Result<()> {
    fork::single_thread().map_err(|running| threads_run(step, running))
}

fn threads_run(step: &str, running: usize) -> Error {
    let text = format!(
        "{step}: this process runs {running} threads, and a fork copies only one (the others' locks would stay locked); start \
         threads inside the worker function (an async runtime too), or end them first"
    );
    Error::new(Kind::ThreadsRunning, text)
}

/// Names at start what would otherwise fail at every fork.
pub(super) fn kernel_suffices() -> Result<()> {
    let probe = PidFd::open(std::process::id()).map(drop);
    probe.map_err(|error| {
        let text = "the kernel refuses pidfd_open: Linux 5.10 or newer is needed, and a seccomp filter that lets the call through";
        Error::system(text, error)
    })
}

fn not_forked(error: io::Error) -> Error {
    let advice = match error.raw_os_error() {
        Some(nix::libc::EAGAIN) => "; the limit of processes is reached (`ulimit -u`, pids.max of the control group)",
        Some(nix::libc::ENOMEM) => "; the machine is out of memory",
        Some(nix::libc::EMFILE | nix::libc::ENFILE) => "; the master is out of descriptors (`ulimit -n`)",
        _other => "",
    };
    Error::system(format!("forking a worker failed, it is tried again{advice}"), error)
}

#[cfg(test)]
mod tests {
    use nix::libc::{EAGAIN, EMFILE, ENFILE, ENOMEM, EPERM};

    use super::*;

    #[test]
    fn a_fork_that_is_refused_says_what_there_is_too_little_of() {
        let text = |number| not_forked(io::Error::from_raw_os_error(number)).to_string();
        for (number, advice) in
            [(EAGAIN, "ulimit -u"), (ENOMEM, "out of memory"), (EMFILE, "ulimit -n"), (ENFILE, "ulimit -n")]
        {
            assert!(text(number).contains(advice), "{}", text(number));
        }
        assert_eq!(text(EPERM), "forking a worker failed, it is tried again");
    }
}
