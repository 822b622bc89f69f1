//! The rules of a cluster and their defaults.

use std::time::Duration;

use super::{Balance, Hang, ReadyWhen, Recycle, Restart, Rollout};

/// The rules of a cluster; every value has passed [`Settings::problems`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) max_workers: Option<usize>,
    pub(crate) manual: bool,
    pub(crate) keep_listeners: bool,
    pub(crate) balance: Balance,
    pub(crate) restart: Restart,
    pub(crate) no_restart_on: Vec<i32>,
    pub(crate) backoff: Backoff,
    pub(crate) intensity: Option<Intensity>,
    pub(crate) ready_when: ReadyWhen,
    pub(crate) ready_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) terminate_timeout: Duration,
    /// What SIGHUP does.
    pub(crate) rollout: Rollout,
    /// Workers that have a successor and finish; `None`: as many as there are workers.
    pub(crate) max_lingering: Option<usize>,
    /// Their time for that; `None`: that of every drain.
    pub(crate) linger_timeout: Option<Duration>,
    pub(crate) hang: Hang,
    pub(crate) recycle: Recycle,
}

/// The growing delay before a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

/// OTP's give-up budget: more than `restarts` within `period` end the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Intensity {
    pub(crate) restarts: usize,
    pub(crate) period: Duration,
}

impl Settings {
    pub(crate) fn with_workers(workers: usize) -> Self {
        Self {
            workers,
            max_workers: None,
            manual: false,
            keep_listeners: true,
            balance: Balance::Auto,
            restart: Restart::Always,
            no_restart_on: Vec::new(),
            backoff: Backoff { first: BACKOFF_FIRST, most: BACKOFF_MOST },
            intensity: None,
            ready_when: ReadyWhen::Listening,
            ready_timeout: READY_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            terminate_timeout: TERMINATE_TIMEOUT,
            rollout: Rollout::new(),
            max_lingering: None,
            linger_timeout: None,
            hang: Hang::new(),
            recycle: Recycle::new(),
        }
    }

    /// How many slots there can ever be.
    pub(crate) fn slots(&self) -> usize {
        self.max_workers.unwrap_or_else(|| if self.manual { USUAL_SLOTS } else { self.workers.max(USUAL_SLOTS) })
    }

    /// "For ever" as a time that can be added to any instant.
    pub(crate) fn bounded(mut self) -> Self {
        let times = [
            &mut self.backoff.first,
            &mut self.backoff.most,
            &mut self.ready_timeout,
            &mut self.drain_timeout,
            &mut self.terminate_timeout,
        ];
        times.into_iter().chain(&mut self.linger_timeout).for_each(|time| *time = (*time).min(FOR_EVER));
        self
    }

    /// Everything that is wrong, in words that say what would be right.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.workers == 0 && !self.manual {
            problems.push("0 workers serve nobody, give 1 or more".to_owned());
        }
        if self.slots() > MAX_WORKERS {
            problems.push(format!("{} workers are more than the limit of {MAX_WORKERS}", self.slots()));
        } else if self.slots() == 0 {
            problems.push("max_workers(0) leaves no slot, give 1 or more".to_owned());
        } else if self.workers > self.slots() && !self.manual {
            problems.push(format!("{} workers are more than max_workers({})", self.workers, self.slots()));
        }
        if let Some(code) = self.no_restart_on.iter().find(|code| !(0..=255).contains(*code)) {
            problems.push(format!("no_restart_on({code}): an exit code is 0 to 255"));
        }
        if self.backoff.first.is_zero() || self.backoff.first > self.backoff.most {
            let Backoff { first, most } = self.backoff;
            problems.push(format!("backoff({first:?}, {most:?}): the first delay is above 0 and at most the last one"));
        }
        if self.intensity.is_some_and(|intensity| intensity.period.is_zero()) {
            problems.push("intensity(): a period of 0 can never hold two restarts".to_owned());
        }
        let times = [
            ("ready_timeout", Some(self.ready_timeout), "no worker can be ready at once"),
            (
                "drain_timeout",
                Some(self.drain_timeout),
                "no worker can finish at once; shutdown(Shutdown::Now) ends them so",
            ),
            ("terminate_timeout", Some(self.terminate_timeout), "no process ends at once"),
            ("linger_timeout", self.linger_timeout, "no worker can finish at once"),
        ];
        let zero = times.into_iter().filter(|(_, time, _)| time.is_some_and(|time| time.is_zero()));
        problems.extend(zero.map(|(name, _, why)| format!("{name}(0): {why}")));
        problems.extend(self.lingering_problem());
        problems.extend(self.rollout.problems(if self.manual { self.slots() } else { self.workers }));
        problems.extend(self.hang.problems());
        problems.extend(self.recycle.problems());
        problems
    }

    fn lingering_problem(&self) -> Option<String> {
        match self.max_lingering? {
            0 => Some("max_lingering(0): no rollout could replace a worker, give 1 or more".to_owned()),
            1..=MAX_WORKERS => None,
            many => Some(format!("max_lingering({many}) is more than the limit of {MAX_WORKERS}")),
        }
    }

    /// Processes that there can be at one time: the workers, their successors, and those that linger.
    pub(crate) fn processes(&self) -> usize {
        2 * self.slots() + self.max_lingering.unwrap_or(0).max(self.slots())
    }
}

