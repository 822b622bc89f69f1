//! The supervisor: which worker is started, asked, terminated or killed, and when. A pure state machine.
//!
//! It owns no process, descriptor, thread or clock. The master feeds it what happened (`handle_*`, each with the time),
//! then performs what [`poll_action`](Supervisor::poll_action) yields until it yields nothing, and sleeps until
//! [`poll_timeout`](Supervisor::poll_timeout). Results of actions are inputs of the same turn. Order of a turn:
//!
//! 1. `handle_*` for everything that happened,
//! 2. [`handle_timeout`](Supervisor::handle_timeout),
//! 3. `poll_action` until `None`; performing `Spawn` and `Ask` may lead to further inputs,
//! 4. once the program has taken all events: [`handle_idle`](Supervisor::handle_idle), which alone ends a cluster. So a
//!    program that forks from its handler of the last `Exit` is never too late.
//!
//! Races it settles: an input for a worker that is gone changes nothing (ids are never reused); a spawn that completes
//! after a stop was requested is asked to leave at once; an exit that overtakes the channel's end still gives
//! `Disconnect` before `Exit`; a worker that skips a step (ready before online) is taken through the steps in order;
//! one that is to leave, or whose channel is closed, takes no further steps.

mod action;
mod addresses;
mod doors;
mod hang;
mod leaving;
mod loans;
mod pace;
mod post;
mod process;
mod recycling;
mod requests;
mod restart;
mod rollout;
mod said;
mod scale;
mod steps;
mod stop;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub(crate) use self::{
    action::{Action, Note, SpawnFailure, Why},
    doors::Surrender,
    recycling::{Limits, Worn},
    said::Heard,
    stop::Outcome,
    watch::{Look, Queue, Sight},
};
use self::{
    pace::{Budget, Jitter},
    post::{Awaits, First, Post, PostState, Role, Successor},
    process::{Phase, Process},
    rollout::Rollouts,
    steps::How,
    watch::Watch,
};
use crate::{
    config::Settings,
    error::Error,
    event::{Address, Event, Shutdown, WorkerInfo},
    id::{Signal, Slot, WorkerId},
};

/// Supervises the workers of one cluster; see the module for the order of calls.
pub(crate) struct Supervisor {
    settings: Settings,
    master: u32,
    /// By place; `None`: removed.
    addresses: Vec<Option<Address>>,
    posts: Vec<Post>,
    /// How many slots are to be filled, from the first on; all others are by hand, or to be left.
    target: usize,
    rollouts: Rollouts,
    watch: Watch,
    next_loan: u32,
    next_id: WorkerId,
    course: Course,
    milestone: Milestone,
    budget: Budget,
    jitter: Jitter,
    actions: VecDeque<Action>,
}

enum Course {
    Running,
    /// `signals`: those of the first request by signal, which came at `since`.
    Stopping {
        how: Shutdown,
        since: Instant,
        signals: Vec<Signal>,
        outcome: Outcome,
    },
    Finished,
}

/// Who was ever ready. Only rises.
#[derive(PartialEq, Eq, PartialOrd)]
enum Milestone {
    Nobody,
    Somebody,
    Everybody,
}

impl Supervisor {
    /// `master` is the master's process id and `addresses` the claimed addresses, both for events; `seed` drives the
    /// jitter.
    pub(crate) fn new(settings: Settings, master: u32, addresses: Vec<Address>, seed: u64) -> Self {
        let posts = (0..settings.slots()).map(|_| Post::new()).collect();
        let addresses = addresses.into_iter().map(Some).collect();
        let budget = Budget::new(settings.intensity);
        let (next_id, jitter) = (WorkerId::FIRST, Jitter::new(seed));
        let (course, milestone) = (Course::Running, Milestone::Nobody);
        let target = if settings.manual { 0 } else { settings.workers };
        Self {
            settings,
            master,
            addresses,
            posts,
            target,
            rollouts: Rollouts::default(),
            watch: Watch::new(),
            next_loan: 0,
            next_id,
            course,
            milestone,
            budget,
            jitter,
            actions: VecDeque::new(),
        }
    }

    /// Orders the first workers. Called once, first; with `manual` it orders none.
    pub(crate) fn handle_start(&mut self, now: Instant) {
        for index in 0..self.initial() {
            self.posts[index].first = First::Pending { deadline: now + self.settings.ready_timeout };
            let id = self.take_id();
            self.posts[index].state = PostState::Due { id, at: now, awaits: Awaits::Time };
        }
        self.handle_timeout(now);
    }

