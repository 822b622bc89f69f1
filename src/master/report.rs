//! What the log says of an event: in plain words, once.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::TARGET;
use crate::{
    config::Settings,
    event::{Address, Cause, Event, ExitStatus, RolloutResult, Shutdown, WorkerRef},
    id::{RolloutId, Slot, WorkerId},
    supervisor::{Note, Outcome, Surrender, Why},
};

pub(super) struct Report {
    started: Instant,
    drain_timeout: Duration,
    terminate_timeout: Duration,
    owns_signals: bool,
    /// From now on each worker that is ready is news: all that the start was to bring are there, or it brought none.
    all_ready: bool,
    stopping: Option<Instant>,
    rolling: Option<(RolloutId, Instant)>,
    /// The last rollout that was said to wait.
    waiting: Option<RolloutId>,
    /// Slots whose fork fails, and the last reason that was logged.
    failing: HashSet<Slot>,
    last_failure: String,
    failed_last: Option<Instant>,
    /// Slots that were left meanwhile fail no more.
    forgets_after: Duration,
    /// How the last worker of a slot ended, if nobody had asked it, or why there was none: until its back-off is told.
    last_ends: HashMap<Slot, String>,
    deaf_said: bool,
}

impl Report {
    /// Says that the master starts.
    pub(super) fn begin(started: Instant, settings: &Settings, owns_signals: bool, addresses: &[Address]) -> Self {
        say_that_it_starts(settings, addresses);
        let Settings { drain_timeout, terminate_timeout, .. } = *settings;
        let (all_ready, stopping, failing) = (settings.manual, None, HashSet::new());
        Self {
            started,
            drain_timeout,
            terminate_timeout,
            owns_signals,
            all_ready,
            stopping,
            rolling: None,
            waiting: None,
            failing,
            last_failure: String::new(),
            failed_last: None,
            forgets_after: TRIED_AGAIN.max(settings.backoff.most.saturating_mul(2)),
            last_ends: HashMap::new(),
            deaf_said: false,
        }
    }

    pub(super) fn event(&mut self, now: Instant, event: &Event, live: usize) {
        match event {
            Event::Fork(worker) => {
                if self.failing.remove(&worker.slot) {
                    log::info!(target: TARGET, "slot {}: forking works again", worker.slot);
                }
                log::debug!(target: TARGET, "{worker} was forked");
            }
            Event::ForkFailed { slot, id, error } => self.fork_failed(now, *slot, *id, &format!("{error:#}")),
            Event::Online(worker) => log::debug!(target: TARGET, "{worker} is online"),
            Event::Listening { worker, address } => log::debug!(target: TARGET, "{worker} listens on {address}"),
            Event::Ready(worker) if self.all_ready => log::info!(target: TARGET, "{worker} is ready"),
            Event::Ready(worker) => log::debug!(target: TARGET, "{worker} is ready"),
            Event::AllReady { addresses, workers, .. } => {
                self.all_ready = true;
                let took = now.saturating_duration_since(self.started);
                let (all, on) = (count(*workers, "worker"), on(addresses));
                log::info!(target: TARGET, "all ready after {took:.1?}: {all}{on}");
            }
            // What it means is said where it was found.
            Event::Stranger { .. } => {}
            Event::Message { .. } | Event::Reply { .. } | Event::Writable(_) => {}
            Event::Disconnect(worker) => log::debug!(target: TARGET, "{worker} has closed its channel"),
            Event::Exit { worker, status, cause, uptime } => self.exit(worker, *status, *cause, *uptime),
            Event::Backoff { slot, delay, deaths } => {
                let why = self.last_ends.remove(slot).map_or(String::new(), |end| format!(": {end}"));
                log::warn!(target: TARGET, "slot {slot}: the next worker starts in {delay:.1?} (delayed start number {deaths}){why}");
            }
            Event::Hung { worker, since } => hangs(worker, *since, live),
            Event::Recovered { worker, after } => log::info!(target: TARGET, "{worker} goes on after {after:.1?}"),
            Event::RolloutStarted(id) => {
                self.rolling = Some((*id, now));
                log::info!(target: TARGET, "rollout {id}: {} to be replaced", count(live, "worker"));
            }
            Event::RolloutEnded { id, result } => self.rolled(now, *id, result),
            Event::Stopping(how) => self.stops(now, *how, live),
        }
    }

