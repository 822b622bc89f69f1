//! The loop: one turn after the other, until the worker has drained.

use std::{io, mem, time::Duration};

use mio::{Events, Interest};

use super::{
    accept::{ACCEPTS, Doors, Guest},
    alarm::NextDeadline,
    batch::Batch,
    buffers::Buffers,
    connection::{Connection, Head, NEVER, OUTERMOST, Phase, Reading},
    deadlines::{Due, Limits},
    drive::{Drive, Progress, Until},
    io::{Below, Io, Wish},
    mailbox::{Inbox, Letter},
    options::Serve,
    service::{Closed, Deadline, Service},
    table::{Key, Table, Target},
    turn::{Hub, SourceId, Turn},
    wheel::Wheel,
};
use crate::{
    error::{Error, Result},
    scoreboard::{Reason, now},
    worker::{Worker, boot::TARGET},
};

pub(super) struct Loop<S: Service> {
    worker: Worker,
    service: S,
    hub: Hub,
    inbox: Inbox,
    doors: Doors,
    connections: Table<Connection<S::Conn>>,
    limits: Limits,
    wheel: Wheel,
    next_deadline: NextDeadline,
    buffers: Buffers,
    /// Had more to do than one turn allows.
    unfinished: Vec<Key>,
    /// Those of them that have this turn; empty between turns.
    resumed: Vec<Key>,
    batch: Batch,
}

