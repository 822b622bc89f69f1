//! The stop of all workers, and how a cluster ends.

use std::time::{Duration, Instant};

use super::{
    Action, Course, Milestone, Supervisor, Surrender, Why,
    post::{First, PostState, Successor},
};
use crate::{
    config::Intensity,
    error::{Error, Kind, Result},
    event::{Event, ExitStatus, Shutdown},
    id::{Signal, Slot},
};

/// How a cluster ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// As asked, or the program's own forks are all gone.
    Stopped,
    /// No worker is left and none may be restarted; these ended badly.
    Retired(Vec<(Slot, ExitStatus)>),
    /// How the first worker of each slot failed.
    NeverReady(Vec<(Slot, String)>),
    GaveUp(Option<Intensity>),
}

impl Outcome {
    /// What `run` returns.
    pub(crate) fn into_result(self) -> Result<()> {
        let list = |ends: Vec<(Slot, String)>| {
            let lines: Vec<String> = ends.iter().map(|(slot, how)| format!("slot {slot}: {how}")).collect();
            lines.join("; ")
        };
        match self {
            Outcome::Stopped => Ok(()),
            Outcome::Retired(bad) if bad.is_empty() => Ok(()),
            Outcome::Retired(bad) => {
                let bad = list(bad.into_iter().map(|(slot, status)| (slot, status.to_string())).collect());
                Err(Error::new(Kind::System, format!("all workers have ended and none may be restarted ({bad})")))
            }
            Outcome::NeverReady(ends) => {
                let ends = list(ends);
                let text = format!(
                    "no worker ever became ready ({ends}); see what the workers logged, and that each listens on every address (or \
                     calls ready(), with ReadyWhen::Told)"
                );
                Err(Error::new(Kind::NeverReady, text))
            }
            Outcome::GaveUp(rule) => {
                let rule = rule
                    .map_or(String::new(), |rule| format!(": more than {} within {:?}", rule.restarts, rule.period));
                Err(Error::new(Kind::GaveUp, format!("gave up restarting{rule}; see in the log what ends the workers")))
            }
        }
    }
}

impl Supervisor {
    /// The cluster is to stop. `by` is the signal that said so, if one did.
    ///
    /// A second signal, or `Shutdown::Now` at any time, ends the drain. Signals in close succession are one request: a
    /// terminal and a process manager may both speak, and some tools speak to the process and then to its group.
    pub(crate) fn handle_stop(&mut self, now: Instant, how: Shutdown, by: Option<Signal>) {
        match &mut self.course {
            Course::Finished | Course::Stopping { how: Shutdown::Now, .. } => {}
            Course::Running => self.begin_stop(now, how, by, Outcome::Stopped),
            Course::Stopping { since, signals, .. } => {
                let again = match by {
                    None => false,
                    Some(by) if signals.is_empty() => {
                        (*signals, *since) = (vec![by], now);
                        false
                    }
                    Some(by) if signals.contains(&by) => now.saturating_duration_since(*since) >= REPEATED,
                    Some(by) if now.saturating_duration_since(*since) < ONE_REQUEST => {
                        signals.push(by);
                        false
                    }
                    Some(_) => true,
                };
                if again || how == Shutdown::Now {
                    self.stop_at_once(now);
                }
            }
        }
    }

    pub(super) fn begin_stop(&mut self, now: Instant, how: Shutdown, by: Option<Signal>, outcome: Outcome) {
        let signals = by.into_iter().collect();
        self.course = Course::Stopping { how, since: now, signals, outcome };
        self.end_rollouts();
        self.end_watch();
        self.emit(Event::Stopping(how));
        // Before the workers are told: each of them looks into a shared queue for the last time, and nobody may join it then.
        self.actions.push_back(Action::Refuse);
        for index in 0..self.posts.len() {
            self.fork_no_more(index);
            for id in self.posts[index].ids() {
                match how {
                    Shutdown::Drain => self.ask_to_end(now, id),
                    Shutdown::Now => self.kill(now, id, Why::AtOnce),
                }
            }
            if self.posts[index].processes().next().is_none() {
                self.give_up_doors(index, Surrender::Left);
            }
        }
    }

    /// What is under way already is met when it is over.
    fn fork_no_more(&mut self, index: usize) {
        let is_withdrawn = match self.posts[index].state {
            PostState::Vacant | PostState::Retired(_) | PostState::Live(_) => false,
            PostState::Due { .. } => true,
            PostState::Spawning { id } => self.withdraw(id),
        };
        if is_withdrawn {
            self.posts[index].state = PostState::Vacant;
        }
        if let Successor::Spawning { id } = self.posts[index].successor {
            if self.withdraw(id) {
                self.posts[index].successor = Successor::Nobody;
            }
        }
    }

    fn stop_at_once(&mut self, now: Instant) {
        if let Course::Stopping { how, .. } = &mut self.course {
            *how = Shutdown::Now;
        }
        self.emit(Event::Stopping(Shutdown::Now));
        for index in 0..self.posts.len() {
            self.posts[index].ids().into_iter().for_each(|id| self.kill(now, id, Why::AtOnce));
        }
    }

    /// If the first worker of every initial slot failed and none was ever ready, there is no point in trying on. True
    /// if that is so.
    pub(super) fn give_up_if_never_ready(&mut self, now: Instant) -> bool {
        if !matches!(self.course, Course::Running) || self.milestone != Milestone::Nobody || self.initial() == 0 {
            return false;
        }
        let posts = self.posts[..self.initial()].iter().enumerate();
        // Nobody was ready yet, so whoever is settled was asked to leave, and says nothing of the others.
        let ends =
            posts.filter(|(_, post)| !matches!(post.first, First::Settled)).map(|(index, post)| match &post.first {
                First::Failed(how) | First::Refused { how, .. } => Some((Slot::from_index(index), how.clone())),
                First::Settled | First::Pending { .. } => None,
            });
        let Some(ends) = ends.collect::<Option<Vec<_>>>().filter(|ends| !ends.is_empty()) else { return false };
        self.begin_stop(now, Shutdown::Now, None, Outcome::NeverReady(ends));
        true
    }

    /// Every slot is empty without a stop: good, unless somebody's last word was bad.
    pub(super) fn retired(&self) -> Outcome {
        let posts = self.posts.iter().enumerate();
        let bad = posts.filter_map(|(index, post)| match &post.state {
            PostState::Retired(status) if !status.success() && !self.is_listed(*status) => {
                Some((Slot::from_index(index), *status))
            }
            PostState::Retired(_) | PostState::Vacant => None,
            PostState::Due { .. } | PostState::Spawning { .. } | PostState::Live(_) => None,
        });
        Outcome::Retired(bad.collect())
    }
}

/// A terminal's INT and a process manager's TERM arrive within a millisecond of each other, a person's second Ctrl-C
/// does not.
const ONE_REQUEST: Duration = Duration::from_millis(250);

/// `timeout` of the GNU coreutils sends its signal to the program and then to the group, microseconds apart.
const REPEATED: Duration = Duration::from_millis(50);
