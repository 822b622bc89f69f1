//! What a callback can do with its connection.

use std::{
    any::Any,
    fmt, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    connection::{Cause, Head, NEVER},
    deadlines::whole_ms,
    mailbox::{Mailbox, Posted},
    table::Key,
    turn::{Hub, Turn},
};
use crate::{
    error::Result,
    id::{Slot, WorkerId},
};

/// One connection, during a callback of its [`Service`](crate::Service).
///
/// Nothing that it does blocks or fails: what is written is kept and sent after the callback, and what becomes
/// of the connection is told to [`Service::closed`](crate::Service::closed).
pub struct Io<'a> {
    pub(super) head: &'a mut Head,
    pub(super) output: &'a mut Vec<u8>,
    pub(super) wish: &'a mut Wish,
    /// Unsent bytes below the output: those of the services that this one is layered on, less what was sent of it.
    pub(super) below: Below,
    /// Its service's bit of [`Head::in_request`].
    pub(super) level: u8,
    pub(super) hub: &'a mut Hub,
}

/// What a callback wants to happen to the connection after it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wish {
    pub(super) end: Option<End>,
    pub(super) flushed: bool,
    /// Of the input.
    pub(super) held: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Close,
    Lingering,
    Abort,
    /// The inner service has left too much input unconsumed.
    InputLimit,
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Below {
    pub(super) unsent: usize,
    pub(super) sent: usize,
}