/// A worker costs the master two descriptors and a page; the largest machines have fewer CPUs than this.
const MAX_WORKERS: usize = 1024;

/// Room to scale on ordinary machines without saying so beforehand; a row that is not used costs address space only.
const USUAL_SLOTS: usize = 64;

/// The delay after the first failed start: long enough to be no load, short enough for a dependency that restarts.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The cap of einhorn and many init systems: a repaired machine is back within half a minute.
const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// gunicorn's and unicorn's order of magnitude for the start of an application.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Kubernetes' and gunicorn's grace period.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A worker that gets SIGTERM ends at once or not at all; strong-cluster-control and systemd helpers wait as long.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than any process lives, and far from the end of the clock.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named() {
        let mut settings = Settings::with_workers(0);
        settings.no_restart_on = vec![3, 256];
        settings.ready_timeout = Duration::ZERO;
        settings.backoff.first = Duration::ZERO;
        settings.intensity = Some(Intensity { restarts: 1, period: Duration::ZERO });
        let problems = settings.problems().join("\n");
        for word in ["0 workers", "no_restart_on(256)", "backoff(0ns", "intensity()", "ready_timeout(0)"] {
            assert!(problems.contains(word), "{word} is missing in {problems}");
        }
    }

    #[test]
    fn contradictions_of_rollouts_name_both_sides() {
        let plan = Rollout::new().surge(0).canary(3);
        let settings = Settings {
            rollout: plan,
            max_lingering: Some(usize::MAX),
            drain_timeout: Duration::ZERO,
            terminate_timeout: Duration::ZERO,
            linger_timeout: Some(Duration::ZERO),
            ..Settings::with_workers(2)
        };
        let problems = settings.problems();
        for words in [
            ["surge(0)", "max_unavailable(0)"],
            ["canary(3)", "2 workers"],
            ["max_lingering(18446744073709551615)", "1024"],
            ["drain_timeout(0)", "shutdown(Shutdown::Now)"],
            ["terminate_timeout(0)", "at once"],
            ["linger_timeout(0)", "at once"],
        ] {
            let both = |problem: &&String| words.iter().all(|word| problem.contains(word));
            assert_eq!(problems.iter().filter(both).count(), 1, "{words:?} in {problems:?}");
        }
        let manual = Settings { manual: true, rollout: Rollout::new().canary(3), ..Settings::with_workers(0) };
        assert!(manual.problems().is_empty(), "as many as there are slots");
    }

    #[test]
    fn limits_that_contradict_each_other_or_themselves_name_both_sides() {
        let hang = Hang::new().warn(Duration::from_secs(2)).kill(Duration::from_secs(1));
        let recycle = Recycle::new().connections(1).requests(0).age(Duration::ZERO).memory(4096).jitter(1.5);
        let problems = Settings { hang, recycle, ..Settings::with_workers(1) }.problems();
        for words in [
            ["warn(2s)", "kill(1s)"],
            ["connections(1)", "2 or more"],
            ["requests(0)", "2 or more"],
            ["age(0ns)", "1s or more"],
            ["memory(4096)", "1048576 bytes"],
            ["jitter(1.5)", "0.0 to 1.0"],
        ] {
            let both = |problem: &&String| words.iter().all(|word| problem.contains(word));
            assert_eq!(problems.iter().filter(both).count(), 1, "{words:?} in {problems:?}");
        }
        let of = |hang, recycle| Settings { hang, recycle, ..Settings::with_workers(1) }.problems().len();
        assert_eq!(of(Hang::new().warn(Duration::ZERO).kill(Duration::ZERO), Recycle::new().jitter(f64::NAN)), 3);
        let (patient, late) = (Hang::new().warn(Duration::MAX), Recycle::new().age(Duration::MAX).jitter(1.0));
        assert_eq!((of(patient, late), of(patient.never_kill(), late)), (1, 0));
    }

    #[test]
    fn no_time_is_too_long() {
        let endless = Settings { drain_timeout: Duration::MAX, ..Settings::with_workers(1) }.bounded();
        assert!(std::time::Instant::now().checked_add(endless.drain_timeout).is_some());
    }

    #[test]
    fn the_limits_hold() {
        assert!(Settings::with_workers(MAX_WORKERS).problems().is_empty());
        assert!(Settings::with_workers(MAX_WORKERS + 1).problems()[0].contains("limit of 1024"));
        let capped = Settings { max_workers: Some(2), ..Settings::with_workers(3) };
        assert!(capped.problems()[0].contains("max_workers(2)"));
        let by_hand = Settings { manual: true, ..capped };
        assert!(by_hand.problems().is_empty(), "the number of workers does not matter there");
        let none = Settings { max_workers: Some(0), ..by_hand };
        assert!(none.problems()[0].contains("max_workers(0)"));
    }
}
