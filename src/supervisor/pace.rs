//! How fast a slot is refilled, and when the cluster gives up.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config::{Backoff, Intensity};

/// The deaths of one slot. A worker that was ready is replaced at once, unless its slot dies in bursts; a start that
/// failed is tried again after a growing delay.
#[derive(Default)]
pub(super) struct Pace {
    /// The last deaths, oldest first, at most `BURST`.
    deaths: VecDeque<Instant>,
    /// Delayed attempts since the last worker that was ready for long.
    delayed: u32,
    /// Before this no worker is forked.
    earliest: Option<Instant>,
}

impl Pace {
    /// A worker ended, asked or not.
    pub(super) fn ended(&mut self, now: Instant, ready_since: Option<Instant>) {
        if ready_since.is_some_and(|since| now.saturating_duration_since(since) >= RESET_AFTER) {
            self.delayed = 0;
        }
    }

    /// It ended unasked; returns the delay before the next one. `healthy`: it was ready once.
    pub(super) fn died(&mut self, now: Instant, healthy: bool, rule: &Backoff, jitter: &mut Jitter) -> Duration {
        let recent = self.deaths.iter().filter(|death| now.saturating_duration_since(**death) < BURST_WINDOW).count();
        if self.deaths.len() == BURST {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        if healthy && recent < BURST {
            self.earliest = None;
            return Duration::ZERO;
        }
        self.delay(now, rule, jitter)
    }

    /// A worker could not even be forked.
    pub(super) fn start_failed(&mut self, now: Instant, rule: &Backoff, jitter: &mut Jitter) -> Duration {
        self.delay(now, rule, jitter)
    }

    /// Delayed attempts in a row.
    pub(super) fn delayed(&self) -> u32 {
        self.delayed
    }

    /// How long a worker that is wanted now has to wait.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        self.earliest.map_or(Duration::ZERO, |earliest| earliest.saturating_duration_since(now))
    }

    fn delay(&mut self, now: Instant, rule: &Backoff, jitter: &mut Jitter) -> Duration {
        let doubled = rule.first.saturating_mul(2_u32.saturating_pow(self.delayed));
        self.delayed = self.delayed.saturating_add(1);
        let delay = doubled.min(rule.most).mul_f64(jitter.factor());
        self.earliest = Some(now + delay);
        delay
    }
}

/// OTP's restart intensity, for the whole cluster.
pub(super) struct Budget {
    rule: Option<Intensity>,
    restarts: VecDeque<Instant>,
}

impl Budget {
    pub(super) fn new(rule: Option<Intensity>) -> Self {
        Self { rule, restarts: VecDeque::new() }
    }

    pub(super) fn exceeded_by_restart_at(&mut self, now: Instant) -> bool {
        let Some(rule) = self.rule else { return false };
        self.restarts.retain(|restart| now.saturating_duration_since(*restart) < rule.period);
        self.restarts.push_back(now);
        self.restarts.len() > rule.restarts
    }
}

/// Keeps slots that failed together from starting together, and workers that started together from leaving together.
/// By splitmix64.
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn factor(&mut self) -> f64 {
        1.0 - JITTER + 2.0 * JITTER * self.share()
    }

    /// From 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Healthy deaths of one slot within `BURST_WINDOW` that are still answered at once: a worker killed every 50 ms is
/// replaced every time, one that crashes on each request is slowed down before it burns a CPU.
const BURST: usize = 20;
const BURST_WINDOW: Duration = Duration::from_secs(1);

/// A worker that was ready for this long ends a crash loop.
const RESET_AFTER: Duration = Duration::from_secs(10);

/// ± 20 %.
const JITTER: f64 = 0.2;