    /// The fork ordered by `Action::Spawn` has happened.
    pub(crate) fn handle_spawned(&mut self, now: Instant, id: WorkerId, pid: u32) {
        let Some((index, role)) = self.spawning(id) else { return };
        self.look_again(now);
        let process = Process::new(Slot::from_index(index), id, pid, now, now + self.settings.ready_timeout);
        let limits = Limits::new(&self.settings.recycle, self.jitter.share());
        let process = Box::new(process.awaiting(self.places()).of(self.rollouts.generation()).within(limits));
        self.emit(Event::Fork(process.worker));
        self.begin_watch(now);
        match role {
            Role::Holder | Role::Former => {
                self.posts[index].forked();
                self.posts[index].state = PostState::Live(process);
            }
            Role::Successor => self.posts[index].successor = Successor::Live(process),
        }
        match self.course {
            Course::Running => self.is_wanted(now, index, role),
            Course::Stopping { how: Shutdown::Drain, .. } => self.ask_to_end(now, id),
            Course::Stopping { how: Shutdown::Now, .. } | Course::Finished => self.kill(now, id, Why::AtOnce),
        }
    }

    /// The fork ordered by `Action::Spawn` was refused; the slot tries again later, but no rollout does.
    pub(crate) fn handle_spawn_failed(&mut self, now: Instant, id: WorkerId, failure: SpawnFailure, error: Error) {
        let Some((index, role)) = self.spawning(id) else { return };
        let slot = Slot::from_index(index);
        let text = format!("{error:?}");
        self.emit(Event::ForkFailed { slot, id, error });
        let how = match role {
            Role::Successor => How::Succession,
            Role::Holder | Role::Former => How::Renewal,
        };
        if self.has_step(index, how) {
            self.abort(now, index, format!("its worker could not be forked: {text}"));
        }
        self.rollout_goes_on(now);
        match role {
            Role::Successor => self.posts[index].successor = Successor::Nobody,
            Role::Holder | Role::Former => self.try_again(now, index, id, failure, text),
        }
    }

    fn try_again(&mut self, now: Instant, index: usize, id: WorkerId, failure: SpawnFailure, text: String) {
        self.posts[index].state = PostState::Vacant;
        if !matches!(self.course, Course::Running) || self.posts[index].is_dismissed {
            // Its doors were given up along with it.
            return;
        }
        match failure {
            SpawnFailure::Threads => {
                let at = now + THREADS_RETRY;
                self.posts[index].state = PostState::Due { id, at, awaits: Awaits::Threads };
            }
            SpawnFailure::Refused => {
                self.posts[index].refused(now, text);
                if !self.give_up_if_never_ready(now) {
                    let delay = self.posts[index].pace.start_failed(now, &self.settings.backoff, &mut self.jitter);
                    self.schedule(now, index, id, delay);
                }
            }
        }
    }

    /// The worker runs worker code.
    pub(crate) fn handle_online(&mut self, now: Instant, id: WorkerId) {
        if self.hear(now, id).is_some() {
            self.came_online(now, id);
        }
    }

    /// The worker says that it may be counted on.
    pub(crate) fn handle_ready(&mut self, now: Instant, id: WorkerId) {
        if self.hear(now, id).is_some() {
            self.came_online(now, id);
            self.became_ready(now, id);
        }
    }

    /// The worker's channel is closed.
    pub(crate) fn handle_channel_closed(&mut self, now: Instant, id: WorkerId) {
        if self.stir(now, id).is_some() {
            self.disconnected(now, id);
        }
    }