impl Io<'_> {
    /// Adds to the output.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// The output itself, to append to: for formatting without a copy. What is in front may be that of earlier
    /// callbacks, and must stay.
    #[inline]
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.output
    }

    /// So much output waits ([`Serve::water_marks`](crate::Serve::water_marks)) that `received` should leave the rest
    /// of its input unconsumed; it is called again when there is room.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.below.unsent + self.output.len().saturating_sub(self.below.sent) >= self.hub.options.high_water
    }

    /// Closes the connection when all output is out. Input that the loop knows of by then is dropped, in a way that
    /// does not destroy the output. If the peer may be sending at this moment, use
    /// [`close_lingering`](Self::close_lingering).
    #[inline]
    pub fn close(&mut self) {
        self.wish.end = self.wish.end.or(Some(End::Close));
    }

    /// As [`close`](Self::close), for an answer to a peer that is about to send more, such as the refusal of a body:
    /// the sending half is closed, and what comes is dropped for up to a second, since closing at once would make the
    /// kernel answer it with a reset, which can destroy what the peer has not yet read.
    pub fn close_lingering(&mut self) {
        if self.wish.end != Some(End::Abort) {
            self.wish.end = Some(End::Lingering);
        }
    }

    /// Closes at once, by a reset; output is dropped.
    pub fn abort(&mut self) {
        self.wish.end = Some(End::Abort);
    }

    /// The connection cannot go on: closes it as [`close_lingering`](Self::close_lingering) does, so that an answer
    /// that tells the peer what is wrong arrives, and tells [`Service::closed`](crate::Service::closed) and the
    /// scoreboard that it has [`Failed`](crate::Closed::Failed).
    pub fn fail(&mut self, error: io::Error) {
        self.close_lingering();
        self.head.cause = Cause::Failed(error);
    }

    /// Says that the peer is in the middle of a request although all its bytes were consumed, until told otherwise: the
    /// request's deadline goes on, from the time of this call, and a drain waits for the request's end. Needed only by
    /// a service that consumes requests piece by piece.
    #[inline]
    pub fn set_in_request(&mut self, on: bool) {
        self.head.set_in_request(self.level, on, self.hub.clock.ms);
    }

    /// Whether the peer waits for the end of something: a service is [in a request](Self::set_in_request), input was
    /// left unconsumed, or a job runs.
    pub fn is_in_request(&self) -> bool {
        self.head.in_request != 0 || self.head.jobs > 0 || !self.head.input.is_empty()
    }

    /// So many requests more were served, for the scoreboard.
    #[inline]
    pub fn requests(&mut self, count: u64) {
        self.hub.requests += count;
    }

    /// Holds the input back, until told otherwise: nothing more is read or shown, so that a peer which sends faster
    /// than something else takes it (a job, another connection) has to wait. What was not consumed is shown again as
    /// soon as the input goes on. Meanwhile no deadline runs but the service's own, and that for output if some waits,
    /// a drain waits, and the end of input is not seen; a reset is.
    pub fn hold_input(&mut self, on: bool) {
        self.wish.held = Some(on);
    }

    /// Jobs of this connection, started by [`spawn`](Self::spawn), that have not come back.
    pub fn jobs(&self) -> usize {
        self.head.jobs as usize
    }

    /// Asks for one [`Service::flushed`](crate::Service::flushed), when all output has gone to the kernel. Asking again
    /// before it comes changes nothing.
    pub fn want_flushed(&mut self) {
        self.wish.flushed = true;
    }

    /// Calls [`Service::timed_out`](crate::Service::timed_out) with [`Deadline::Own`](crate::Deadline::Own), so long
    /// from now, whatever happens on the connection; rounded up to milliseconds. A new one takes the place of the old
    /// one, `None` takes it back.
    pub fn set_deadline(&mut self, after: Option<Duration>) {
        self.head.own_deadline = after.map_or(NEVER, |after| self.hub.clock.after(after).min(NEVER - 1));
    }

    /// For a connection that lives long, a WebSocket or a stream of events: how long it may stay when the worker is to
    /// leave, from the beginning of the drain, instead of [`Serve::drain_grace`](crate::Serve::drain_grace) from when
    /// it was last idle; `None` takes it back. At any time, in [`Service::draining`](crate::Service::draining) too,
    /// which is the place to tell the peer. When the time has passed and the connection is not in the middle of
    /// something, it is closed after `timed_out` with [`Deadline::Drain`](crate::Deadline::Drain), and its
    /// [`Closed`](crate::Closed) says `Drained`; until then it goes on as before.
    ///
    /// The whole worker has a deadline, too, which must be longer:
    /// [`Cluster::linger_timeout`](crate::Cluster::linger_timeout) when a successor has taken its place, else
    /// [`Cluster::drain_timeout`](crate::Cluster::drain_timeout), 30 s unless they are set.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mio_cluster::{Io, Service};
    ///
    /// /// Everybody hears from it now and then, for hours.
    /// struct News;
    ///
    /// impl Service for News {
    ///     type Conn = ();
    ///
    ///     fn opened(&mut self, io: &mut Io<'_>) {
    ///         io.set_drain_deadline(Some(Duration::from_secs(20)));
    ///     }
    ///
    ///     fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
    ///         input.len()
    ///     }
    ///
    ///     fn draining(&mut self, _conn: &mut (), io: &mut Io<'_>) {
    ///         io.write(b"please connect again within 20 s\n");
    ///     }
    /// }
    /// ```
    pub fn set_drain_deadline(&mut self, after: Option<Duration>) {
        self.head.stays = after.map(whole_ms);
    }

    /// Whether the worker is to leave: then this answer should be the connection's last.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.hub.draining_since.is_some()
    }

    /// This connection.
    pub fn key(&self) -> Key {
        self.head.key
    }

    /// Where it comes from; `None`: from a program on this machine, over a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.head.peer
    }

    /// The name of the address that it came to, see [`Listen::name`](crate::Listen::name).
    pub fn address(&self) -> &str {
        self.hub.name_of(self.head.address)
    }

    /// Which worker this is.
    pub fn worker(&self) -> (Slot, WorkerId) {
        (self.hub.slot, self.hub.id)
    }

    /// When this turn of the loop began; the loop reads the clock once per turn.
    #[inline]
    pub fn now(&self) -> Instant {
        self.hub.clock.now
    }

    /// Runs `job` on one of the worker's threads ([`Serve::threads`](crate::Serve::threads)), for what blocks or takes
    /// long. What it returns comes to [`Service::posted`](crate::Service::posted), unless the connection is gone by
    /// then. Until it does, no deadline runs but the service's own, and that for output if some waits, and a drain
    /// waits. If it panics, the connection is closed. Nobody waits for jobs of connections that are gone: those that
    /// still run when `serve` returns go on until the process ends, and those that have not begun never do.
    ///
    /// Input goes on coming to `received` meanwhile, unless it is [held back](Self::hold_input).
    ///
    /// **Errors**: the queue is full ([`is_would_block`](crate::Error::is_would_block)): refuse the request, or close.
    /// The worker has no threads.
    pub fn spawn<T: Any + Send>(&mut self, job: impl FnOnce() -> T + Send + 'static) -> Result<()> {
        self.hub.submit(self.head.key, Box::new(move || Posted::new(job())))?;
        self.head.jobs += 1;
        Ok(())
    }

    /// For threads of the program: sends to connections of this worker, and wakes it.
    pub fn mailbox(&self) -> Mailbox {
        self.hub.mailbox.clone()
    }

    /// What belongs to no connection: sources and timers of the service, values for other connections.
    pub fn turn(&mut self) -> Turn<'_> {
        Turn { hub: self.hub }
    }
}

impl fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("key", &self.head.key).field("peer", &self.head.peer).finish_non_exhaustive()
    }
}
