//! The rules of the design, checked on what goes into a supervisor and what comes out of it.
//!
//! It keeps facts (who was forked, asked, heard of, and when), derives from them what may happen (`actions`), what must
//! have happened at the end of a turn (`settled`), and says in plain words which rule was broken. Times are durations
//! since the start of the simulated clock.

mod actions;
mod begins;
mod doors;
mod ends;
mod goals;
mod hang;
mod inputs;
mod leaving;
mod loans;
mod recycling;
mod rollouts;
mod said;
mod scaling;
mod settled;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::{Duration, Instant},
};

use self::{
    doors::{Chances, Doors},
    hang::Pulse,
    loans::{Attended, Loans},
    recycling::Wear,
    rollouts::Rollouts,
    said::{Rank, Said},
    watch::Watch,
};
use crate::{
    config::{Backoff, Settings},
    event::{Address, Cause, ExitStatus, Shutdown, WorkerInfo},
    id::{RolloutId, Signal, WorkerId},
    wire::Leave,
};

pub(super) type At = Duration;
/// The rule that was broken.
pub(super) type Verdict = Result<(), String>;

pub(super) struct Referee {
    settings: Settings,
    /// By place; `None`: removed.
    addresses: Vec<Option<Address>>,
    base: Instant,
    slots: Vec<Book>,
    lives: BTreeMap<WorkerId, Life>,
    ids: HashSet<WorkerId>,
    forks_accepted: usize,
    /// How many slots are to be filled, from the first on.
    target: usize,
    rollouts: Rollouts,
    chances: Chances,
    watch: Watch,
    loans: Loans,
    /// When the cluster was started.
    began: At,
    stop: Option<Stop>,
    restarts: Vec<At>,
    ready_ever: bool,
    all_ready: Once,
    owed_stopping: VecDeque<Shutdown>,
    owed_fork_failed: VecDeque<(usize, WorkerId)>,
    /// Nobody new is let in.
    refused: bool,
    finished: bool,
}

/// What is known of one slot.
struct Book {
    holds: Holds,
    /// Who is to take its place.
    next: Next,
    /// Why.
    next_for: Cause,
    /// Nobody follows the one that is there: the program, or the worker, has said so.
    dismissed: bool,
    /// The program has forked here, beyond what is to be filled.
    by_hand: bool,
    /// Newcomers were led past it, and are to come again.
    owed_stay: bool,
    first: First,
    deaths: Vec<At>,
    /// The exponent of the back-off.
    delays: u32,
    /// No fork before some moment between these two.
    earliest: Span,
    /// A stop came between the death and the announcement of its back-off.
    moot: bool,
    doors: Doors,
    attended: BTreeMap<usize, Attended>,
    /// Newcomers are led past it, for nobody of it comes.
    led_past: bool,
    /// Who ended here unasked, with nobody forked since.
    last: Option<WorkerInfo>,
}

#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Empty,
    Retired(ExitStatus),
    /// A worker is wanted; `announced`: when exactly. The id is known if the program asked or the fork was tried
    /// before.
    Due {
        id: Option<WorkerId>,
        at: Span,
        announced: Option<At>,
        threads: bool,
    },
    Forking(WorkerId),
    Live(WorkerId),
}

#[derive(Clone, Copy, PartialEq)]
enum Next {
    Nobody,
    /// The fork is still to be performed.
    Ordered(WorkerId),
    Forking(WorkerId),
    Live(WorkerId),
}

#[derive(Clone, Copy, PartialEq)]
struct Span {
    from: At,
    to: At,
}

/// What became of the first worker of an initial slot.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Settled,
    Pending,
    Refused,
    Failed,
}

struct Stop {
    how: Shutdown,
    why: Why,
    /// The signals of the first request, and when it began.
    signals: Vec<Signal>,
    since: At,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Why {
    Asked,
    NeverReady,
    GaveUp,
}

#[derive(Clone, Copy, PartialEq)]
enum Once {
    NotYet,
    Owed,
    Done,
}

/// One worker process.
struct Life {
    slot: usize,
    pid: u32,
    forked: At,
    /// The rollout that had begun last.
    generation: RolloutId,
    online: Option<At>,
    ready: Option<At>,
    listens: Vec<Address>,
    /// The places where it accepts now.
    accepts: BTreeSet<usize>,
    /// At its first address.
    listening: Option<At>,
    /// The addresses that it was born with, and those of them that it has yet to listen at.
    born: Vec<Address>,
    awaited: Vec<Address>,
    /// It said so itself, before it listened everywhere.
    told_ready: bool,
    closed: bool,
    /// Since when newcomers are led past it, and whether that was ordered yet.
    parting: Option<At>,
    owed_part: bool,
    /// When it was asked to leave, or began to by itself, and until when it may take.
    left: Option<At>,
    until: At,
    /// Why it is to leave.
    reason: Option<Cause>,
    /// It was to leave, and needs not.
    stayed: Option<At>,
    deaf: bool,
    terminated: Option<At>,
    killed: Option<At>,
    missed_deadline: bool,
    wear: Wear,
    /// Since when it is to leave or to be ended.
    draining: Option<At>,
    exited: Option<At>,
    owed_asks: VecDeque<(Duration, Leave)>,
    /// A signal told it to leave, and the master has said nothing of it yet.
    awaits_word: bool,
    owed_signals: Vec<Signal>,
    sent: Vec<Signal>,
    owed: VecDeque<Said>,
    last: Option<Rank>,
    pulse: Pulse,
}

impl Referee {
    pub(super) fn begins(&mut self, now: At) {
        self.began = now;
    }

