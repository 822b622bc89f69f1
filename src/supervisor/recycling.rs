//! Recycling: a worker that has served for long enough is replaced, as in a rollout and by the same steps.
//!
//! One at a time, the oldest first. A rollout goes before and replaces it, too. If its successor fails the worker
//! serves on, and another one is tried later, after a delay that grows. Where workers leave first (a plan without
//! surge), nobody else is touched before the slot has one again that has proved itself.
//!
//! Races it settles: a worker that is worn while a rollout is under way waits for its end; one that dies, or leaves,
//! while its successor starts does so as in a rollout; what is said of a successor, or of a worker that leaves, changes
//! nothing, and is said again once it matters.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{
    Action, Course, Supervisor,
    action::Note,
    pace::{Jitter, Pace},
    post::Post,
    process::Phase,
    steps::{Goal, How, Running},
};
use crate::{
    config::{Backoff, Recycle, Rollout},
    id::WorkerId,
};

/// After how much service one worker is to be replaced: the rule, less the worker's own share of the jitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Limits {
    connections: Option<u64>,
    requests: Option<u64>,
    pub(super) age: Option<Duration>,
    memory: Option<u64>,
}

/// What has worn a worker; `Display` is what the log says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worn {
    Connections(u64),
    Requests(u64),
    Age(Duration),
    /// Bytes.
    Memory(u64),
}

/// How worn a process is.
pub(super) struct Wear {
    pub(super) limits: Limits,
    state: State,
    /// To replace it, that have failed.
    attempts: Pace,
}

#[derive(Clone, Copy)]
enum State {
    /// Until then at the latest.
    Fresh { until: Option<Instant> },
    /// It is to be replaced.
    Worn(Worn),
    /// The last attempt has failed.
    PutOff { why: Worn, until: Instant },
}

impl Limits {
    /// `share`: of the jitter, from 0 to 1.
    pub(super) fn new(rule: &Recycle, share: f64) -> Self {
        let factor = 1.0 - rule.jitter * share;
        let less = |most: u64| (most as f64 * factor).ceil() as u64;
        Self {
            connections: rule.connections.map(less),
            requests: rule.requests.map(less),
            age: rule.age.map(|most| most.mul_f64(factor)),
            memory: rule.memory,
        }
    }

    pub(crate) fn worn_by(&self, connections: u64, requests: u64) -> Option<Worn> {
        let reached = |count: u64, most: Option<u64>| most.is_some_and(|most| count >= most);
        if reached(connections, self.connections) {
            return Some(Worn::Connections(connections));
        }
        reached(requests, self.requests).then_some(Worn::Requests(requests))
    }

    /// Somebody has to look at its memory.
    pub(crate) fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Of so many bytes.
    pub(crate) fn worn_by_memory(&self, resident: u64) -> Option<Worn> {
        self.memory.is_some_and(|most| resident >= most).then_some(Worn::Memory(resident))
    }
}

impl fmt::Display for Worn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(count) => write!(f, "has served {count} connections"),
            Self::Requests(count) => write!(f, "has answered {count} requests"),
            Self::Age(age) => write!(f, "has run for {age:.1?}"),
            Self::Memory(bytes) => write!(f, "has {} MiB of memory", bytes >> 20),
        }
    }
}

impl Wear {
    pub(super) fn new(forked: Instant, limits: Limits) -> Self {
        let until = limits.age.map(|age| forked + age);
        Self { limits, state: State::Fresh { until }, attempts: Pace::default() }
    }

    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.state, State::Fresh { .. })
    }

    /// It is to be replaced now.
    fn is_due(&self) -> Option<Worn> {
        match self.state {
            State::Worn(why) => Some(why),
            State::Fresh { .. } | State::PutOff { .. } => None,
        }
    }

    /// When time alone makes it so.
    fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Fresh { until } => until,
            State::PutOff { until, .. } => Some(until),
            State::Worn(_) => None,
        }
    }

    fn time_passed(&mut self, now: Instant, forked: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.state = match self.state {
                State::Fresh { .. } => State::Worn(Worn::Age(now.saturating_duration_since(forked))),
                State::PutOff { why, .. } | State::Worn(why) => State::Worn(why),
            };
        }
    }

    /// Returns for how long.
    fn put_off(&mut self, now: Instant, rule: &Backoff, jitter: &mut Jitter) -> Duration {
        let delay = self.attempts.start_failed(now, rule, jitter);
        if let State::Worn(why) = self.state {
            self.state = State::PutOff { why, until: now + delay };
        }
        delay
    }
}

