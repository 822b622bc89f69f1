//! What was counted: by a worker since it told its master last, and in the master altogether.
//!
//! Every connection and every request that was begun is in exactly one of the counts, so what is still open is what is
//! missing in the sum. Connections that were kept to the end are counted, too: in the end these must be all that are open.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    answer::Answer,
    client::Asked,
    failure::Failure,
    plan::{Plan, trimmed},
};

pub(crate) struct Tally {
    /// Connections that ask what the load consists of.
    pub(crate) load: Book,
    /// Connections that are there for long and ask seldom or never.
    pub(crate) idle: Book,
    /// Nanoseconds from when a request was wanted to the end of its answer; or, if it was due and never begun, until it
    /// was given up: who waits longest must not be left out.
    pub(crate) latency: Histogram<u64>,
    /// Nanoseconds that it took to connect.
    pub(crate) connect: Histogram<u64>,
    /// How often each body came.
    pub(crate) bodies: BTreeMap<Vec<u8>, u64>,
    /// Nanoseconds for which the load lasted: until no more was asked, or to the last answer.
    pub(crate) lasted: u64,
    /// Nanoseconds that the first idle connection which the server has ended had lived.
    pub(crate) shortest_life: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Book {
    /// Connections: begun, and then established.
    pub(crate) started: u64,
    pub(crate) established: u64,
    /// Ended in order; and those of them that the server has closed while nothing was asked.
    pub(crate) closed: u64,
    pub(crate) closed_while_idle: u64,
    /// Still there when the load had ended, as a worker counts them that ends.
    pub(crate) kept: u64,
    /// Requests, those that wait for their connection included.
    pub(crate) begun: u64,
    pub(crate) ok: u64,
    /// Not answered, since their connection failed.
    pub(crate) lost: u64,
    /// Due in the open loop, and never begun.
    pub(crate) unsent: u64,
    /// Received.
    pub(crate) bytes: u64,
    pub(crate) failures: [u64; Failure::ALL.len()],
}

impl Book {
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failures[failure.index()] += 1;
    }

    pub(crate) fn failed(&self, failure: Failure) -> u64 {
        self.failures[failure.index()]
    }

    /// Answers that are not what was expected.
    pub(crate) fn wrong(&self) -> u64 {
        self.failed(Failure::WrongStatus) + self.failed(Failure::WrongBody)
    }

    /// Of every kind.
    pub(crate) fn errors(&self) -> u64 {
        self.failed_connections() + self.wrong() + self.unsent
    }

    pub(crate) fn failed_connections(&self) -> u64 {
        self.failures.iter().sum::<u64>() - self.wrong()
    }

    pub(crate) fn open_connections(&self) -> u64 {
        self.started.saturating_sub(self.closed + self.failed_connections())
    }

    pub(crate) fn open_requests(&self) -> u64 {
        self.begun.saturating_sub(self.ok + self.wrong() + self.lost)
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self { started, established, closed, closed_while_idle, kept, begun, ok, lost, unsent, bytes, failures } =
            self;
        let numbers = [started, established, closed, closed_while_idle, kept, begun, ok, lost, unsent, bytes];
        numbers.into_iter().chain(failures)
    }

    fn merge(&mut self, other: &mut Self) {
        self.numbers().zip(other.numbers()).for_each(|(mine, other)| *mine += *other);
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds in order, and three digits");
        Self {
            load: Book::default(),
            idle: Book::default(),
            latency: histogram(),
            connect: histogram(),
            bodies: BTreeMap::new(),
            lasted: 0,
            shortest_life: u64::MAX,
        }
    }

    /// Counts an answer as what it is. `begin`: of the load.
    pub(crate) fn judge(&mut self, plan: &Plan, begin: Instant, idle: bool, asked: Asked, answer: Answer, body: &[u8]) {
        let now = Instant::now();
        self.lasted = self.lasted.max(nanoseconds(now - begin));
        let book = if idle { &mut self.idle } else { &mut self.load };
        if !plan.expect.accepts_status(answer.status) {
            book.fail(Failure::WrongStatus);
        } else if !plan.expect.accepts_body(body) {
            book.fail(Failure::WrongBody);
        } else {
            book.ok += 1;
        }
        if !idle {
            self.latency.saturating_record(nanoseconds(now - asked.wanted));
        }
        if plan.count_bodies {
            self.count_body(trimmed(body), 1);
        }
    }

    /// A request was due since then, and no connection could take it.
    pub(crate) fn give_up(&mut self, due: Instant, now: Instant) {
        self.load.unsent += 1;
        self.latency.saturating_record(nanoseconds(now - due));
    }

    /// It has been told.
    pub(crate) fn clear(&mut self) {
        (self.load, self.idle) = (Book::default(), Book::default());
        self.latency.reset();
        self.connect.reset();
        self.bodies.clear();
    }

    /// A body that came; of too many different ones only the number is kept.
    pub(crate) fn count_body(&mut self, body: &[u8], times: u64) {
        if let Some(count) = self.bodies.get_mut(body) {
            *count += times;
            return;
        }
        let body = if self.bodies.len() < MOST_BODIES { body } else { OTHERS };
        *self.bodies.entry(body.to_vec()).or_default() += times;
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        self.load.merge(&mut other.load);
        self.idle.merge(&mut other.idle);
        for (mine, other) in [(&mut self.latency, other.latency), (&mut self.connect, other.connect)] {
            mine.add(other).expect("all have the same bounds");
        }
        other.bodies.iter().for_each(|(body, times)| self.count_body(body, *times));
        self.lasted = self.lasted.max(other.lasted);
        self.shortest_life = self.shortest_life.min(other.shortest_life);
    }

    /// As a message: numbers of eight bytes, and the bodies.
    pub(crate) fn encode(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut say = |number: u64| out.extend(number.to_le_bytes());
        self.load.numbers().chain(self.idle.numbers()).for_each(|number| say(*number));
        [self.lasted, self.shortest_life].into_iter().for_each(&mut say);
        for histogram in [&self.latency, &self.connect] {
            let buckets: Vec<_> = histogram.iter_recorded().collect();
            say(buckets.len() as u64);
            buckets.iter().flat_map(|step| [step.value_iterated_to(), step.count_at_value()]).for_each(&mut say);
        }
        for (body, times) in &self.bodies {
            out.extend((body.len() as u64).to_le_bytes());
            out.extend(times.to_le_bytes());
            out.extend(body);
        }
        out
    }

    /// `None`: that is none.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut this = Self::new();
        let Self { load, idle, lasted, shortest_life, latency, connect, .. } = &mut this;
        for place in load.numbers().chain(idle.numbers()).chain([lasted, shortest_life]) {
            *place = number(&mut bytes)?;
        }
        for histogram in [latency, connect] {
            for _ in 0..number(&mut bytes)? {
                histogram.saturating_record_n(number(&mut bytes)?, number(&mut bytes)?);
            }
        }
        while !bytes.is_empty() {
            let (length, times) = (number(&mut bytes)?, number(&mut bytes)?);
            let (body, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            this.bodies.insert(body.to_vec(), times);
            bytes = rest;
        }
        Some(this)
    }
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*first))
}

/// One hour in nanoseconds; what takes longer counts as that.
const LONGEST: u64 = 3_600_000_000_000;

const MOST_BODIES: usize = 1000;
const OTHERS: &[u8] = b"(others)";
