//! What callbacks can do besides writing to a connection, and what all connections of a worker share.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap, VecDeque},
    fmt, io,
    marker::PhantomData,
    time::{Duration, Instant},
};

use mio::{Interest, Poll, Registry, Waker, event::Source};

use super::{
    mailbox::{Inbox, Mailbox, Posted, mailbox},
    options::Serve,
    pool::{Job, Pool},
    table::{Key, MAX_INDEX, Target},
};
use crate::{
    error::{Error, Result},
    event::Message,
    id::{RequestId, Slot, WorkerId},
    scoreboard::{self, Row},
    wire::Purpose,
    worker::{Voice, Worker, WorkerHandle},
};

/// The worker's loop, as callbacks of a [`Service`](crate::Service) that belong to no connection see it, and
/// [`Io::turn`](crate::Io::turn) of those that do.
pub struct Turn<'a> {
    pub(super) hub: &'a mut Hub,
}

/// A source of the service's own; any number, chosen by the service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub u32);

/// A timer of the service; any number, chosen by the service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(pub u32);

impl Turn<'_> {
    /// Watches a source of the service's own in the worker's `Poll`; its events come to
    /// [`Service::ready`](crate::Service::ready).
    ///
    /// **Errors**: those of [`Registry::register`].
    pub fn register(&self, source: &mut impl Source, id: SourceId, interest: Interest) -> io::Result<()> {
        self.registry().register(source, token(id)?, interest)
    }

    /// **Errors**: those of [`Registry::reregister`].
    pub fn reregister(&self, source: &mut impl Source, id: SourceId, interest: Interest) -> io::Result<()> {
        self.registry().reregister(source, token(id)?, interest)
    }

    /// **Errors**: those of [`Registry::deregister`].
    pub fn deregister(&self, source: &mut impl Source) -> io::Result<()> {
        self.registry().deregister(source)
    }

    /// Calls [`Service::timer`](crate::Service::timer) once, so long from now, rounded up to milliseconds; `None` takes
    /// the timer back. A timer that is set again is moved.
    pub fn set_timer(&mut self, id: TimerId, after: Option<Duration>) {
        let when = after.map(|after| self.hub.clock.after(after));
        self.hub.timers.set(id, when);
    }

    /// Sends a value to a connection of this worker: it comes to [`Service::posted`](crate::Service::posted) in this
    /// turn or the next. If the connection is gone or closing, the value is dropped.
    pub fn post<T: Any + Send>(&mut self, to: Key, value: T) {
        self.hub.posts.push_back((to, Posted::new(value)));
    }

    /// For threads of the program: sends to connections of this worker, and wakes it.
    pub fn mailbox(&self) -> Mailbox {
        self.hub.mailbox.clone()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.hub.open
    }

    /// The worker's line of the scoreboard.
    pub fn row(&self) -> &Row {
        &self.hub.row
    }

    /// Which worker this is.
    pub fn worker(&self) -> (Slot, WorkerId) {
        (self.hub.slot, self.hub.id)
    }

    /// Whether the worker is to leave.
    pub fn is_draining(&self) -> bool {
        self.hub.draining_since.is_some()
    }

    /// When this turn began; the loop reads the clock once per turn.
    pub fn now(&self) -> Instant {
        self.hub.clock.now
    }

    /// Tells the master that this worker may be counted on, see [`Worker::ready`]. Only needed with
    /// [`ReadyWhen::Told`](crate::ReadyWhen::Told): the worker listens by the time of
    /// [`Service::started`](crate::Service::started), and may have something to load before it can answer.
    ///
    /// **Errors**: the master is gone.
    ///
    /// ```no_run
    /// use std::io;
    /// use mio_cluster::{Cluster, Io, ReadyWhen, Service, Turn};
    ///
    /// struct Dictionary(Vec<u8>);
    ///
    /// impl Service for Dictionary {
    ///     type Conn = ();
    ///
    ///     fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
    ///         self.0 = std::fs::read("/usr/share/dict/words")?;
    ///         turn.ready().map_err(io::Error::from)
    ///     }
    ///
    ///     fn opened(&mut self, io: &mut Io<'_>) {
    ///         io.write(&self.0);
    ///         io.close();
    ///     }
    ///
    ///     fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
    ///         input.len()
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// let cluster = Cluster::new().listen("127.0.0.1:2628").ready_when(ReadyWhen::Told);
    /// cluster.run(|worker| worker.serve(Dictionary(Vec::new())))
    /// # }
    /// ```
    pub fn ready(&self) -> Result<()> {
        self.hub.handle.ready()
    }

    /// Sends a message to the master, see [`Worker::send`]. Small ones share a packet: one per request costs next to
    /// nothing. [`docs::serving`](crate::docs::serving) has an example, and the way back.
    ///
    /// **Errors**: as there.
    pub fn send(&self, message: impl Into<Message>) -> Result<()> {
        self.hub.voice.say(self.hub.clock.ns, Purpose::Plain, message.into())
    }

    /// Replies to a message of the master that [wants it](Message::wants_reply), see [`Worker::reply`]; also later than
    /// in the callback that got it. [`docs::messages`](crate::docs::messages) has an example.
    ///
    /// **Errors**: as there.
    pub fn reply(&self, to: RequestId, message: impl Into<Message>) -> Result<()> {
        self.hub.voice.say(self.hub.clock.ns, Purpose::Reply(to), message.into())
    }

    /// "I am leaving", see [`Worker::disconnect`]: the worker goes on until the master asks it to drain, then drains,
    /// and `serve` returns after that.
    ///
    /// **Errors**: the master is gone.
    pub fn disconnect(&self) -> Result<()> {
        self.hub.handle.disconnect()
    }

    fn registry(&self) -> &Registry {
        self.hub.poll.registry()
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("worker", &self.hub.id).finish_non_exhaustive()
    }
}

