//! One supervisor under the referee's eyes, with a clock that the test moves.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

pub(super) use super::input::Input;
use super::referee::{At, Referee, Verdict};
use crate::{
    config::{Rollout, Settings},
    error::{Error, Kind},
    event::{Address, Event, WorkerInfo, WorkerRef},
    id::{Slot, WorkerId},
    supervisor::{Action, Heard, Look, Outcome, Supervisor, post::Post},
};

/// What performs actions. Its answers are inputs of the same turn.
pub(super) trait Kernel {
    fn perform(&mut self, now: At, action: &Action) -> Vec<Input>;

    /// What the seats of these workers show, and the queues of these doors.
    fn look(&mut self, now: At, seats: &[WorkerId], doors: &[Place]) -> Look;

    /// Workers that are forked from now on have one address more.
    fn address_added(&mut self) {}
}

/// Of a door: slot and address.
pub(super) type Place = (usize, usize);

pub(super) struct Rig<K> {
    pub(super) kernel: K,
    pub(super) now: At,
    pub(super) events: Vec<Event>,
    pub(super) outcome: Option<Outcome>,
    supervisor: Supervisor,
    /// Events that had not to wait for others.
    said: VecDeque<Event>,
    referee: Referee,
    base: Instant,
    /// Of addresses, those that are gone included.
    places: usize,
    /// Prints every input and action.
    trace: bool,
}

impl<K: Kernel> Rig<K> {
    /// Not started yet.
    pub(super) fn new(settings: Settings, addresses: usize, seed: u64, kernel: K) -> Self {
        let addresses: Vec<Address> = (0..addresses).map(address).collect();
        let (settings, base, places) = (settings.bounded(), Instant::now(), addresses.len());
        Self {
            kernel,
            now: Duration::ZERO,
            events: Vec::new(),
            outcome: None,
            supervisor: Supervisor::new(settings.clone(), MASTER, addresses.clone(), seed),
            said: VecDeque::new(),
            referee: Referee::new(settings, addresses, base),
            base,
            places,
            trace: false,
        }
    }

    pub(super) fn traced(self, trace: bool) -> Self {
        Self { trace, ..self }
    }

    /// Starts the cluster and performs what follows.
    pub(super) fn start(&mut self) -> Verdict {
        self.referee.begins(self.now);
        self.supervisor.handle_start(self.base + self.now);
        self.settle()
    }

    /// Hands in one input; a request is performed before this returns, everything else with `settle`.
    pub(super) fn feed(&mut self, input: Input) -> Verdict {
        let is_request = input.is_request();
        if is_request {
            self.perform()?;
        }
        self.say(&input);
        if self.referee.knows(&input) {
            self.changes_what_it_must(input)?;
        } else {
            self.changes_nothing(input)?;
        }
        if is_request { self.perform() } else { Ok(()) }
    }

    /// The rest of a turn: deadlines, actions, and the referee's look at the result.
    pub(super) fn settle(&mut self) -> Verdict {
        // Deadlines of zero length need a turn each (ask, terminate, kill), and so do slots that wait for threads to
        // end.
        for _ in 0..16 {
            self.look()?;
            self.referee.sees_who_could_take(self.now);
            self.supervisor.handle_timeout(self.base + self.now);
            self.rolled()?;
            self.perform()?;
            let timeout = self.timeout();
            if timeout.is_none_or(|at| at > self.now) {
                self.referee.knows_who_was_asked(|id| self.supervisor.is_asked(id))?;
                return self.referee.settled(self.now, timeout, self.supervisor.workers());
            }
        }
        Err(format!("poll_timeout stays at {:?}: the master would spin", self.timeout()))
    }

    /// The program has taken all events.
    pub(super) fn idle(&mut self) -> Verdict {
        self.referee.idles();
        self.supervisor.handle_idle();
        self.perform()?;
        if self.referee.is_over() != self.referee.is_finished() {
            return Err("nothing lives and nothing is due, and there is no finish".to_owned());
        }
        Ok(())
    }

    /// Goes to this moment, with the looks that are due on the way, but no more than this many.
    pub(super) fn goes_to(&mut self, then: At, mut looks: usize) -> Verdict {
        while let Some(at) = self.looks_at().filter(|at| *at < then && looks > 0) {
            self.now = self.now.max(at);
            looks -= 1;
            self.settle()?;
        }
        self.now = then;
        Ok(())
    }

    pub(super) fn timeout(&self) -> Option<At> {
        self.supervisor.poll_timeout().map(|at| self.at(at))
    }

