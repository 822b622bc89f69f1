//! One live worker process as the supervisor sees it.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{
    hang::Pulse,
    recycling::{Limits, Wear},
};
use crate::{
    event::{Cause, ExitStatus, State, WorkerInfo, WorkerRef},
    id::{RolloutId, Signal, Slot, WorkerId},
};

pub(super) struct Process {
    pub(super) worker: WorkerRef,
    pub(super) forked: Instant,
    /// The rollout that had begun last by then.
    pub(super) generation: RolloutId,
    pub(super) phase: Phase,
    /// When the phase as the user sees it began.
    since: Instant,
    /// Set once; a worker that was ready is healthy, however it ended.
    pub(super) ready_since: Option<Instant>,
    /// Where it listens, or has listened, and where it has yet to begin before it is ready; by place.
    listening: Vec<usize>,
    awaited: Vec<usize>,
    /// Where it accepts now.
    accepts: Vec<usize>,
    link: Link,
    /// It accepts on until its successor is ready, though a signal has told it to leave.
    awaits_word: bool,
    /// Why the supervisor wants it gone, if it does.
    cause: Option<Cause>,
    /// The different signals that the program has sent by `kill`.
    sent: Vec<Signal>,
    pub(super) pulse: Pulse,
    /// When it has declined to accept for another slot.
    declined: Option<Instant>,
    pub(super) wear: Wear,
}

/// What the worker is doing. Starting and leaving have deadlines; only `Killed` has none left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Starting {
        deadline: Instant,
    },
    Online {
        deadline: Instant,
    },
    Ready,
    /// Newcomers are led past it; it serves until then as if nothing had happened.
    Parting {
        deadline: Instant,
    },
    Asked {
        deadline: Instant,
    },
    Terminated {
        deadline: Instant,
    },
    /// It is to leave a core.
    Aborted {
        deadline: Instant,
    },
    Killed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Open,
    Closed,
}

impl Process {
    pub(super) fn new(slot: Slot, id: WorkerId, pid: u32, now: Instant, deadline: Instant) -> Self {
        Self {
            worker: WorkerRef { slot, id, pid },
            forked: now,
            generation: RolloutId::default(),
            phase: Phase::Starting { deadline },
            since: now,
            ready_since: None,
            listening: Vec::new(),
            awaited: Vec::new(),
            accepts: Vec::new(),
            link: Link::Open,
            awaits_word: false,
            cause: None,
            sent: Vec::new(),
            pulse: Pulse::default(),
            declined: None,
            wear: Wear::new(now, Limits::default()),
        }
    }

    /// Born with these addresses.
    pub(super) fn awaiting(self, awaited: Vec<usize>) -> Self {
        Self { awaited, ..self }
    }

    pub(super) fn of(self, generation: RolloutId) -> Self {
        Self { generation, ..self }
    }

    /// Replaced after that much service.
    pub(super) fn within(self, limits: Limits) -> Self {
        Self { wear: Wear::new(self.forked, limits), ..self }
    }

