//! A simulated kernel: forks that succeed, are refused or are reported late, and workers of every kind.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{Random, seats::Seats};
use crate::{
    event::ExitStatus,
    id::{Signal, WorkerId},
    supervisor::{
        Action, Look, SpawnFailure, Worn,
        tests::{
            referee::At,
            rig::{Input, Kernel, Place},
        },
    },
};

pub(super) struct SimKernel {
    pub(super) random: Random,
    /// What will be said to the supervisor, in order; what is said of a worker that is gone by then is stale.
    pub(super) agenda: BTreeMap<(At, u64), Input>,
    pub(super) last_id: u64,
    temper: Temper,
    addresses: usize,
    workers: HashMap<WorkerId, Manners>,
    scheduled: u64,
    pids: u32,
    pub(super) seats: Seats,
}

/// The mood of a whole walk.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Temper {
    /// Most workers come up and stay.
    Calm,
    /// Anything goes.
    Mixed,
    /// Most workers are ready for a moment and die.
    Crashing,
    /// Most workers die or fall silent before they are ready.
    Stillborn,
    /// Forks fail.
    Barren,
    /// Workers are ready and die many times a second.
    Frantic,
}

/// How one worker takes being told to leave.
#[derive(Clone, Copy)]
struct Manners {
    on_ask: OnAsk,
    on_term: OnTerm,
}

#[derive(Clone, Copy)]
enum OnAsk {
    Deaf,
    DeafLater,
    Drains(Duration),
    Never,
}

#[derive(Clone, Copy)]
enum OnTerm {
    Dies,
    ExitsCleanly,
    Ignores,
}

impl SimKernel {
    pub(super) fn new(mut random: Random, temper: Temper, addresses: usize) -> Self {
        let seats = Seats::new(random.fork());
        let (agenda, workers) = (BTreeMap::new(), HashMap::new());
        Self { random, agenda, last_id: 0, temper, addresses, workers, scheduled: 0, pids: 4000, seats }
    }

