//! A worker: its own mio loop, its own listeners, every connection that it accepted, and an orderly end.
//!
//! Drain: what waits at the doors is accepted, then they are closed; from the first turn on every answer says
//! `Connection: close`; the worker function returns when no connection is left. A peer that stalls in the middle of a
//! request or an answer is waited for; the cluster's drain timeout is what bounds that.

use std::{
    collections::VecDeque,
    fmt::Display,
    io,
    time::{Duration, Instant, SystemTime},
};

use mio_cluster::{
    Row, Worker,
    mio::{Events, Poll, Token, event::Event},
};

use crate::{
    answer::Host,
    connection::{Connection, Progress},
    date::{Date, Field},
    door::Door,
    output::Output,
    table::Table,
};

/// The worker function: serves all addresses until the worker is asked to leave.
pub(crate) fn serve(mut worker: Worker) -> io::Result<()> {
    let mut server = Server::new(&mut worker)?;
    let mut events = Events::with_capacity(EVENTS);
    while !server.is_finished() {
        let timeout = server.timeout();
        worker.poll(&mut server.poll, &mut events, timeout)?;
        server.turn(&worker, &events);
    }
    Ok(())
}

struct Server {
    poll: Poll,
    /// For the scoreboard; accepted connections are counted by the listeners.
    row: Row,
    doors: Vec<Door>,
    connections: Table<Connection>,
    /// Had more to do than one turn allows.
    unfinished: Vec<Token>,
    /// In the order of their deadlines; may name connections that are gone already.
    lingering: VecDeque<(Instant, Token)>,
    drain: Drain,
    date: Date,
    /// Where every read goes first, so that an idle connection holds no buffer.
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Drain {
    NotAsked,
    /// Idle connections may still bring a request that was on its way.
    Grace {
        until: Instant,
    },
    /// A connection is closed as soon as it is idle.
    Over,
}

impl Server {
    fn new(worker: &mut Worker) -> io::Result<Self> {
        let poll = Poll::new()?;
        let names: Vec<String> = worker.addresses().iter().map(|address| address.name().to_owned()).collect();
        let open = |(at, name): (usize, &String)| Door::open(worker, name, poll.registry(), Token(at));
        let doors = names.iter().enumerate().map(open).collect::<io::Result<Vec<Door>>>()?;
        Ok(Self {
            poll,
            row: worker.row(),
            doors,
            connections: Table::new(),
            unfinished: Vec::new(),
            lingering: VecDeque::new(),
            drain: Drain::NotAsked,
            date: Date::new(),
            buffer: vec![0; READ],
        })
    }

    fn turn(&mut self, worker: &Worker, events: &Events) {
        let now = Instant::now();
        self.date.turn(now, SystemTime::now);
        self.notice_drain(worker, now);
        for token in std::mem::take(&mut self.unfinished) {
            self.work(token, worker, now);
        }
        for event in events {
            self.handle(event, worker, now);
        }
        self.accept(now);
        self.end_lingering(now);
        self.end_grace(worker, now);
    }

    fn is_finished(&self) -> bool {
        let nobody_left = self.drain != Drain::NotAsked && self.connections.len() == 0;
        nobody_left && self.doors.iter().all(Door::is_stuck)
    }

    /// How long the next poll may wait; an idle worker has no deadline and is woken by nothing.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let unfinished = (!self.unfinished.is_empty()).then_some(now);
        let grace = match self.drain {
            Drain::Grace { until } => Some(until),
            Drain::NotAsked | Drain::Over => None,
        };
        let lingering = self.lingering.front().map(|&(until, _)| until);
        let doors = self.doors.iter().filter_map(|door| door.due(now)).min();
        let next = [unfinished, grace, lingering, doors].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn notice_drain(&mut self, worker: &Worker, now: Instant) {
        if self.drain == Drain::NotAsked && worker.is_draining() {
            log::debug!("worker {} drains, open connections: {}", worker.id(), self.connections.len());
            self.drain = Drain::Grace { until: now + IDLE_GRACE };
            self.doors.iter_mut().for_each(Door::knock);
        }
    }

