//! The options of the managed loop.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Options for [`Worker::serve_with`](crate::Worker::serve_with); the defaults are those of
/// [`Worker::serve`](crate::Worker::serve). A timeout of `None` is off.
///
/// ```
/// use std::time::Duration;
/// use mio_cluster::Serve;
///
/// let options = Serve::new().idle_timeout(Duration::from_secs(5)).write_timeout(None).threads(4);
/// ```
///
/// **Errors**: values that cannot work are reported by `serve_with`, all at once.
#[derive(Clone, Debug)]
pub struct Serve {
    pub(super) first_byte: Option<Duration>,
    pub(super) request: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) write: Option<Duration>,
    pub(super) drain_grace: Duration,
    pub(super) shed_after: Option<Duration>,
    pub(super) busy_poll: Duration,
    pub(super) max_connections: usize,
    pub(super) max_input: usize,
    pub(super) max_output: usize,
    pub(super) high_water: usize,
    pub(super) low_water: usize,
    pub(super) threads: usize,
    pub(super) queue: usize,
}

impl Serve {
    /// All defaults.
    pub fn new() -> Self {
        Self {
            first_byte: Some(FIRST_BYTE),
            request: Some(REQUEST),
            idle: Some(IDLE),
            write: Some(WRITE),
            drain_grace: DRAIN_GRACE,
            shed_after: Some(SHED_AFTER),
            busy_poll: Duration::ZERO,
            max_connections: usize::MAX,
            max_input: MAX_INPUT,
            max_output: MAX_OUTPUT,
            high_water: HIGH_WATER,
            low_water: LOW_WATER,
            threads: 0,
            queue: QUEUE,
        }
    }

    /// For the first byte of a connection, whatever the server sends meanwhile; default 30 s. `None` is for protocols
    /// in which the server speaks first; until the peer has sent something only the write timeout runs then, not the
    /// idle one.
    pub fn first_byte_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.first_byte = timeout.into();
        self
    }

    /// From the first byte of a request that is not complete, however steadily its bytes trickle in, until the service
    /// has consumed it; default 30 s. See [`Io::set_in_request`](crate::Io::set_in_request) for requests that are
    /// consumed piece by piece.
    pub fn request_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.request = timeout.into();
        self
    }

    /// Between requests; default 75 s, as nginx's `keepalive_timeout`.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle = timeout.into();
        self
    }

    /// While output waits and the kernel takes none of it; default 30 s. The kernel takes more when the peer has taken
    /// a third of what it holds, which can be a MiB (the last value of `net.ipv4.tcp_wmem` is the most that it holds):
    /// a slow peer needs time for that much.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write = timeout.into();
        self
    }

    /// How long idle connections are kept in a drain, for a request that may be on its way already; default 1 s. Those
    /// that live long have a [deadline of their own](crate::Io::set_drain_deadline).
    pub fn drain_grace(mut self, grace: Duration) -> Self {
        self.drain_grace = grace;
        self
    }

    /// Out of descriptors, clients wait in the queue; after this time one of them every 50 ms is accepted and closed in
    /// order, so that clients learn of it and can go elsewhere; default 1 s, `None`: they wait.
    pub fn shed_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.shed_after = time.into();
        self
    }

    /// How long to look for events again and again before sleeping, after each turn; default 0. It buys the time of a
    /// wake-up for a whole CPU per worker, so it is for workers that have one each
    /// ([`Cluster::pin_workers`](crate::Cluster::pin_workers)). Measured with 1 ms, one client and two virtual CPUs:
    /// half of the requests are answered within 10 to 14 µs instead of 25 to 39, 99 % within 22 to 43 instead of 80 to
    /// 90 (`scripts/bench/run --only latency`).
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = time;
        self
    }

    /// Connections of this worker that may be open at once; default unlimited. Beyond them clients wait in the queue,
    /// and the scoreboard says that the worker is full.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Bytes of input of one connection that the service may leave unconsumed; default 64 KiB. A request that is larger
    /// must be consumed piece by piece. More closes the connection ([`Closed::InputLimit`]); the service is shown it
    /// first, as much as one read brings, up to 64 KiB. The peer is told nothing: a service that wants to answer looks
    /// at the length itself.
    ///
    /// [`Closed::InputLimit`]: crate::Closed::InputLimit
    pub fn max_input(mut self, bytes: usize) -> Self {
        self.max_input = bytes;
        self
    }

    /// Bytes of output of one connection that may wait; default 16 MiB. More closes the connection
    /// ([`Closed::OutputLimit`]); write large answers piece by piece ([`Io::want_flushed`](crate::Io::want_flushed)).
    ///
    /// [`Closed::OutputLimit`]: crate::Closed::OutputLimit
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.max_output = bytes;
        self
    }

    /// A connection with `high` or more bytes of unsent output is not read until no more than `low` are left; default
    /// 16 KiB and 64 KiB.
    pub fn water_marks(mut self, low: usize, high: usize) -> Self {
        (self.low_water, self.high_water) = (low, high);
        self
    }

    /// Threads beside the loop for [`Io::spawn`](crate::Io::spawn); default 0.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Jobs that may wait for a thread; default 1024. One more is an error of `spawn`.
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        let mut is_wrong = |wrong: bool, text: &str| problems.extend(wrong.then(|| text.to_owned()));
        let timeouts = [self.first_byte, self.request, self.idle, self.write];
        is_wrong(timeouts.contains(&Some(Duration::ZERO)), "a timeout of 0 would close every connection, None is off");
        is_wrong(self.max_connections == 0, "max_connections(0) would accept nobody");
        is_wrong(self.max_input == 0, "max_input(0) would take no request");
        is_wrong(self.max_output == 0, "max_output(0) would send no answer");
        is_wrong(self.high_water == 0, "a high-water mark of 0 would read nothing");
        is_wrong(self.low_water >= self.high_water, "the low-water mark must be below the high-water mark");
        is_wrong(self.queue == 0 && self.threads > 0, "queue(0) has no room for a job");
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::InvalidConfig, format!("serve: {}", problems.join("; "))))
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that connects ahead of its first request keeps a connection that long at no cost.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// As hyper's header_read_timeout.
const REQUEST: Duration = Duration::from_secs(30);

/// As nginx's keepalive_timeout, and longer than that of the usual clients' pools, which so close first.
const IDLE: Duration = Duration::from_secs(75);

/// A path that loses packets recovers within some seconds.
const WRITE: Duration = Duration::from_secs(30);

/// A request that was sent before its client could know of the drain is here by then.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Ordinary peaks are over by then.
const SHED_AFTER: Duration = Duration::from_secs(1);

/// More than any head of a request.
const MAX_INPUT: usize = 64 << 10;

const MAX_OUTPUT: usize = 16 << 20;

/// Refills the kernel's buffer of a fast peer with one call.
const HIGH_WATER: usize = 64 << 10;
const LOW_WATER: usize = 16 << 10;

/// At a millisecond each, a queue of this length is a second of waiting for one thread.
const QUEUE: usize = 1024;