    pub(super) fn next(&self) -> Option<At> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn due(&mut self, now: At) -> Option<Input> {
        let first = self.agenda.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// The result of this fork will be reported later.
    pub(super) fn is_awaited(&self, id: WorkerId) -> bool {
        let mut answers = self.agenda.values();
        answers.any(|input| matches!(input, Input::Spawned(of, _) | Input::SpawnFailed(of, _) if *of == id))
    }

    fn schedule(&mut self, at: At, input: Input) {
        self.scheduled += 1;
        self.agenda.insert((at, self.scheduled), input);
    }

    fn fork(&mut self, now: At, id: WorkerId) -> Vec<Input> {
        self.last_id = self.last_id.max(id.as_u64());
        let barren = if self.temper == Temper::Barren { 60 } else { 4 };
        let answer = if self.random.chance(barren) {
            let failure = self.random.pick(&[SpawnFailure::Threads, SpawnFailure::Refused]);
            Input::SpawnFailed(id, failure)
        } else {
            self.pids += 1;
            self.born(now, id);
            Input::Spawned(id, self.pids)
        };
        if self.random.chance(10) {
            let at = now + self.random.moment();
            self.schedule(at, answer);
            return Vec::new();
        }
        let mut answers = vec![answer];
        if self.random.chance(3) {
            answers.push(answer);
        }
        answers
    }

    /// Plans the life of a worker: what it will say, and when.
    fn born(&mut self, now: At, id: WorkerId) {
        let manners = Manners {
            on_ask: match self.random.below(6) {
                0 => OnAsk::Deaf,
                1 => OnAsk::DeafLater,
                2 => OnAsk::Never,
                3.. => OnAsk::Drains(self.moment()),
            },
            on_term: self.random.pick(&[OnTerm::Dies, OnTerm::Dies, OnTerm::ExitsCleanly, OnTerm::Ignores]),
        };
        self.workers.insert(id, manners);
        let (starts, ends) = match self.temper {
            Temper::Calm | Temper::Barren => (97, 15),
            Temper::Mixed => (80, 50),
            Temper::Crashing => (95, 97),
            Temper::Frantic => (100, 100),
            Temper::Stillborn => (5, 80),
        };
        let mut at = now;
        let starts = self.random.chance(starts);
        if starts || self.random.chance(50) {
            at += self.moment();
            self.schedule(at, Input::Online(id));
        }
        if starts {
            at = self.comes_up(at, id);
        }
        if self.temper != Temper::Frantic {
            self.oddities(at, id);
        }
        if self.random.chance(ends) {
            at += self.moment();
            let status = self.status();
            self.dies(at, id, status);
        }
    }

    fn comes_up(&mut self, mut at: At, id: WorkerId) -> At {
        for address in 0..self.addresses {
            at += self.moment();
            self.schedule(at, Input::Listening(id, address));
        }
        if self.random.chance(70) {
            at += self.moment();
            self.schedule(at, Input::Ready(id));
        }
        at
    }

    fn moment(&mut self) -> Duration {
        match self.temper {
            Temper::Frantic => Duration::from_micros(self.random.below(3_000)),
            Temper::Calm | Temper::Mixed | Temper::Crashing | Temper::Stillborn | Temper::Barren => {
                self.random.moment()
            }
        }
    }

    /// Repeats, steps out of order, an early end of the channel.
    fn oddities(&mut self, at: At, id: WorkerId) {
        let address = self.random.below(self.addresses.max(1) as u64) as usize;
        for (chance, input) in [
            (8, Input::Online(id)),
            (8, Input::Ready(id)),
            (if self.addresses > 0 { 8 } else { 0 }, Input::Listening(id, address)),
            (8, Input::Said(id)),
            (6, Input::Leaving(id)),
            (3, Input::Leaving(id)),
            (6, Input::Retires(id)),
            (5, Input::ChannelClosed(id)),
            (if self.addresses > 0 { 8 } else { 0 }, Input::ListenerClosed(id, address)),
            (3, Input::Deaf(id)),
            (25, Input::Worn(id, Worn::Requests(5))),
        ] {
            if self.random.chance(chance) {
                let at = if self.random.chance(50) { at } else { at / 2 } + self.random.moment();
                self.schedule(at, input);
            }
        }
        if self.random.chance(8) {
            self.closes(at, id);
        }
    }

    /// It drops its listeners, most of them at least; some it opens again.
    fn closes(&mut self, at: At, id: WorkerId) {
        for address in 0..self.addresses {
            if self.random.chance(80) {
                self.schedule(at, Input::ListenerClosed(id, address));
                if self.random.chance(20) {
                    let again = at + self.random.moment();
                    self.schedule(again, Input::Listening(id, address));
                }
            }
        }
    }

    fn dies(&mut self, mut at: At, id: WorkerId, status: ExitStatus) {
        if self.random.chance(20) {
            self.closes(at, id);
            at += self.random.moment();
        }
        if self.random.chance(60) {
            self.schedule(at, Input::ChannelClosed(id));
        }
        self.schedule(at, Input::Exited(id, status));
        if self.random.chance(5) {
            self.schedule(at + self.random.clone().moment(), Input::Exited(id, status));
        }
    }

    fn status(&mut self) -> ExitStatus {
        let code = self.random.pick(&[0, 0, 1, 3, 101, 255]);
        match self.random.below(10) {
            0 => ExitStatus::unknown(),
            1..=3 => ExitStatus::from_wait_status(1 + self.random.below(64) as i32),
            4.. => ExitStatus::from_wait_status(code << 8),
        }
    }

    /// The borrower may decline, now or later.
    fn lent(&mut self, now: At, loan: u32, place: Place, to: WorkerId) -> Vec<Input> {
        if self.random.chance(10) {
            return vec![Input::Returned(to, loan)];
        }
        self.seats.lent(loan, place, to);
        if self.random.chance(10) {
            let at = now + self.random.moment();
            self.schedule(at, Input::Returned(to, loan));
        }
        Vec::new()
    }

    fn signalled(&mut self, now: At, id: WorkerId, signal: Signal) {
        let Some(manners) = self.workers.get(&id).copied() else { return };
        let at = now + self.random.moment();
        let by_signal = ExitStatus::from_wait_status(signal.as_raw());
        match signal {
            Signal::KILL => self.dies(at, id, by_signal),
            Signal::TERM => match manners.on_term {
                OnTerm::Dies => self.dies(at, id, by_signal),
                OnTerm::ExitsCleanly => self.dies(at, id, ExitStatus::from_wait_status(0)),
                OnTerm::Ignores => {}
            },
            _other => {
                if self.random.chance(30) {
                    self.dies(at, id, by_signal);
                }
            }
        }
    }
}

impl Kernel for SimKernel {
    fn address_added(&mut self) {
        self.addresses += 1;
    }

    fn perform(&mut self, now: At, action: &Action) -> Vec<Input> {
        match action {
            Action::Spawn { slot, id } => {
                self.seats.forked(*slot, *id);
                return self.fork(now, *id);
            }
            Action::Part { id, .. } => return vec![Input::Parted(*id, self.random.chance(50))],
            Action::Ask { id, .. } => match self.workers.get(id).map(|manners| manners.on_ask) {
                Some(OnAsk::Deaf) => return vec![Input::Deaf(*id)],
                Some(OnAsk::DeafLater) => {
                    let at = now + self.random.moment();
                    self.schedule(at, Input::Deaf(*id));
                }
                Some(OnAsk::Drains(needs)) => {
                    self.closes(now + needs / 2, *id);
                    self.dies(now + needs, *id, ExitStatus::from_wait_status(0));
                }
                Some(OnAsk::Never) => self.closes(now, *id),
                None => {}
            },
            Action::Signal { id, signal, .. } => self.signalled(now, *id, *signal),
            Action::Stay { .. } | Action::Shut { .. } | Action::Refuse | Action::Note { .. } => {}
            Action::Emit(_) | Action::Finish(_) => {}
            Action::Lend { loan, slot, address, to } => return self.lent(now, *loan, (slot.index(), *address), *to),
            Action::TakeBack { loan, .. } => self.seats.is_over(*loan),
            Action::Doze(true) if self.random.chance(30) => {
                let at = now + self.random.moment();
                self.schedule(at, Input::Stirred);
            }
            Action::Steer { .. } | Action::Nudge { .. } | Action::Doze(_) => {}
        }
        Vec::new()
    }

    fn look(&mut self, now: At, seats: &[WorkerId], doors: &[Place]) -> Look {
        self.seats.look(now, seats, doors)
    }
}