    fn handle(&mut self, event: &Event, worker: &Worker, now: Instant) {
        if let Some(door) = self.doors.iter_mut().find(|door| door.token() == event.token()) {
            door.knock();
        } else if let Some(connection) = self.connections.get_mut(event.token()) {
            connection.note(event);
            self.work(event.token(), worker, now);
        }
    }

    fn work(&mut self, token: Token, worker: &Worker, now: Instant) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        match connection.work(&Here { worker, row: &self.row, date: &self.date }, &mut self.buffer) {
            Progress::Waiting if self.drain == Drain::Over && connection.is_idle() => self.close(token),
            Progress::Waiting => {}
            Progress::Unfinished => self.unfinished.push(token),
            Progress::Lingering => {
                self.lingering.push_back((now + LINGER, token));
                self.unfinished.push(token);
            }
            Progress::Closed => self.close(token),
            Progress::Exit(code) => end_process(worker, code),
        }
    }

    fn accept(&mut self, now: Instant) {
        let registry = self.poll.registry();
        for door in &mut self.doors {
            door.accept(now, |stream| {
                let admitted = self.connections.insert_with(|token| Connection::register(stream, registry, token));
                if let Err(error) = admitted {
                    self.row.closed();
                    log::warn!("a connection is dropped: {error}");
                }
            });
        }
        if self.drain != Drain::NotAsked {
            // `drain` was set before the accepts, so an empty queue stays empty: nobody is left behind a closed door.
            let (empty, rest) = self.doors.drain(..).partition(Door::is_empty);
            self.doors = rest;
            Vec::into_iter(empty).for_each(|door| door.close(registry));
        }
    }

    fn end_lingering(&mut self, now: Instant) {
        while let Some(&(until, token)) = self.lingering.front() {
            if until > now {
                return;
            }
            self.lingering.pop_front();
            self.close(token);
        }
    }

    fn end_grace(&mut self, worker: &Worker, now: Instant) {
        if !matches!(self.drain, Drain::Grace { until } if until <= now) {
            return;
        }
        self.drain = Drain::Over;
        for token in self.connections.tokens() {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.look_again();
            }
            self.work(token, worker, now);
        }
    }

    fn close(&mut self, token: Token) {
        // Dropping the stream closes it, and the kernel takes it out of the poll.
        if self.connections.remove(token).is_some() {
            self.row.closed();
        }
        // A descriptor is free again.
        self.doors.iter_mut().for_each(Door::retry);
    }
}

/// The process that answers.
pub(crate) struct Here<'a> {
    worker: &'a Worker,
    row: &'a Row,
    date: &'a Date,
}

impl Here<'_> {
    pub(crate) fn with<'a>(&'a self, output: &'a mut Output) -> To<'a> {
        To { here: self, output }
    }
}

/// To one connection.
pub(crate) struct To<'a> {
    here: &'a Here<'a>,
    output: &'a mut Output,
}

impl Host for To<'_> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.output.text()
    }

    fn is_full(&self) -> bool {
        self.output.is_full()
    }

    fn is_draining(&self) -> bool {
        self.here.worker.is_draining()
    }

    fn date(&self) -> Field {
        *self.here.date.field()
    }

    fn worker(&self) -> impl Display {
        self.here.worker.id()
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn count(&mut self) {
        self.here.row.requests(1);
    }

    fn sleep(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[expect(clippy::exit, reason = "what /exit/CODE is for")]
fn end_process(worker: &Worker, code: u8) -> ! {
    log::warn!("worker {} exits with code {code}, as a request told it to", worker.id());
    std::process::exit(code.into())
}

/// From the start of the drain. Closing idle connections at once would reset a request that its client has already
/// sent; within a second it is here, and its answer tells the client to close.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How long a peer may take to close after its last answer: some round trips.
const LINGER: Duration = Duration::from_secs(1);

const EVENTS: usize = 1024;

/// A loopback client with many requests in flight fills it; of an idle worker it is never touched.
const READ: usize = 64 << 10;