    /// True if it was news.
    pub(super) fn online(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Starting { deadline } => {
                self.enter(now, Phase::Online { deadline });
                true
            }
            Phase::Online { .. } | Phase::Ready | Phase::Parting { .. } => false,
            Phase::Asked { .. } | Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => false,
        }
    }

    /// True if it was news.
    pub(super) fn ready(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Online { .. } => {
                self.ready_since = Some(now);
                self.enter(now, Phase::Ready);
                true
            }
            Phase::Ready | Phase::Parting { .. } => false,
            Phase::Asked { .. } | Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => false,
        }
    }

    pub(super) fn accepts_at(&mut self, place: usize) {
        if !self.accepts.contains(&place) {
            self.accepts.push(place);
        }
    }

    /// At this address, or at all of them.
    pub(super) fn accepts_no_more(&mut self, place: Option<usize>) {
        self.accepts.retain(|accepts| place.is_some_and(|place| place != *accepts));
    }

    /// Where it does.
    pub(super) fn accepts(&self) -> &[usize] {
        &self.accepts
    }

    /// It does not accept for another slot.
    pub(super) fn declines(&mut self, now: Instant) {
        self.declined = Some(now);
    }

    /// Less than `ago`.
    pub(super) fn has_declined(&self, now: Instant, ago: Duration) -> bool {
        self.declined.is_some_and(|at| now.saturating_duration_since(at) < ago)
    }

    /// Notes the address. False if that is no news, or if it leaves anyway.
    pub(super) fn listens_at(&mut self, now: Instant, place: usize) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Online { .. } | Phase::Ready | Phase::Parting { .. } => {
                let news = !self.listening.contains(&place);
                if news {
                    self.change(now, |process| process.listening.push(place));
                    self.no_longer_awaits(place);
                }
                news
            }
            Phase::Asked { .. } | Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => false,
        }
    }

    /// It listens there, or the address is gone.
    pub(super) fn no_longer_awaits(&mut self, place: usize) {
        self.awaited.retain(|awaited| *awaited != place);
    }

    /// At all addresses that it was born with.
    pub(super) fn listens_everywhere(&self) -> bool {
        self.awaited.is_empty()
    }

    /// It runs worker code.
    pub(super) fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online { .. })
    }

    pub(super) fn is_leaving(&self) -> bool {
        match self.phase {
            Phase::Parting { .. } | Phase::Asked { .. } => true,
            Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => true,
            Phase::Starting { .. } | Phase::Online { .. } | Phase::Ready => false,
        }
    }

    /// It is to leave, and is asked at `deadline`.
    pub(super) fn part(&mut self, now: Instant, deadline: Instant, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.enter(now, Phase::Parting { deadline });
    }

    /// The reason is gone before it was asked. True if it goes on as one that is ready.
    pub(super) fn stays(&mut self, now: Instant, reason: Cause) -> bool {
        let is_told = !matches!(self.phase, Phase::Parting { .. });
        if is_told || self.cause != Some(reason) || self.ready_since.is_none() {
            return false;
        }
        self.cause = None;
        self.enter(now, Phase::Ready);
        true
    }

    /// It is asked to leave. How much time it has, if that is news to it: it may have less than it was told, or wait
    /// for the word.
    pub(super) fn leave(&mut self, now: Instant, deadline: Instant, cause: Cause) -> Option<Duration> {
        let (news, deadline) = match self.phase {
            Phase::Starting { .. } | Phase::Online { .. } | Phase::Ready | Phase::Parting { .. } => {
                self.cause.get_or_insert(cause);
                (true, deadline)
            }
            Phase::Asked { deadline: before } => {
                let awaits_word = mem::take(&mut self.awaits_word);
                (awaits_word || deadline < before, deadline.min(before))
            }
            Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => return None,
        };
        self.enter(now, Phase::Asked { deadline });
        news.then(|| deadline.saturating_duration_since(now))
    }

    /// It leaves of its own accord, and has until then. True if that is news.
    pub(super) fn retires(&mut self, now: Instant, deadline: Instant) -> bool {
        let news = !self.is_leaving();
        if news {
            self.awaits_word = true;
            self.enter(now, Phase::Asked { deadline });
        }
        news
    }

    /// It may stop accepting; how much time it has, if that is news to it.
    pub(super) fn release(&mut self, now: Instant) -> Option<Duration> {
        let Phase::Asked { deadline } = self.phase else { return None };
        mem::take(&mut self.awaits_word).then(|| deadline.saturating_duration_since(now))
    }

    /// It is to finish, or was told to end.
    pub(super) fn is_asked(&self) -> bool {
        match self.phase {
            Phase::Asked { .. } | Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => true,
            Phase::Starting { .. } | Phase::Online { .. } | Phase::Ready | Phase::Parting { .. } => false,
        }
    }

    /// It is ended because it was not ready in time, or hangs.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.cause, Some(Cause::NotReady | Cause::Hung))
    }

    /// The program does not want it any more, which counts more than any other reason.
    pub(super) fn dismiss(&mut self, cause: Cause) {
        if self.cause != Some(Cause::Asked) {
            self.cause = Some(cause);
        }
    }

    /// True unless it was already ordered.
    pub(super) fn end(&mut self, now: Instant, phase: Phase, cause: Cause) -> bool {
        let news = !matches!(self.phase, Phase::Killed);
        if news {
            self.cause.get_or_insert(cause);
            self.enter(now, phase);
        }
        news
    }

    pub(super) fn sent(&mut self, signal: Signal) {
        if !self.sent.contains(&signal) {
            self.sent.push(signal);
        }
    }

    /// Its channel is open, so what is said in its name comes from it.
    pub(super) fn is_connected(&self) -> bool {
        self.link == Link::Open
    }

    /// Of one that leaves.
    pub(super) fn leaving_since(&self) -> Instant {
        self.since
    }

    /// True if it was news.
    pub(super) fn disconnect(&mut self) -> bool {
        mem::replace(&mut self.link, Link::Closed) == Link::Open
    }

    pub(super) fn cause_of(&self, status: ExitStatus) -> Cause {
        let by_program = self.sent.iter().any(|sent| *sent == Signal::TERM || status.signal() == Some(*sent));
        match self.cause {
            Some(cause) => cause,
            None if by_program => Cause::Killed,
            None => Cause::Own,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { deadline }
            | Phase::Online { deadline }
            | Phase::Parting { deadline }
            | Phase::Asked { deadline }
            | Phase::Terminated { deadline }
            | Phase::Aborted { deadline } => Some(deadline),
            Phase::Ready | Phase::Killed => None,
        }
    }

    pub(super) fn info(&self) -> WorkerInfo {
        let WorkerRef { slot, id, pid } = self.worker;
        let state = match self.phase {
            Phase::Starting { .. } => State::Starting,
            Phase::Online { .. } if self.listening.is_empty() => State::Online,
            Phase::Online { .. } => State::Listening,
            Phase::Ready => State::Ready,
            Phase::Parting { .. } | Phase::Asked { .. } => State::Draining,
            Phase::Terminated { .. } | Phase::Aborted { .. } | Phase::Killed => State::Draining,
        };
        WorkerInfo { slot, id, pid, state, since: self.since }
    }

    /// What is left to say of it.
    pub(super) fn exited(&self, now: Instant) -> WorkerInfo {
        WorkerInfo { state: State::Exited, since: now, ..self.info() }
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.change(now, |process| process.phase = phase);
    }

    fn change(&mut self, now: Instant, change: impl FnOnce(&mut Self)) {
        let before = self.info().state;
        change(self);
        if self.info().state != before {
            self.since = now;
        }
    }
}