impl Supervisor {
    /// This worker has reached one of its [limits](Self::limits). Said again as long as it is so: only a worker that is
    /// ready and has its slot is replaced.
    pub(crate) fn handle_worn(&mut self, now: Instant, id: WorkerId, why: Worn) {
        let mut holders = self.posts.iter_mut().filter_map(Post::holder_mut);
        let Some(holder) = holders.find(|holder| holder.worker.id == id) else { return };
        if matches!(holder.phase, Phase::Ready) && holder.wear.is_fresh() {
            holder.wear.state = State::Worn(why);
            self.look_soon(now);
        }
    }

    /// Its own; none if there is no such worker.
    pub(crate) fn limits(&self, id: WorkerId) -> Limits {
        let mut all = self.posts.iter().flat_map(Post::processes);
        all.find(|process| process.worker.id == id).map_or(Limits::default(), |process| process.wear.limits)
    }

    /// At the begin of a turn's end.
    pub(super) fn wear_by_time(&mut self, now: Instant) {
        for holder in self.posts.iter_mut().filter_map(Post::holder_mut) {
            if matches!(holder.phase, Phase::Ready) {
                holder.wear.time_passed(now, holder.forked);
            }
        }
    }

    pub(super) fn wear_deadline(&self) -> Option<Instant> {
        let ready = self.posts.iter().filter(|post| post.is_ready()).filter_map(Post::live);
        ready.filter_map(|holder| holder.wear.deadline()).min()
    }

    /// If nothing else is under way.
    pub(super) fn begin_recycling(&mut self) {
        let is_free = !self.rollouts.is_busy() && matches!(self.course, Course::Running);
        if is_free && (0..self.posts.len()).any(|index| self.worn(index).is_some()) {
            let Rollout { surge, settle, .. } = self.settings.rollout;
            let beside = surge.min(1);
            let plan = Rollout { surge: beside, max_unavailable: 1 - beside, settle, canary: 0 };
            self.rollouts.running = Some(Running::new(Goal::Recycling, plan));
        }
    }

    /// The slot's worker is to be replaced now.
    pub(super) fn worn(&self, index: usize) -> Option<Worn> {
        self.posts[index].live().filter(|_| self.posts[index].is_ready()).and_then(|holder| holder.wear.is_due())
    }

    /// For the log: a step begins.
    pub(super) fn note_worn(&mut self, index: usize, goal: Goal) {
        let worn = self.worn(index).filter(|_| goal == Goal::Recycling);
        if let (Some(holder), Some(why)) = (self.posts[index].live(), worn) {
            let worker = holder.worker;
            self.actions.push_back(Action::Note { worker, what: Note::Worn(why) });
        }
    }

    /// The successor has failed, or will not be there. In a renewal there is nobody who could serve on: the slot is
    /// filled again as after any other end, and the step lasts until then.
    pub(super) fn put_off(&mut self, now: Instant, index: usize, why: String) {
        if !self.has_step(index, How::Succession) {
            return;
        }
        self.leave_step(now, index);
        let Some(holder) = self.posts[index].holder_mut() else { return };
        let again = holder.wear.put_off(now, &self.settings.backoff, &mut self.jitter);
        let worker = holder.worker;
        self.actions.push_back(Action::Note { worker, what: Note::PutOff { why, again } });
    }
}