/// What all connections of a worker share.
pub(super) struct Hub {
    pub(super) poll: Poll,
    pub(super) options: Serve,
    pub(super) clock: Clock,
    pub(super) timers: Timers,
    /// From callbacks to connections; values from threads come through the inbox.
    pub(super) posts: VecDeque<(Key, Posted)>,
    pub(super) mailbox: Mailbox,
    pool: Pool,
    /// Of the addresses, by place; what is gone keeps its name for connections that came there.
    names: Vec<String>,
    pub(super) row: Row,
    /// Not yet on the scoreboard.
    pub(super) requests: u64,
    pub(super) open: usize,
    pub(super) draining_since: Option<u64>,
    handle: WorkerHandle,
    voice: Voice,
    pub(super) slot: Slot,
    pub(super) id: WorkerId,
    /// What callbacks get is no promise to other threads.
    not_send: PhantomData<*const ()>,
}

impl Hub {
    pub(super) fn new(worker: &Worker, options: Serve) -> Result<(Self, Inbox)> {
        let step = |error| Error::system("creating the worker's poll", error);
        let poll = Poll::new().map_err(step)?;
        let waker = Waker::new(poll.registry(), Target::Waker.token()).map_err(step)?;
        let (mailbox, inbox) = mailbox(waker);
        let pool = Pool::start(options.threads, options.queue, mailbox.clone())?;
        let mut hub = Self {
            poll,
            options,
            clock: Clock::new(Instant::now(), scoreboard::now()),
            timers: Timers::default(),
            posts: VecDeque::new(),
            mailbox,
            pool,
            names: Vec::new(),
            row: worker.row(),
            requests: 0,
            open: 0,
            draining_since: None,
            handle: worker.handle(),
            voice: Voice::of(worker),
            slot: worker.slot(),
            id: worker.id(),
            not_send: PhantomData,
        };
        worker.names().iter().for_each(|(address, name)| hub.know(*address, name));
        Ok((hub, inbox))
    }

    pub(super) fn know(&mut self, address: u16, name: &str) {
        let place = usize::from(address);
        self.names.resize(self.names.len().max(place + 1), String::new());
        name.clone_into(&mut self.names[place]);
    }

    pub(super) fn name_of(&self, address: u16) -> &str {
        &self.names[usize::from(address)]
    }

    pub(super) fn submit(&self, key: Key, job: Job) -> Result<()> {
        self.pool.submit(key, job)
    }
}

/// Time of the turn; deadlines count milliseconds from the start of the loop.
pub(super) struct Clock {
    started: Instant,
    /// The same in the nanoseconds of the scoreboard.
    started_ns: u64,
    pub(super) now: Instant,
    /// When the turn began, in the nanoseconds of the scoreboard.
    pub(super) ns: u64,
    pub(super) ms: u64,
}

impl Clock {
    fn new(now: Instant, now_ns: u64) -> Self {
        Self { started: now, started_ns: now_ns, now, ns: now_ns, ms: 0 }
    }

    /// `now`: what the scoreboard says of the beginning of the turn; the clock is not read again.
    pub(super) fn turn(&mut self, now: u64) {
        let passed = now.saturating_sub(self.started_ns);
        self.now = self.started + Duration::from_nanos(passed);
        self.ns = now;
        self.ms = passed / 1_000_000;
    }

    /// Never early, and not in this turn: what sets itself again and again must let the others have theirs.
    pub(super) fn after(&self, time: Duration) -> u64 {
        ms((self.now - self.started).saturating_add(time).saturating_add(ALMOST_A_MS)).max(self.ms + 1)
    }

    /// From now on.
    pub(super) fn until(&self, when: u64) -> Duration {
        (self.started + Duration::from_millis(when)).saturating_duration_since(self.now)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The service's own: few, so a tree will do.
#[derive(Default)]
pub(super) struct Timers {
    when: HashMap<TimerId, u64>,
    order: BTreeSet<(u64, TimerId)>,
}

impl Timers {
    fn set(&mut self, id: TimerId, when: Option<u64>) {
        let before = match when {
            Some(when) => {
                self.order.insert((when, id));
                self.when.insert(id, when).filter(|before| *before != when)
            }
            None => self.when.remove(&id),
        };
        if let Some(before) = before {
            self.order.remove(&(before, id));
        }
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.order.first().map(|(when, _)| *when)
    }

    pub(super) fn pop(&mut self, now: u64) -> Option<TimerId> {
        let (when, id) = *self.order.first()?;
        if when > now {
            return None;
        }
        self.set(id, None);
        Some(id)
    }
}

fn token(SourceId(id): SourceId) -> io::Result<mio::Token> {
    if id as usize > MAX_INDEX {
        let text = format!("SourceId({id}) is too large for a token of this machine, the largest is {MAX_INDEX}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(Target::Source(id).token())
}

/// To round up by.
const ALMOST_A_MS: Duration = Duration::from_nanos(999_999);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_that_is_set_again_is_moved() {
        let mut timers = Timers::default();
        let (a, b) = (TimerId(1), TimerId(u32::MAX));
        timers.set(a, Some(10));
        timers.set(b, Some(10));
        timers.set(a, Some(30));
        timers.set(a, Some(30));
        assert_eq!((timers.next(), timers.pop(9), timers.pop(10), timers.pop(29)), (Some(10), None, Some(b), None));
        timers.set(a, None);
        assert_eq!((timers.next(), timers.pop(u64::MAX)), (None, None));
    }
}
