//! One worker's part of the load: its connections, in one mio loop.
//!
//! In a closed loop each connection asks again when it was answered. In an open loop requests are due at fixed times;
//! one that no connection can take waits, and its latency counts from when it was due.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use mio_cluster::mio::{Registry, Token, event::Event};

use crate::{
    arrivals::Arrivals,
    client::{Asked, Client, End, Seen},
    connection::{Connection, News},
    failure::Failure,
    plan::{Plan, Share},
    socket::Sockets,
    tally::{Book, Tally, nanoseconds},
    timers::Timers,
};

pub(crate) struct Generator<'a> {
    plan: &'a Plan,
    registry: Registry,
    sockets: Sockets,
    /// As many requests as a connection has on its way.
    requests: Vec<u8>,
    input: Box<[u8]>,
    slots: Vec<Slot>,
    timers: Timers,
    /// In an open loop: those that can take a request.
    free: VecDeque<usize>,
    arrivals: Option<Arrivals>,
    /// Requests that may still be begun.
    left: Option<u64>,
    /// Idle connections that were not begun, and those that are on their way: a flood of them would be dropped.
    starting: VecDeque<usize>,
    connecting_idle: usize,
    /// Connections that carry the load.
    open: usize,
    begin: Instant,
    stage: Stage,
    pub(crate) tally: Tally,
}

struct Slot {
    is_idle: bool,
    connection: Option<Connection>,
    /// It is in `free`.
    is_free: bool,
}

impl Slot {
    fn has_deadline(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_deadline)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// Since then nothing new is due.
    Stopped(Instant),
    /// All that was due is on its way: who was answered is closed.
    Closing,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(plan: &'a Plan, share: Share, registry: Registry, begin: Instant) -> io::Result<Self> {
        let count = share.connections + share.idle;
        let slot = |at| Slot { is_idle: at >= share.connections, connection: None, is_free: false };
        let mut this = Self {
            plan,
            registry,
            sockets: Sockets::new(plan)?,
            requests: plan.request.repeat(plan.pipeline),
            input: vec![0; INPUT].into(),
            slots: (0..count).map(slot).collect(),
            timers: Timers::new(count),
            free: VecDeque::new(),
            // Who has no connection for them has none of the arrivals.
            arrivals: (plan.rate.filter(|_| share.connections > 0))
                .map(|rate| Arrivals::new(begin, rate, share.place, share.places)),
            left: share.requests,
            starting: (share.connections..count).collect(),
            connecting_idle: 0,
            open: 0,
            begin,
            stage: Stage::Running,
            tally: Tally::new(),
        };
        (0..share.connections).for_each(|at| this.settle(at));
        Ok(this)
    }