    fn stops(&mut self, now: Instant, how: Shutdown, live: usize) {
        match how {
            Shutdown::Drain => {
                self.stopping = Some(now);
                let (all, within) = (count(live, "worker"), self.drain_timeout);
                let again = if self.owns_signals { "; a second signal ends them at once" } else { "" };
                if live > 0 {
                    log::info!(target: TARGET, "stopping: {all} may take {within:?} to finish{again}");
                }
            }
            Shutdown::Now => {
                self.stopping.get_or_insert(now);
                if live > 0 {
                    log::warn!(target: TARGET, "stopping at once: {} killed", count(live, "worker"));
                }
            }
        }
    }

    /// Said once per rollout.
    pub(super) fn rollout_waits(&mut self, waits: Option<(RolloutId, usize)>) {
        let Some((id, lingering)) = waits.filter(|(id, _)| self.waiting != Some(*id)) else { return };
        self.waiting = Some(id);
        let lingering = count(lingering, "replaced worker");
        log::info!(target: TARGET, "rollout {id}: waits, {lingering} may finish first (max_lingering)");
    }

    fn rolled(&mut self, now: Instant, id: RolloutId, result: &RolloutResult) {
        let began = self.rolling.filter(|(began, _)| *began == id).map_or(now, |(_, at)| at);
        let took = now.saturating_duration_since(began);
        match result {
            RolloutResult::Done => log::info!(target: TARGET, "rollout {id}: done after {took:.1?}"),
            RolloutResult::Superseded | RolloutResult::Stopped => log::info!(target: TARGET, "rollout {id}: {result}"),
            RolloutResult::Aborted { slot: None, .. } => {
                log::warn!(target: TARGET, "rollout {id}: {result}; no worker was touched");
            }
            RolloutResult::Aborted { .. } => {
                log::warn!(target: TARGET, "rollout {id}: {result}; the workers that were not replaced serve on");
            }
        }
    }

    pub(super) fn finished(&self, now: Instant, outcome: &Outcome) {
        let since =
            self.stopping.map_or(String::new(), |since| format!(" after {:.1?}", now.saturating_duration_since(since)));
        match outcome {
            Outcome::Stopped => log::info!(target: TARGET, "stopped{since}: no worker is left"),
            Outcome::Retired(_) => {
                log::info!(target: TARGET, "ended: all workers are gone and none is to be restarted")
            }
            Outcome::NeverReady(_) | Outcome::GaveUp(_) => {
                log::debug!(target: TARGET, "ended with an error, see there")
            }
        }
    }

    pub(super) fn note(&self, worker: &WorkerRef, what: &Note) {
        match what {
            Note::Worn(why) => log::info!(target: TARGET, "{worker} {why} and is replaced"),
            Note::PutOff { why, again } => {
                log::warn!(target: TARGET, "{worker} serves on: {why}; its replacement is tried again in {again:.1?}");
            }
        }
    }

    /// A signal of the supervisor's is sent.
    pub(super) fn signalled(&mut self, id: WorkerId, pid: u32, why: Why, within: Option<Duration>) {
        let who = format!("worker {id} (pid {pid})");
        match why {
            // Not a warning: it may just not have had a turn yet.
            Why::Deaf if !std::mem::replace(&mut self.deaf_said, true) => log::info!(
                target: TARGET,
                "{who} cannot be asked to drain (it has not called is_draining(), next_event() or accept_blocking()): it and its \
                 like get SIGTERM, open connections are cut"
            ),
            Why::DrainOverdue => {
                // A stop may have left it less.
                let most = self.stopping.map_or(Duration::MAX, |_| self.drain_timeout);
                let within = within.unwrap_or(self.drain_timeout).min(most);
                log::warn!(target: TARGET, "{who} has not finished within {within:?}: it gets SIGTERM");
            }
            Why::TerminateOverdue => {
                let within = self.terminate_timeout;
                log::warn!(target: TARGET, "{who} has not ended within {within:?} of SIGTERM: it gets SIGKILL");
            }
            Why::DumpOverdue => {
                log::warn!(target: TARGET, "{who} has not ended within 10 s of SIGABRT: it gets SIGKILL")
            }
            // Said along with the exit, or with the stop.
            Why::Hung | Why::Program | Why::Deaf | Why::Stuck | Why::NotReady | Why::AtOnce => {}
        }
    }

