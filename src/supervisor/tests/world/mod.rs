//! A simulated world: a kernel, workers, a program with requests of its own, and a clock that also jumps.

mod kernel;
mod seats;

use std::time::Duration;

use self::kernel::{SimKernel, Temper};
use super::{
    referee::{At, Verdict},
    rig::{Input, Rig},
};
use crate::{
    config::{Backoff, Hang, Intensity, ReadyWhen, Recycle, Restart, Rollout, Settings},
    event::{Cause, Event, ExitStatus, RolloutResult, Shutdown},
    id::{Signal, WorkerId},
    supervisor::{Outcome, SpawnFailure, Worn},
};

pub(super) struct World {
    rig: Rig<SimKernel>,
    random: Random,
    habits: Habits,
    /// A stop was seen; from then on many requests are a further stop.
    stopping: bool,
    /// Rollouts are bound to end: workers come up, and every deadline is one.
    healthy: bool,
    seen: Vec<&'static str>,
}

/// How a walk has ended, and what has happened on its way.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) outcome: Outcome,
    pub(super) seen: Vec<&'static str>,
}

/// What the program and the clock do in this walk.
struct Habits {
    /// Per cent of turns with a request.
    requests: u64,
    /// Per cent of exits that the program answers with a fork of its own.
    refork: u64,
    jumps: bool,
    /// That the watch takes in one turn; later ones are late.
    looks: usize,
    /// The clock goes from one moment at which something happens to the next.
    hurried: bool,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random(seed);
        let settings = settings(&mut random);
        let addresses = random.below(4) as usize;
        let temper = random.pick(&TEMPERS);
        let habits = Habits {
            requests: random.pick(&[0, 5, 30]),
            refork: if settings.manual { 80 } else { random.pick(&[0, 0, 10]) },
            jumps: random.chance(30),
            looks: random.pick(&[0, 0, 3, 12, 12, 50]),
            hurried: temper == Temper::Frantic,
        };
        if trace {
            println!("{temper:?}, {addresses} addresses, {settings:?}");
        }
        let kernel = SimKernel::new(random.fork(), temper, addresses);
        let deadlines = [settings.ready_timeout, settings.drain_timeout, settings.terminate_timeout];
        let healthy = temper == Temper::Calm && deadlines.iter().all(|time| *time < Duration::from_secs(3600));
        let rig = Rig::new(settings, addresses, random.next(), kernel).traced(trace);
        Self { rig, random, habits, stopping: false, healthy, seen: Vec::new() }
    }

    /// A walk of `turns` turns and then until the end; returns how the cluster ended.
    pub(super) fn walk(mut self, turns: usize) -> Result<Walk, String> {
        self.rig.start()?;
        for _ in 0..turns {
            self.turn()?;
            if self.rig.is_finished() {
                break;
            }
        }
        if self.healthy {
            self.rollouts_end()?;
        }
        self.rig.feed(Input::Stop(Shutdown::Now, None))?;
        for _ in 0..MANY_TURNS {
            if self.rig.is_finished() {
                break;
            }
            self.rig.now = self.rig.now.max(self.next_moment());
            self.deliver()?;
            self.rig.settle()?;
            self.rig.idle()?;
        }
        for _ in 0..4 {
            let input = self.any_input();
            self.rig.feed(input)?;
            self.rig.settle()?;
            self.rig.idle()?;
        }
        self.note_all();
        if self.rig.kernel.seats.last_loan > 0 {
            self.seen.push("lent");
        }
        let outcome = self.rig.outcome.ok_or("the cluster does not end after everything was killed")?;
        Ok(Walk { outcome, seen: self.seen })
    }

    /// Nobody asks for anything any more, and time passes.
    fn rollouts_end(&mut self) -> Verdict {
        for _ in 0..MANY_TURNS {
            if !self.rig.is_rolling() {
                return Ok(());
            }
            self.rig.now = self.rig.now.max(self.next_moment());
            self.deliver()?;
            self.rig.settle()?;
            self.rig.idle()?;
        }
        Err("a rollout does not end".to_owned())
    }

    fn note_all(&mut self) {
        for event in std::mem::take(&mut self.rig.events) {
            self.note(&event);
        }
    }

    fn note(&mut self, event: &Event) {
        self.seen.extend(match event {
            Event::RolloutEnded { result, .. } => Some(match result {
                RolloutResult::Done => "rollout done",
                RolloutResult::Aborted { slot: None, .. } => "rollout not begun",
                RolloutResult::Aborted { slot: Some(_), .. } => "rollout aborted",
                RolloutResult::Superseded => "rollout superseded",
                RolloutResult::Stopped => "rollout stopped",
            }),
            Event::Hung { .. } => Some("hung"),
            Event::Recovered { .. } => Some("recovered"),
            Event::Exit { cause: Cause::Hung, .. } => Some("killed for hanging"),
            Event::Exit { cause: Cause::Recycled, .. } => Some("recycled"),
            Event::Exit { .. } | Event::Fork(_) | Event::ForkFailed { .. } | Event::AllReady { .. } => None,
            Event::Online(_) | Event::Listening { .. } | Event::Ready(_) | Event::Disconnect(_) => None,
            Event::Message { .. } | Event::Reply { .. } | Event::Writable(_) | Event::Stranger { .. } => None,
            Event::Backoff { .. } | Event::Stopping(_) | Event::RolloutStarted(_) => None,
        });
    }

    fn turn(&mut self) -> Verdict {
        self.time_passes()?;
        self.deliver()?;
        if self.random.chance(10) {
            let input = self.any_input();
            self.rig.feed(input)?;
        }
        if self.random.chance(self.habits.requests) {
            let request = self.any_request();
            self.rig.feed(request)?;
        }
        self.rig.settle()?;
        while !self.rig.events.is_empty() {
            for event in std::mem::take(&mut self.rig.events) {
                self.program_sees(&event)?;
            }
            self.rig.settle()?;
        }
        self.rig.idle()
    }

    fn deliver(&mut self) -> Verdict {
        for _ in 0..1 + self.random.below(12) {
            let Some(input) = self.rig.kernel.due(self.rig.now) else { break };
            self.rig.feed(input)?;
        }
        Ok(())
    }

    fn program_sees(&mut self, event: &Event) -> Verdict {
        self.note(event);
        self.stopping |= matches!(event, Event::Stopping(_));
        let Event::Exit { .. } = event else { return Ok(()) };
        if self.random.chance(self.habits.refork) {
            self.rig.feed(Input::Fork)?;
        }
        Ok(())
    }

    fn time_passes(&mut self) -> Verdict {
        let now = self.rig.now;
        let then = match self.random.below(100) {
            0.. if self.habits.hurried => now.max(self.next_moment()),
            0..60 => now.max(self.next_moment()),
            60..75 => now + self.random.moment(),
            75..80 => now + Duration::from_secs(self.random.below(60)),
            80..82 if self.habits.jumps => now + Duration::from_secs(3600 * self.random.below(48)),
            82..84 if self.habits.jumps => now.saturating_sub(Duration::from_millis(self.random.below(100_000))),
            80.. => now,
        };
        self.rig.goes_to(then, self.habits.looks)
    }

    fn next_moment(&self) -> At {
        let timeout = self.rig.deadline().filter(|at| *at < FAR);
        timeout.into_iter().chain(self.rig.kernel.next()).min().unwrap_or(self.rig.now)
    }

    /// Mostly about workers that live, but also about those that are gone and those that never were.
    fn any_id(&mut self) -> WorkerId {
        let workers = self.rig.workers();
        if !workers.is_empty() && self.random.chance(70) {
            return self.random.pick(&workers).id;
        }
        WorkerId::from_raw(self.random.below(self.rig.kernel.last_id + 3))
    }

    fn any_request(&mut self) -> Input {
        if self.stopping && self.random.chance(60) {
            return self.any_stop();
        }
        let id = self.any_id();
        let signal =
            self.random.pick(&[Signal::TERM, Signal::KILL, Signal::USR1, Signal::from_raw(0), Signal::from_raw(37)]);
        let place = self.random.below(8) as usize;
        match self.random.below(72) {
            44..56 => Input::Rollout(self.any_plan()),
            56..58 => Input::ReloadFailed,
            58..72 => Input::Scale(self.any_number()),
            40..42 => Input::AddressAdded,
            42..44 => Input::AddressRemoved(place),
            0..14 => Input::Fork,
            14..26 => Input::Drain(id),
            26..38 => Input::Kill(id, signal),
            38..40 => self.any_stop(),
            72.. => Input::Fork,
        }
    }

    /// Also such that make no sense.
    fn any_plan(&mut self) -> Rollout {
        let settle = self.random.pick(&[Duration::ZERO, Duration::from_millis(50), Duration::from_secs(1)]);
        let plan = Rollout::new().surge(self.random.pick(&[0, 1, 1, 1, 2, 8])).settle(settle);
        plan.max_unavailable(self.random.pick(&[0, 0, 0, 1, 2])).canary(self.random.pick(&[0, 0, 0, 1, 2, 5]))
    }

    fn any_number(&mut self) -> usize {
        self.random.below(10) as usize
    }

    fn any_stop(&mut self) -> Input {
        match self.random.below(12) {
            0 => Input::Stop(Shutdown::Now, self.random.pick(&[None, Some(Signal::QUIT)])),
            1 => Input::Stop(Shutdown::Drain, None),
            2.. => Input::Stop(Shutdown::Drain, Some(self.random.pick(&[Signal::TERM, Signal::INT]))),
        }
    }

    fn any_input(&mut self) -> Input {
        let id = self.any_id();
        let live = self.rig.workers().iter().any(|worker| worker.id == id && worker.state.is_alive());
        let address = self.random.below(3) as usize;
        let loan = self.random.below(u64::from(self.rig.kernel.seats.last_loan) + 2) as u32;
        match self.random.below(19) {
            17 => Input::Stirred,
            18 => Input::Returned(id, loan),
            // Only the kernel knows what became of a fork that is under way.
            0..=2 if self.rig.kernel.is_awaited(id) => Input::Online(id),
            0 => Input::Spawned(id, 77),
            1 => Input::SpawnFailed(id, SpawnFailure::Threads),
            2 => Input::SpawnFailed(id, SpawnFailure::Refused),
            3 => Input::Online(id),
            4 => Input::Ready(id),
            5 => Input::Leaving(id),
            6 => Input::Deaf(id),
            7 => Input::ChannelClosed(id),
            8 => Input::Drain(id),
            9 => Input::Kill(id, Signal::USR1),
            10 => Input::ListenerClosed(id, address),
            11 => Input::Said(id),
            12 | 14 => Input::Retires(id),
            13 => Input::Parted(id, self.random.chance(50)),
            15 => Input::Worn(id, Worn::Connections(3)),
            16 if !live => Input::Exited(id, ExitStatus::unknown()),
            16.. => Input::Online(id),
        }
    }
}