impl<S: Service> Loop<S> {
    pub(super) fn new(mut worker: Worker, options: Serve, service: S) -> Result<Self> {
        options.check()?;
        // It hears from now on, so whoever asks it to drain before its first turn need not end it.
        worker.is_draining();
        let limits = Limits::new(&options);
        let shed_after = options.shed_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(NEVER));
        let (hub, inbox) = Hub::new(&worker, options)?;
        let watched = hub.poll.registry().register(&mut worker, Target::Worker.token(), Interest::READABLE);
        watched.map_err(|error| Error::system("watching the worker", error))?;
        let next_deadline = NextDeadline::new(hub.poll.registry());
        let next_deadline = next_deadline.map_err(|error| Error::system("creating the worker's timer", error))?;
        let doors = Doors::open(&mut worker, hub.poll.registry(), shed_after)?;
        Ok(Self {
            worker,
            service,
            hub,
            inbox,
            doors,
            connections: Table::new(),
            limits,
            wheel: Wheel::new(),
            next_deadline,
            buffers: Buffers::new(),
            unfinished: Vec::new(),
            resumed: Vec::new(),
            batch: Batch::new(),
        })
    }

    pub(super) fn run(mut self) -> Result<()> {
        let started = self.service.started(&mut Turn { hub: &mut self.hub });
        started.map_err(|error| Error::system("starting the service", error))?;
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_finished() {
            self.set_alarm()?;
            let (timeout, busy) = (self.timeout(), self.hub.options.busy_poll);
            let polled = self.worker.poll_busily(&mut self.hub.poll, &mut events, timeout, busy);
            let since = polled.map_err(|error| Error::system("waiting for events", error))?;
            self.turn(&events, since)?;
        }
        Ok(())
    }

    /// `since`: when it began.
    fn turn(&mut self, events: &Events, mut since: u64) -> Result<()> {
        self.hub.clock.turn(since);
        self.notice_drain();
        mem::swap(&mut self.unfinished, &mut self.resumed);
        // One alone has nobody to wait for.
        let until = if events.iter().nth(1).is_some() { Until::Unsent } else { Until::Waiting };
        for event in events {
            match Target::of(event.token()) {
                Target::Connection(key) => {
                    if let Some(connection) = self.connections.find(key) {
                        match connection.head.note(event) {
                            // It goes on below, or has had its turn and gets the next one: never two in one.
                            Ok(()) if connection.head.listed => {}
                            Ok(()) => self.work(key, until),
                            Err(why) => self.close(key, why),
                        }
                    }
                }
                Target::Door(address) => self.doors.knock(address),
                Target::Source(id) => self.service.ready(&mut Turn { hub: &mut self.hub }, SourceId(id), event),
                Target::Alarm => self.next_deadline.has_rung(),
                Target::Worker | Target::Waker => {}
            }
            if self.batch.is_full() {
                self.send(since);
                since = now();
            }
        }
        self.send(since);
        self.go_on();
        if self.doors.is_waiting() {
            self.accept()?;
        }
        self.deliver();
        if self.next_deadline.is_due(self.hub.clock.ms) {
            self.end_deadlines();
            self.end_timers();
        }
        self.hear();
        self.count();
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.hub.draining_since.is_some() && self.connections.len() == 0 && self.doors.are_gone()
    }

    /// None: until something happens.
    fn timeout(&self) -> Option<Duration> {
        let more = !self.unfinished.is_empty() || !self.hub.posts.is_empty() || self.inbox.is_rung();
        (more || (self.doors.is_waiting() && !self.is_full())).then_some(Duration::ZERO)
    }

    fn set_alarm(&mut self) -> Result<()> {
        let next = [self.wheel.next(), self.hub.timers.next()].into_iter().flatten().min().unwrap_or(NEVER);
        let set = self.next_deadline.is(next, &self.hub.clock);
        set.map_err(|error| Error::system("setting the worker's timer", error))
    }

    fn is_full(&self) -> bool {
        self.connections.len() >= self.hub.options.max_connections
    }

    fn notice_drain(&mut self) {
        if self.hub.draining_since.is_some() || !self.worker.is_draining() {
            return;
        }
        self.hub.draining_since = Some(self.hub.clock.ms);
        log::debug!(
            target: TARGET,
            "worker {} drains, open connections: {}",
            self.worker.id(),
            self.connections.len()
        );
        self.doors.knock_all();
        for key in self.connections.keys() {
            self.drive(key, |drive, out| drive.tell_drain(out));
        }
    }

    #[inline(never)]
    fn accept(&mut self) -> Result<()> {
        for place in self.doors.places() {
            for _ in 0..ACCEPTS {
                if self.is_full() {
                    break;
                }
                let accepted = self.doors.accept(place, self.hub.clock.ms);
                let accepted = accepted.map_err(|error| Error::system("accepting connections", error))?;
                let Some(guest) = accepted else { break };
                self.buffers.prepare();
                if guest.is_shed {
                    self.doors.shed(guest, &mut self.buffers.read, &self.hub.row);
                } else {
                    self.open(guest);
                }
            }
        }
        self.doors.sweep();
        self.hub.row.set_full(self.is_full());
        Ok(())
    }

    fn open(&mut self, guest: Guest) {
        let Some(key) = self.connections.next_key() else {
            log::warn!(target: TARGET, "a connection is dropped: no more than {} can be open", self.connections.len());
            return self.hub.row.closed_because(Reason::Failed);
        };
        let mut head = Head::new(guest.stream, guest.peer, guest.address, key, self.hub.clock.ms);
        let (mut out, mut wish) = (self.buffers.take(), Wish::default());
        self.hub.open += 1;
        let below = Below::default();
        let mut io =
            Io { head: &mut head, output: &mut out, wish: &mut wish, below, level: OUTERMOST, hub: &mut self.hub };
        let conn = self.service.opened(&mut io);
        let drains = self.hub.draining_since.is_some();
        // One that is closed at once, or told to leave, may have sent something, too.
        if guest.is_deferred || drains || wish.end.is_some() {
            head.reading = Reading::Ready;
        }
        if out.is_empty() {
            self.buffers.give_back(out);
        } else {
            head.output = out;
        }
        self.connections.insert(key, Connection { head, conn });
        self.drive(key, |drive, _out| drive.connection.head.grant(wish));
        // After what has come was answered: the service may close now.
        if drains {
            self.drive(key, |drive, out| drive.tell_drain(out));
        }
        self.set_deadline(key);
        self.watch(key);
    }

    /// One registration, for as long as the connection lives. One that is gone by now needs none.
    fn watch(&mut self, key: Key) {
        let Some(connection) = self.connections.find(key) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let token = Target::Connection(key).token();
        if let Err(error) = self.hub.poll.registry().register(&mut connection.head.stream, token, interest) {
            log::warn!(target: TARGET, "a connection is dropped, watching it failed: {error}");
            self.close(key, Closed::Failed(error));
        }
    }

    fn work(&mut self, key: Key, until: Until) {
        self.drive_until(key, until, |_drive, _out| Ok(()));
    }

    /// `since`: when the first of the batch received.
    fn send(&mut self, since: u64) {
        let mut keys = self.batch.take(|| now().saturating_sub(since));
        for key in keys.drain(..) {
            self.work(key, Until::Waiting);
        }
        self.batch.give_back(keys);
    }

    fn go_on(&mut self) {
        while let Some(key) = self.resumed.pop() {
            if let Some(connection) = self.connections.find(key) {
                connection.head.listed = false;
                self.work(key, Until::Waiting);
            }
        }
    }

    fn drive(&mut self, key: Key, first: impl FnOnce(&mut Drive<'_, S>, &mut Vec<u8>) -> Result<(), Closed>) {
        self.drive_until(key, Until::Waiting, first);
    }

    fn drive_until(
        &mut self,
        key: Key,
        until: Until,
        first: impl FnOnce(&mut Drive<'_, S>, &mut Vec<u8>) -> Result<(), Closed>,
    ) {
        let Some(connection) = self.connections.find(key) else { return };
        let (service, hub, buffers) = (&mut self.service, &mut self.hub, &mut self.buffers);
        let before = (connection.head.waits, connection.head.own_deadline);
        match (Drive { service, connection: &mut *connection, hub, buffers }).run(until, first) {
            Progress::Gone(why) => return self.close(key, why),
            Progress::Unsent => self.batch.push(key),
            Progress::Unfinished if !mem::replace(&mut connection.head.listed, true) => self.unfinished.push(key),
            Progress::Unfinished | Progress::Waiting => {}
        }
        // As long as it waits for the same, its deadline only moves later, and is left where it is until it comes.
        if before != (connection.head.waits, connection.head.own_deadline) || self.hub.draining_since.is_some() {
            self.set_deadline(key);
        }
    }

    fn set_deadline(&mut self, key: Key) {
        let Some(connection) = self.connections.find(key) else { return };
        let (when, _) = self.limits.due(&connection.head, self.hub.draining_since);
        if when < self.wheel.when(key.index).unwrap_or(NEVER) {
            self.wheel.set(key.index, when);
        }
    }

    fn close(&mut self, key: Key, why: Closed) {
        let Some(Connection { head, conn }) = self.connections.remove(key) else { return };
        self.wheel.remove(key.index);
        // First of all: closing it takes it out of the poll, too.
        drop(head.stream);
        self.buffers.give_back(head.input);
        self.buffers.give_back(head.output);
        self.hub.open -= 1;
        self.hub.row.closed_because(why.reason());
        self.service.closed(conn, &mut Turn { hub: &mut self.hub }, why);
        self.doors.make_room();
    }

    /// What was sent to connections, from callbacks and from threads.
    fn deliver(&mut self) {
        // What these cause waits for the next turn.
        for _ in 0..self.hub.posts.len() {
            let Some((key, value)) = self.hub.posts.pop_front() else { break };
            self.post(key, Letter::Posted(value));
        }
        for _ in 0..LETTERS {
            let Some((key, letter)) = self.inbox.next() else { break };
            self.post(key, letter);
        }
    }

    fn post(&mut self, key: Key, letter: Letter) {
        self.drive(key, |drive, out| {
            let head = &mut drive.connection.head;
            let value = match letter {
                Letter::Posted(value) => Ok(value),
                Letter::JobEnded(result) => {
                    head.jobs -= 1;
                    result.map_err(|panic| Closed::Failed(io::Error::other(panic)))
                }
            };
            match head.phase {
                Phase::Open => {
                    let value = value?;
                    drive.call(out, |service, conn, io| service.posted(conn, io, value))
                }
                // Nobody waits for it any more.
                Phase::Closing { .. } | Phase::Lingering => Ok(()),
            }
        });
    }

    #[inline(never)]
    fn end_deadlines(&mut self) {
        let now = self.hub.clock.ms;
        while let Some(index) = self.wheel.pop(now) {
            let Some(connection) = self.connections.at(index) else { continue };
            let head = &mut connection.head;
            let (key, (when, due)) = (head.key, self.limits.due(head, self.hub.draining_since));
            if when > now {
                if when != NEVER {
                    self.wheel.set(index, when);
                }
                continue;
            }
            match due {
                Due::Deadline(which) => {
                    if which == Deadline::Own {
                        head.own_deadline = NEVER;
                    }
                    self.drive(key, |drive, out| drive.time_out(out, which));
                    self.set_deadline(key);
                }
                Due::Linger => {
                    let why = head.closed();
                    self.close(key, why);
                }
            }
        }
    }

    #[inline(never)]
    fn end_timers(&mut self) {
        while let Some(id) = self.hub.timers.pop(self.hub.clock.ms) {
            self.service.timer(&mut Turn { hub: &mut self.hub }, id);
        }
    }

    fn hear(&mut self) {
        while self.worker.has_events() {
            match self.worker.next_event() {
                Some(event) => {
                    self.doors.follow(&mut self.worker, &mut self.hub, &event);
                    self.service.event(&mut Turn { hub: &mut self.hub }, event);
                }
                None => break,
            }
        }
    }

    fn count(&mut self) {
        match mem::take(&mut self.hub.requests) {
            0 => {}
            requests => self.hub.row.requests(requests),
        }
    }
}

const EVENTS: usize = 1024;

/// Per turn: threads, or callbacks, that send without end must not keep connections waiting.
const LETTERS: usize = 1024;