    /// A socket is shut; `waiting` clients were in its queue.
    pub(super) fn gave_up(&self, slot: Slot, at: &Address, why: Surrender, waiting: u32) {
        let because = match why {
            Surrender::BackOff => "its next worker starts later",
            Surrender::Left => "it gets no further worker",
            Surrender::Unattended => "no worker has listened there for 1 s",
            Surrender::Removed => "its address was removed",
        };
        let clients = match waiting {
            0 => "nobody waited".to_owned(),
            some => count(some as usize, "waiting client") + " reset",
        };
        let level = match why {
            Surrender::BackOff | Surrender::Left | Surrender::Unattended | Surrender::Removed if waiting > 0 => {
                log::Level::Warn
            }
            // Nothing else says that a live worker takes no connections any more.
            Surrender::Unattended => log::Level::Info,
            Surrender::BackOff | Surrender::Left | Surrender::Removed => log::Level::Debug,
        };
        log::log!(target: TARGET, level, "slot {slot} gives up its socket at {at}: {because}; {clients}");
    }

    fn fork_failed(&mut self, now: Instant, slot: Slot, id: WorkerId, reason: &str) {
        self.last_ends.insert(slot, format!("worker {id} could not be forked"));
        if self.failed_last.replace(now).is_some_and(|last| now.saturating_duration_since(last) > self.forgets_after) {
            self.failing.clear();
        }
        let news = self.failing.is_empty() || self.last_failure != reason;
        self.failing.insert(slot);
        if news {
            reason.clone_into(&mut self.last_failure);
            log::error!(target: TARGET, "slot {slot}: {reason}");
        }
    }

    fn exit(&mut self, worker: &WorkerRef, status: ExitStatus, cause: Cause, uptime: Duration) {
        if !cause.asked() {
            self.last_ends.insert(worker.slot, format!("worker {} {status} after {uptime:.1?}", worker.id));
        }
        let how = format!("{worker} {status} after {uptime:.1?}");
        match cause {
            Cause::Asked | Cause::Rollout | Cause::Scaled | Cause::Recycled if status.success() => {
                log::debug!(target: TARGET, "{how}, as asked");
            }
            Cause::Asked | Cause::Rollout | Cause::Scaled | Cause::Recycled => {
                log::info!(target: TARGET, "{worker} {status} while it was to leave; it had run {uptime:.1?}");
            }
            Cause::NotReady => log::warn!(target: TARGET, "{how}: it was not ready in time"),
            Cause::Own => log::warn!(target: TARGET, "{how}"),
            Cause::Hung => log::warn!(target: TARGET, "{how}: it hung"),
            Cause::Killed => log::warn!(target: TARGET, "{how}, killed by the program"),
        }
    }
}

fn say_that_it_starts(settings: &Settings, addresses: &[Address]) {
    let pid = std::process::id();
    if settings.manual {
        log::info!(target: TARGET, "master {pid} waits for the program to fork workers{}", on(addresses));
    } else {
        log::info!(target: TARGET, "master {pid} starts {}{}", count(settings.workers, "worker"), on(addresses));
    }
}

fn hangs(worker: &WorkerRef, since: Duration, live: usize) {
    let clients = if live > 1 { "go to the others" } else { "wait" };
    log::warn!(target: TARGET, "{worker} hangs: it has not come back to its loop for {since:.1?}; clients {clients}");
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn on(addresses: &[Address]) -> String {
    if addresses.is_empty() {
        return String::new();
    }
    let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
    format!(" on {}", addresses.join(", "))
}

/// Longer than a slot whose fork fails waits before the next attempt, beside the back-off.
const TRIED_AGAIN: Duration = Duration::from_secs(2);