    pub(super) fn new(settings: Settings, addresses: Vec<Address>, base: Instant) -> Self {
        let slots = settings.max_workers.unwrap_or_else(|| settings.workers.max(64));
        let mut referee = Self {
            settings,
            addresses: addresses.into_iter().map(Some).collect(),
            base,
            slots: (0..slots).map(|_| Book::new()).collect(),
            lives: BTreeMap::new(),
            ids: HashSet::new(),
            forks_accepted: 0,
            target: 0,
            rollouts: Rollouts::default(),
            chances: Chances::default(),
            watch: Watch::default(),
            loans: Loans::default(),
            began: At::ZERO,
            stop: None,
            restarts: Vec::new(),
            ready_ever: false,
            all_ready: Once::NotYet,
            owed_stopping: VecDeque::new(),
            owed_fork_failed: VecDeque::new(),
            refused: false,
            finished: false,
        };
        referee.target = referee.initial();
        for slot in 0..referee.target {
            let book = &mut referee.slots[slot];
            book.first = First::Pending;
            book.holds = Holds::due(None, Span::exactly(Duration::ZERO));
        }
        referee
    }

    /// The program has taken all events; if the cluster is over it ends now, and its doors with it.
    pub(super) fn idles(&mut self) {
        if self.is_over() {
            self.doom_where_nobody_lives();
            self.watch.ends();
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// How many workers the start wants.
    fn initial(&self) -> usize {
        if self.settings.manual { 0 } else { self.settings.workers }
    }

    /// Nothing lives, is due or being forked, and something was begun or the end was asked for.
    pub(super) fn is_over(&self) -> bool {
        let empty = |book: &Book| matches!(book.holds, Holds::Empty | Holds::Retired(_)) && book.next == Next::Nobody;
        let empty = self.slots.iter().all(empty) && !self.is_busy();
        let begun = self.initial() > 0 || self.forks_accepted > 0;
        empty && self.lives.values().all(|life| life.exited.is_some()) && (begun || self.stop.is_some())
    }

    fn live(&mut self, id: WorkerId) -> Option<&mut Life> {
        self.lives.get_mut(&id).filter(|life| life.exited.is_none())
    }
}

impl Book {
    fn new() -> Self {
        Self {
            holds: Holds::Empty,
            next: Next::Nobody,
            next_for: Cause::Rollout,
            dismissed: false,
            by_hand: false,
            owed_stay: false,
            first: First::Settled,
            deaths: Vec::new(),
            delays: 0,
            earliest: Span::exactly(Duration::ZERO),
            moot: false,
            doors: Doors::new(),
            attended: BTreeMap::new(),
            led_past: false,
            last: None,
        }
    }
}

impl Holds {
    fn due(id: Option<WorkerId>, at: Span) -> Self {
        Holds::Due { id, at, announced: None, threads: false }
    }
}

impl Span {
    fn exactly(at: At) -> Self {
        Span { from: at, to: at }
    }

    /// 100 ms × 2ⁿ up to 30 s (or as configured), ± 20 %.
    fn of_delay(now: At, rule: &Backoff, delays: u32) -> Self {
        let (first, most) = (rule.first, rule.most);
        let nominal = (0..delays).fold(first, |delay, _| delay.saturating_mul(2).min(most)).min(most);
        let slack = Duration::from_micros(1);
        let from = (nominal / 5 * 4).saturating_sub(slack);
        let to = (nominal / 5).saturating_mul(6).saturating_add(slack);
        Self { from: now.saturating_add(from), to: now.saturating_add(to) }
    }

    fn not_before(self, now: At) -> Self {
        Span { from: self.from.max(now), to: self.to.max(now) }
    }
}

impl Life {
    fn new(slot: usize, pid: u32, forked: At, generation: RolloutId, born: Vec<Address>) -> Self {
        Self {
            slot,
            pid,
            forked,
            generation,
            online: None,
            ready: None,
            listens: Vec::new(),
            accepts: BTreeSet::new(),
            listening: None,
            born: born.clone(),
            awaited: born,
            told_ready: false,
            closed: false,
            parting: None,
            owed_part: false,
            left: None,
            until: At::ZERO,
            reason: None,
            stayed: None,
            deaf: false,
            terminated: None,
            killed: None,
            missed_deadline: false,
            wear: Wear::default(),
            draining: None,
            exited: None,
            owed_asks: VecDeque::new(),
            awaits_word: false,
            owed_signals: Vec::new(),
            sent: Vec::new(),
            owed: VecDeque::from([Said::Fork]),
            last: None,
            pulse: Pulse::default(),
        }
    }

    fn is_leaving(&self) -> bool {
        self.draining.is_some()
    }

    fn is_ready(&self) -> bool {
        self.exited.is_none() && self.ready.is_some() && !self.is_leaving()
    }
}