fn settings(random: &mut Random) -> Settings {
    let workers = 1 + random.below(6) as usize;
    let spare = random.below(4) as usize;
    let (tiny, short, long) = (Duration::from_nanos(1), Duration::from_millis(50), Duration::from_secs(60));
    Settings {
        max_workers: (!random.chance(3)).then_some(workers + spare),
        manual: random.chance(20),
        keep_listeners: random.chance(85),
        restart: random.pick(&[Restart::Always, Restart::Always, Restart::OnFailure, Restart::Never]),
        no_restart_on: random.pick(&[&[][..], &[][..], &[0], &[3], &[0, 3, 101]]).to_vec(),
        backoff: random.pick(&[
            Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) },
            Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) },
            Backoff { first: Duration::from_millis(1), most: Duration::from_millis(5) },
            Backoff { first: Duration::from_secs(1), most: Duration::MAX },
        ]),
        intensity: random.chance(30).then(|| Intensity {
            restarts: random.below(12) as usize,
            period: random.pick(&[Duration::from_secs(1), Duration::from_secs(5), Duration::MAX]),
        }),
        ready_when: random.pick(&[ReadyWhen::Listening, ReadyWhen::Told]),
        ready_timeout: random.pick(&[short, Duration::from_secs(1), long, long, Duration::MAX]),
        drain_timeout: random.pick(&[tiny, short, long, long, Duration::MAX]),
        terminate_timeout: random.pick(&[tiny, short, Duration::from_secs(5), Duration::MAX]),
        max_lingering: random.pick(&[None, None, Some(1), Some(2), Some(100)]),
        hang: hang(random, short),
        linger_timeout: random.pick(&[None, None, Some(short), Some(Duration::from_secs(300))]),
        rollout: random
            .pick(&[Rollout::new(), Rollout::new().surge(4), Rollout::new().surge(0).max_unavailable(2)])
            .settle(random.pick(&[Duration::ZERO, short, Duration::from_secs(1)])),
        recycle: random.pick(&[
            Recycle::new(),
            Recycle::new(),
            Recycle::new().age(Duration::from_secs(2)),
            Recycle::new().age(Duration::from_secs(20)).jitter(1.0),
        ]),
        ..Settings::with_workers(workers)
    }
}

fn hang(random: &mut Random, short: Duration) -> Hang {
    let soon = Hang::new().warn(short).kill(short * 4);
    random.pick(&[Hang::new(), soon, soon.abort(true), Hang::new().warn(short * 2).never_kill()])
}

/// splitmix64.
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// From nothing to some seconds, mostly short.
    fn moment(&mut self) -> Duration {
        match self.below(20) {
            0..3 => Duration::ZERO,
            3..14 => Duration::from_micros(self.below(5_000)),
            14..17 => Duration::from_millis(self.below(400)),
            17.. => Duration::from_millis(self.below(15_000)),
        }
    }
}

const TEMPERS: [Temper; 7] = [
    Temper::Calm,
    Temper::Mixed,
    Temper::Crashing,
    Temper::Crashing,
    Temper::Stillborn,
    Temper::Barren,
    Temper::Frantic,
];

/// A walk that was stopped at once ends well before.
const MANY_TURNS: usize = 400;

/// What is due in ten years is not waited for.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