    /// Time has passed: starts what is due and acts on missed deadlines.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.roll(now);
        for index in 0..self.posts.len() {
            self.give_up_unattended(now, index);
            if self.posts[index].deadline().is_none_or(|at| at > now) {
                continue;
            }
            if matches!(self.posts[index].state, PostState::Due { at, .. } if at <= now) {
                self.spawn_due(index);
            }
            let overdue =
                self.posts[index].processes().filter(|process| process.deadline().is_some_and(|at| at <= now));
            let overdue: Vec<(WorkerId, Phase)> = overdue.map(|process| (process.worker.id, process.phase)).collect();
            for (id, phase) in overdue {
                match phase {
                    Phase::Starting { .. } | Phase::Online { .. } => self.not_ready(now, index, id),
                    Phase::Parting { .. } => self.ask_behind_others(now, id),
                    Phase::Asked { .. } => self.terminate(now, id, Why::DrainOverdue),
                    Phase::Terminated { .. } => self.kill(now, id, Why::TerminateOverdue),
                    Phase::Aborted { .. } => self.kill(now, id, Why::DumpOverdue),
                    Phase::Ready | Phase::Killed => {}
                }
            }
        }
    }

    /// The program has taken every event: if nothing lives and nothing is due, the cluster has ended.
    pub(crate) fn handle_idle(&mut self) {
        let begun = self.next_id > WorkerId::FIRST;
        let over = begun && self.posts.iter().all(Post::is_empty) && !self.rollouts.is_busy();
        let outcome = match &mut self.course {
            Course::Finished => return,
            Course::Stopping { .. } if !begun => Outcome::Stopped,
            Course::Stopping { outcome, .. } if over => std::mem::replace(outcome, Outcome::Stopped),
            Course::Running if over => self.retired(),
            Course::Running | Course::Stopping { .. } => return,
        };
        self.course = Course::Finished;
        self.end_watch();
        (0..self.posts.len()).for_each(|index| self.give_up_doors(index, Surrender::Left));
        self.actions.push_back(Action::Finish(outcome));
    }

    /// The next thing to do, in order.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` must be called at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let others = self.rollout_deadline().into_iter().chain(self.watch.next());
        self.posts.iter().filter_map(Post::deadline).chain(others).min()
    }

    /// In slot order: the live workers, and who ended by itself in a slot that is empty since.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerInfo> + '_ {
        self.posts.iter().flat_map(Post::info)
    }

    /// Whoever is due is forked now.
    fn spawn_due(&mut self, index: usize) {
        if let PostState::Due { id, .. } = self.posts[index].state {
            self.posts[index].state = PostState::Spawning { id };
            self.actions.push_back(Action::Spawn { slot: Slot::from_index(index), id });
        }
    }

    fn came_online(&mut self, now: Instant, id: WorkerId) {
        let Some(process) = self.process_mut(id) else { return };
        if process.online(now) {
            let worker = process.worker;
            self.emit(Event::Online(worker));
            self.ready_if_it_listens(now, id);
        }
    }

    fn became_ready(&mut self, now: Instant, id: WorkerId) {
        let Some(process) = self.process_mut(id) else { return };
        if !process.ready(now) {
            return;
        }
        let worker = process.worker;
        self.posts[worker.slot.index()].first = First::Settled;
        self.emit(Event::Ready(worker));
        self.release(now, worker.slot.index());
        if self.milestone == Milestone::Nobody {
            self.milestone = Milestone::Somebody;
        }
        self.announce_all_ready();
    }

    /// Once, when it is so.
    fn announce_all_ready(&mut self) {
        let initial = self.initial().min(self.target);
        let all = initial > 0 && self.posts[..initial].iter().all(Post::is_ready);
        if all && self.milestone < Milestone::Everybody {
            self.milestone = Milestone::Everybody;
            let addresses = self.addresses.iter().flatten().cloned().collect();
            self.emit(Event::AllReady { pid: self.master, addresses, workers: initial });
        }
    }

    /// Finds the live worker. Something has happened, so slots that wait for threads to end look again, and so does a
    /// rollout.
    fn stir(&mut self, now: Instant, id: WorkerId) -> Option<usize> {
        self.find(now, |process| process.worker.id == id)
    }

    /// As `stir`, for what comes over the channel: nothing does once it is closed.
    fn hear(&mut self, now: Instant, id: WorkerId) -> Option<usize> {
        self.find(now, |process| process.worker.id == id && process.is_connected())
    }

    fn find(&mut self, now: Instant, wanted: impl Fn(&Process) -> bool) -> Option<usize> {
        let index = self.posts.iter().position(|post| post.processes().any(&wanted))?;
        self.look_again(now);
        Some(index)
    }

    fn process_mut(&mut self, id: WorkerId) -> Option<&mut Process> {
        self.posts.iter_mut().find_map(|post| post.process_mut(id))
    }

    /// Where a fork is awaited that was ordered with this id, and for what.
    fn spawning(&self, id: WorkerId) -> Option<(usize, Role)> {
        self.posts.iter().enumerate().find_map(|(index, post)| Some((index, post.is_spawning(id)?)))
    }

    fn look_again(&mut self, now: Instant) {
        self.rollout_goes_on(now);
        for post in &mut self.posts {
            if let PostState::Due { at, awaits: Awaits::Threads, .. } = &mut post.state {
                *at = now;
            }
        }
    }

    fn take_id(&mut self) -> WorkerId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }

    /// How many slots the start fills.
    fn initial(&self) -> usize {
        if self.settings.manual { 0 } else { self.settings.workers }
    }

    fn emit(&mut self, event: Event) {
        self.actions.push_back(Action::Emit(event));
    }
}

/// A slot that could not fork because of threads looks again at the next event, but no later than this: a thread that
/// ends makes no event.
const THREADS_RETRY: Duration = Duration::from_secs(1);
