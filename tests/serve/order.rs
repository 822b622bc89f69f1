//! Checks the documented order of the callbacks, whatever the service is and whatever its clients do.

use std::{
    collections::HashSet,
    io,
    sync::mpsc::Sender,
    thread::{self, ThreadId},
    time::Instant,
};

use mio_cluster::{
    Closed, Deadline, Io, Key, Posted, Service, SourceId, TimerId, Turn, WorkerEvent, mio::event::Event,
};

/// A callback that has returned.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) what: What,
    pub(crate) key: Option<Key>,
    /// The time of its turn.
    pub(crate) at: Instant,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Started,
    Opened,
    Received {
        shown: usize,
        used: usize,
    },
    Flushed,
    Posted,
    TimedOut(Deadline),
    Draining,
    EndOfInput,
    /// Why, as `Debug` writes it.
    Closed(String),
    Ready(SourceId),
    Timer(TimerId),
    /// As `Debug` writes it.
    Event(String),
}

/// Another service, watched.
pub(crate) struct Recorder<S> {
    service: S,
    facts: Sender<Fact>,
    thread: Option<ThreadId>,
    /// Every key that there ever was.
    keys: HashSet<Key>,
    open: usize,
}

/// A connection of it.
pub(crate) struct Traced<C> {
    conn: C,
    key: Key,
    was_draining: bool,
    has_ended: bool,
    /// What the service left of its last input: the length, and how it begins.
    left: usize,
    begins: Vec<u8>,
    /// It left all of it, and that was not for want of room.
    wants_more: bool,
}

impl<S: Service> Recorder<S> {
    pub(crate) fn new(service: S, facts: Sender<Fact>) -> Self {
        Self { service, facts, thread: None, keys: HashSet::new(), open: 0 }
    }

    fn note(&self, what: What, key: Option<Key>, at: Instant) {
        assert_eq!(self.thread, Some(thread::current().id()), "{what:?}: not the worker's thread, or before `started`");
        // A test that has seen enough listens no more.
        let _ = self.facts.send(Fact { what, key, at });
    }

    fn note_of(&self, what: What, conn: &Traced<S::Conn>, io: &Io<'_>) {
        assert_eq!(io.key(), conn.key, "{what:?}: another connection's `Io`");
        self.note(what, Some(conn.key), io.now());
    }
}

impl<S: Service> Service for Recorder<S> {
    type Conn = Traced<S::Conn>;

    fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        assert_eq!(self.thread.replace(thread::current().id()), None, "started twice");
        let result = self.service.started(turn);
        self.note(What::Started, None, turn.now());
        result
    }

    fn opened(&mut self, io: &mut Io<'_>) -> Self::Conn {
        let key = io.key();
        assert!(self.keys.insert(key), "{key:?} was given before");
        self.open += 1;
        assert_eq!(io.turn().connections(), self.open);
        let conn = self.service.opened(io);
        self.note(What::Opened, Some(key), io.now());
        Traced { conn, key, was_draining: false, has_ended: false, left: 0, begins: Vec::new(), wants_more: false }
    }

    fn received(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        let shown = input.len();
        assert!(shown > 0, "there is nothing to show");
        assert!(!conn.has_ended, "input after its end");
        assert!(input.starts_with(&conn.begins) && shown >= conn.left, "something else than what was left");
        assert!(!conn.wants_more || shown > conn.left, "no more than what was left");
        assert!(!io.is_full(), "there is no room for the answers");
        let used = self.service.received(&mut conn.conn, io, input);
        let rest = &input[used.min(shown)..];
        (conn.left, conn.begins) = (rest.len(), rest[..rest.len().min(COMPARED)].to_vec());
        conn.wants_more = used == 0 && !io.is_full();
        self.note_of(What::Received { shown, used }, conn, io);
        used
    }

    fn flushed(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        assert!(io.output().is_empty(), "not everything is out");
        self.service.flushed(&mut conn.conn, io);
        self.note_of(What::Flushed, conn, io);
    }

    fn posted(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, value: Posted) {
        self.service.posted(&mut conn.conn, io, value);
        self.note_of(What::Posted, conn, io);
    }

    fn timed_out(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, which: Deadline) {
        self.service.timed_out(&mut conn.conn, io, which);
        self.note_of(What::TimedOut(which), conn, io);
    }

    fn draining(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        assert!(io.is_draining() && !std::mem::replace(&mut conn.was_draining, true), "draining twice");
        self.service.draining(&mut conn.conn, io);
        self.note_of(What::Draining, conn, io);
    }

    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        assert!(!std::mem::replace(&mut conn.has_ended, true), "the input has ended twice");
        self.service.end_of_input(&mut conn.conn, io);
        self.note_of(What::EndOfInput, conn, io);
    }

    fn closed(&mut self, conn: Self::Conn, turn: &mut Turn<'_>, why: Closed) {
        self.open -= 1;
        assert_eq!(turn.connections(), self.open);
        let what = What::Closed(format!("{why:?}"));
        self.service.closed(conn.conn, turn, why);
        self.note(what, Some(conn.key), turn.now());
    }

    fn ready(&mut self, turn: &mut Turn<'_>, id: SourceId, event: &Event) {
        self.service.ready(turn, id, event);
        self.note(What::Ready(id), None, turn.now());
    }

    fn timer(&mut self, turn: &mut Turn<'_>, id: TimerId) {
        self.service.timer(turn, id);
        self.note(What::Timer(id), None, turn.now());
    }

    fn event(&mut self, turn: &mut Turn<'_>, event: WorkerEvent) {
        let what = What::Event(format!("{event:?}"));
        self.service.event(turn, event);
        self.note(what, None, turn.now());
    }
}

/// All connections that were opened are closed when the loop ends.
impl<S> Drop for Recorder<S> {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(self.open, 0, "connections without `closed`");
        }
    }
}

/// Enough to notice bytes that are out of place.
const COMPARED: usize = 64;