    /// No new requests but those that are due.
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.stage == Stage::Running {
            self.stage = Stage::Stopped(now);
            self.arrivals.iter_mut().for_each(|arrivals| arrivals.end(now));
            self.starting.clear();
            self.lasts(now);
        }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        let at = event.token().0;
        self.with_connection(at, |connection, requests, input, seen| connection.work(event, requests, input, seen));
        self.settle(at);
    }

    /// What the time brings; after the events of a turn, since it may close what they are about.
    pub(crate) fn turn(&mut self, now: Instant) {
        while let Some(at) = self.timers.over(now) {
            self.time_is_over(at, now);
            self.settle(at);
        }
        while self.connecting_idle < MOST_CONNECTING && self.stage == Stage::Running {
            let Some(at) = self.starting.pop_front() else { break };
            self.connecting_idle += 1;
            self.start(at, now);
            self.settle(at);
        }
        if self.left == Some(0) || self.is_deserted() {
            self.stop(now);
        }
        self.dispatch(now);
        if let Stage::Stopped(since) = self.stage {
            self.wind_up(now, since);
        }
    }

    /// When the next turn is due, whatever comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// When the next request of an open loop is due, if there is a connection for it.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.as_ref().filter(|_| !self.free.is_empty())?.next()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Closing && self.open == 0 && !self.slots.iter().any(Slot::has_deadline)
    }

    /// All counts, of which no more will follow.
    pub(crate) fn into_tally(mut self) -> Tally {
        for slot in self.slots.iter().filter(|slot| slot.connection.is_some()) {
            let book = if slot.is_idle { &mut self.tally.idle } else { &mut self.tally.load };
            book.kept += 1;
        }
        self.tally
    }

    /// There were only idle connections, and all have ended.
    fn is_deserted(&self) -> bool {
        let is_gone = |slot: &Slot| slot.is_idle && slot.connection.is_none();
        self.starting.is_empty() && self.slots.iter().all(is_gone)
    }

    fn wind_up(&mut self, now: Instant, since: Instant) {
        if self.left == Some(0) {
            self.arrivals = None;
        }
        if let Some(arrivals) = self.arrivals.as_mut().filter(|_| now >= since + self.plan.timeout) {
            std::iter::from_fn(|| arrivals.take(now)).for_each(|due| self.tally.give_up(due, now));
        }
        if self.arrivals.as_ref().and_then(Arrivals::next).is_none() {
            self.stage = Stage::Closing;
            (0..self.slots.len()).for_each(|at| self.settle(at));
        }
    }

    fn time_is_over(&mut self, at: usize, now: Instant) {
        let Some(connection) = &mut self.slots[at].connection else { return };
        if connection.has_deadline() {
            let end = connection.client.timed_out();
            return self.ended(at, end);
        }
        // It asks again, if it may.
        let next = connection.next_ping.take();
        if let (Stage::Running, Some(every)) = (self.stage, self.plan.ping) {
            connection.next_ping = next.map(|next| (next + every).max(now));
            self.ask(at, now, now);
            self.send(at);
        }
    }

    /// What follows from how a slot is now.
    fn settle(&mut self, at: usize) {
        if !self.slots[at].is_idle {
            // The server may ignore that this was to be its only request.
            self.close_if(at, self.plan.single);
            match self.arrivals {
                Some(_) => self.offer(at),
                None => self.fill(at),
            }
            self.close_if(at, self.stage == Stage::Closing);
        }
        if let Some(connection) = &mut self.slots[at].connection {
            self.timers.set(at, connection.due(Instant::now(), self.plan.timeout));
        }
    }

    /// A connection that has had all of its answers.
    fn close_if(&mut self, at: usize, is_unneeded: bool) {
        let is_done = |connection: &Connection| !connection.has_deadline();
        if is_unneeded && self.slots[at].connection.as_ref().is_some_and(is_done) {
            self.ended(at, End::InOrder);
        }
    }

    /// Closed loop: asks whatever this connection can.
    fn fill(&mut self, at: usize) {
        // After a failure it waits.
        if self.timers.is_set(at) && self.slots[at].connection.is_none() {
            return;
        }
        while self.stage == Stage::Running && self.has_room(at) && self.left != Some(0) {
            let now = Instant::now();
            if !self.ask(at, now, now) {
                return;
            }
        }
        self.send(at);
        if self.slots[at].connection.is_none() && self.stage == Stage::Running && !self.timers.is_set(at) {
            self.timers.set(at, Some(Instant::now()));
        }
    }

    /// Open loop: this connection can have a request.
    fn offer(&mut self, at: usize) {
        if self.has_room(at) && !self.slots[at].is_free {
            self.slots[at].is_free = true;
            self.free.push_back(at);
        }
    }

    /// Open loop: sends what is due, as far as there are connections for it.
    fn dispatch(&mut self, now: Instant) {
        while let Some(at) = self.free.front().copied() {
            let mut due = None;
            if self.has_room(at) && self.left != Some(0) {
                due = self.arrivals.as_mut().and_then(|arrivals| arrivals.take(now));
                if due.is_none() {
                    return;
                }
            }
            self.free.pop_front();
            self.slots[at].is_free = false;
            if let Some(due) = due {
                self.ask(at, due, Instant::now());
                self.send(at);
                self.settle(at);
            }
        }
    }

    fn has_room(&self, at: usize) -> bool {
        self.slots[at].connection.as_ref().is_none_or(|connection| {
            let client = &connection.client;
            !self.plan.single && !client.is_parting() && client.unanswered() < self.plan.pipeline
        })
    }

    /// Begins a request, on a new connection if there is none. Whether there is one now.
    fn ask(&mut self, at: usize, wanted: Instant, now: Instant) -> bool {
        self.left = self.left.map(|left| left.saturating_sub(u64::from(!self.slots[at].is_idle)));
        self.book(at).begun += 1;
        if self.slots[at].connection.is_none() && !self.start(at, now) {
            self.book(at).lost += 1;
            return false;
        }
        if let Some(connection) = &mut self.slots[at].connection {
            connection.ask(Asked { wanted, begun: now }, self.plan.request.len());
        }
        true
    }

    fn start(&mut self, at: usize, now: Instant) -> bool {
        self.book(at).started += 1;
        let client = match self.slots[at].is_idle && self.plan.ping.is_none() {
            true => Client::listening(),
            false => Client::new(self.plan.kept_body()),
        };
        match Connection::start(&mut self.sockets, &self.registry, Token(at), client, now) {
            Ok(connection) => {
                self.slots[at].connection = Some(connection);
                self.open += usize::from(!self.slots[at].is_idle);
                true
            }
            Err(error) => {
                self.connecting_idle -= usize::from(self.slots[at].is_idle);
                self.book(at).fail(Failure::of_connect(&error));
                self.pause(at);
                false
            }
        }
    }

    fn send(&mut self, at: usize) {
        self.with_connection(at, |connection, requests, input, seen| {
            let mut news = News::default();
            connection.send(requests);
            if connection.is_broken() {
                connection.read(true, input, seen, &mut news);
            }
            news
        });
    }

    fn with_connection(&mut self, at: usize, work: impl FnOnce(&mut Connection, &[u8], &mut [u8], Seen<'_>) -> News) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(connection) = &mut slot.connection else { return };
        let (plan, begin, tally, is_idle) = (self.plan, self.begin, &mut self.tally, slot.is_idle);
        let mut seen = |asked: Asked, answer, body: &[u8]| tally.judge(plan, begin, is_idle, asked, answer, body);
        let news = work(connection, &self.requests, &mut self.input, &mut seen);
        if news.established {
            let now = Instant::now();
            self.tally.connect.saturating_record(nanoseconds(now - connection.started));
            connection.next_ping = self.plan.ping.filter(|_| is_idle).map(|_| now);
            self.connecting_idle -= usize::from(is_idle);
        }
        let book = self.book(at);
        book.bytes += news.bytes;
        book.established += u64::from(news.established);
        if let Some(end) = news.end {
            self.ended(at, end);
        }
    }

    fn ended(&mut self, at: usize, end: End) {
        let Some(connection) = self.slots[at].connection.take() else { return };
        self.timers.set(at, None);
        let (is_idle, unanswered) = (self.slots[at].is_idle, connection.client.unanswered() as u64);
        let book = self.book(at);
        book.lost += unanswered;
        match end {
            End::InOrder => book.closed += 1,
            End::WhileIdle => {
                book.closed += 1;
                book.closed_while_idle += 1;
            }
            End::Failed(failure) => book.fail(failure),
        }
        if is_idle {
            let life = nanoseconds(connection.started.elapsed());
            self.tally.shortest_life = self.tally.shortest_life.min(life);
            self.connecting_idle -= usize::from(connection.client.is_connecting());
        } else {
            self.open -= 1;
        }
        if matches!(end, End::Failed(_)) {
            self.pause(at);
        }
    }

    /// Closed loop: who failed waits a moment, or a server that is gone would be asked a hundred thousand times.
    fn pause(&mut self, at: usize) {
        if self.arrivals.is_none() && !self.slots[at].is_idle {
            self.timers.set(at, Some(Instant::now() + PAUSE));
        }
    }

    fn book(&mut self, at: usize) -> &mut Book {
        if self.slots[at].is_idle { &mut self.tally.idle } else { &mut self.tally.load }
    }

    fn lasts(&mut self, now: Instant) {
        self.tally.lasted = self.tally.lasted.max(nanoseconds(now - self.begin));
    }
}

/// What is read at once.
const INPUT: usize = 64 << 10;

const PAUSE: Duration = Duration::from_millis(10);

/// A listening socket has a queue of this size, or of a larger one, almost everywhere.
const MOST_CONNECTING: usize = 128;