    /// The next one that is not a look.
    pub(super) fn deadline(&self) -> Option<At> {
        let posts = self.supervisor.posts.iter().filter_map(Post::deadline);
        posts.chain(self.supervisor.rollout_deadline()).min().map(|at| self.at(at))
    }

    pub(super) fn looks_at(&self) -> Option<At> {
        self.supervisor.watch.next().map(|at| self.at(at))
    }

    fn at(&self, instant: Instant) -> At {
        instant.saturating_duration_since(self.base)
    }

    /// If one is due.
    fn look(&mut self) -> Verdict {
        if self.supervisor.is_look_due(self.base + self.now) {
            self.perform()?;
        }
        if !self.supervisor.is_look_due(self.base + self.now) {
            return Ok(());
        }
        let living = self.workers().into_iter().filter(|worker| worker.state.is_alive());
        let seats: Vec<WorkerId> = living.map(|worker| worker.id).collect();
        let look = self.kernel.look(self.now, &seats, &self.referee.doors());
        self.say(&(&look.seats, &look.queues));
        self.referee.look(self.now, &look)?;
        self.supervisor.handle_look(self.base + self.now, &look);
        Ok(())
    }

    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        self.supervisor.workers().collect()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.referee.is_finished()
    }

    pub(super) fn target(&self) -> usize {
        self.supervisor.target()
    }

    pub(super) fn is_rolling(&self) -> bool {
        self.referee.is_rolling()
    }

    fn changes_what_it_must(&mut self, input: Input) -> Verdict {
        if input == Input::AddressAdded {
            self.kernel.address_added();
        }
        self.referee.sees_who_could_take(self.now);
        self.referee.input(self.now, &input);
        self.referee.sees_who_could_take(self.now);
        let answer = self.hand_in(input);
        if let Input::Spawned(id, _) = input {
            self.referee.limited(id, self.supervisor.limits(id))?;
        }
        self.pass_on()?;
        match answer {
            Err(error) if input == Input::Fork && !error.is_would_block() => {
                return Err(format!("fork() fails with {error}, not with WouldBlock"));
            }
            answer if input == Input::Fork => self.referee.fork_answered(self.now, answer.ok().flatten())?,
            answer => answer.map(drop).map_err(|error| format!("{input:?} was refused: {error}"))?,
        }
        let turns = matches!(input, Input::Fork | Input::Scale(_) | Input::Rollout(_) | Input::AddressRemoved(_));
        if turns { self.rolled() } else { Ok(()) }
    }

    fn rolled(&mut self) -> Verdict {
        self.referee.rolled(self.now, &self.supervisor.actions)
    }

    /// The answer, for `Fork` with the id.
    fn hand_in(&mut self, input: Input) -> Result<Option<WorkerId>, Error> {
        if input.is_request() { self.request(input) } else { self.report(input).map(|()| None) }
    }

    fn report(&mut self, input: Input) -> Result<(), Error> {
        let (now, supervisor) = (self.base + self.now, &mut self.supervisor);
        match input {
            Input::Spawned(id, pid) => supervisor.handle_spawned(now, id, pid),
            Input::SpawnFailed(id, failure) => {
                supervisor.handle_spawn_failed(now, id, failure, Error::new(Kind::System, "fork"));
            }
            Input::Online(id) => supervisor.handle_online(now, id),
            Input::Listening(id, address) if self.referee.has_door(address) => {
                supervisor.handle_listening(now, id, address)
            }
            Input::Listening(id, address) => supervisor.handle_opened(now, id, address),
            Input::ListenerClosed(id, address) => supervisor.handle_closed(now, id, address),
            Input::Ready(id) => supervisor.handle_ready(now, id),
            Input::Said(id) => {
                let info = supervisor.workers().find(|info| info.id == id);
                let (slot, pid) = info.map_or((Slot::ZERO, 0), |info| (info.slot, info.pid));
                let message = Event::Message { worker: WorkerRef { slot, id, pid }, message: "".into() };
                match supervisor.handle_said(now, id) {
                    Heard::Nobody => {}
                    Heard::AtOnce => self.said.push_back(message),
                    Heard::Behind => supervisor.announce(message),
                }
            }
            Input::Leaving(id) => supervisor.handle_leaving(now, id),
            Input::Retires(id) => supervisor.handle_retires(now, id),
            Input::Parted(id, steered) => supervisor.handle_parted(now, id, steered),
            Input::Deaf(id) => supervisor.handle_deaf(now, id),
            Input::Stirred => supervisor.handle_stirred(now),
            Input::Returned(id, loan) => supervisor.handle_returned(now, id, loan),
            Input::ChannelClosed(id) => supervisor.handle_channel_closed(now, id),
            Input::Exited(id, status) => supervisor.handle_exited(now, id, status),
            Input::Worn(id, why) => supervisor.handle_worn(now, id, why),
            Input::Fork | Input::Drain(_) | Input::Kill(..) | Input::Stop(..) => {}
            Input::Scale(_) | Input::Rollout(_) | Input::ReloadFailed => {}
            Input::AddressAdded | Input::AddressRemoved(_) => {}
        }
        Ok(())
    }

    fn request(&mut self, input: Input) -> Result<Option<WorkerId>, Error> {
        let (now, supervisor) = (self.base + self.now, &mut self.supervisor);
        match input {
            Input::Stop(how, by) => supervisor.handle_stop(now, how, by),
            Input::Scale(workers) => supervisor.handle_scale(now, workers)?,
            Input::Rollout(plan) => {
                supervisor.may_roll(&plan)?;
                supervisor.handle_rollout(now, plan);
            }
            Input::ReloadFailed => {
                supervisor.may_roll(&Rollout::new())?;
                supervisor.handle_reload_failed(Error::new(Kind::System, "on_reload"));
            }
            Input::AddressAdded if supervisor.may_grow("").is_ok() => {
                supervisor.handle_address_added(address(self.places));
                self.places += 1;
            }
            Input::AddressAdded => {}
            Input::AddressRemoved(place) => supervisor.handle_address_removed(now, place),
            Input::Fork => return supervisor.handle_fork(now).map(Some),
            Input::Drain(id) => supervisor.handle_drain(now, id)?,
            Input::Kill(id, signal) => supervisor.handle_kill(now, id, signal)?,
            Input::Spawned(..) | Input::SpawnFailed(..) | Input::Online(_) | Input::Listening(..) => {}
            Input::ListenerClosed(..) | Input::Ready(_) | Input::Said(_) | Input::Leaving(_) | Input::Deaf(_) => {}
            Input::ChannelClosed(_) | Input::Exited(..) | Input::Retires(_) | Input::Parted(..) => {}
            Input::Worn(..) => {}
            Input::Stirred | Input::Returned(..) => {}
        }
        Ok(None)
    }

    fn changes_nothing(&mut self, input: Input) -> Verdict {
        let before = (self.supervisor.poll_timeout(), self.workers(), self.supervisor.actions.len());
        let answer = self.hand_in(input);
        let after = (self.supervisor.poll_timeout(), self.workers(), self.supervisor.actions.len());
        if before != after || !self.said.is_empty() {
            return Err(format!("{input:?} is about nothing that lives and changed something"));
        }
        match (input, answer) {
            (Input::Fork | Input::Drain(_) | Input::Kill(..) | Input::ReloadFailed, Ok(_)) => {
                Err(format!("{input:?} must be refused as gone"))
            }
            (Input::Scale(_) | Input::Rollout(_), Ok(_)) => Err(format!("{input:?} must be refused")),
            (Input::Scale(_) | Input::Rollout(_), Err(error)) if error.is_invalid_config() => Ok(()),
            (_, Err(error)) if !error.is_gone() => Err(format!("{input:?} is refused, but not as gone: {error}")),
            (_, Ok(_) | Err(_)) => Ok(()),
        }
    }

    fn perform(&mut self) -> Verdict {
        self.pass_on()?;
        while let Some(action) = self.supervisor.poll_action() {
            self.say(&action);
            self.referee.action(self.now, &action)?;
            let answers = self.kernel.perform(self.now, &action);
            match action {
                Action::Emit(event) => self.events.push(event),
                Action::Finish(outcome) => self.outcome = Some(outcome),
                Action::Spawn { .. } | Action::Part { .. } | Action::Ask { .. } | Action::Signal { .. } => {}
                Action::Stay { .. } | Action::Shut { .. } | Action::Refuse | Action::Note { .. } => {}
                Action::Steer { .. } | Action::Lend { .. } | Action::TakeBack { .. } => {}
                Action::Nudge { .. } | Action::Doze(_) => {}
            }
            for answer in answers {
                self.feed(answer)?;
            }
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Verdict {
        while let Some(event) = self.said.pop_front() {
            let action = Action::Emit(event);
            self.referee.action(self.now, &action)?;
            if let Action::Emit(event) = action {
                self.events.push(event);
            }
        }
        Ok(())
    }

    fn say(&self, what: &dyn std::fmt::Debug) {
        if self.trace {
            println!("{:>12.3?} {what:?}", self.now);
        }
    }
}

/// The master's process id.
pub(super) const MASTER: u32 = 100;

/// Of this place.
pub(super) fn address(place: usize) -> Address {
    Address::new("".into(), SocketAddr::from(([127, 0, 0, 1], 8000 + place as u16)))
}
