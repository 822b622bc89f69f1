//! What a worker writes.

use std::{fmt, sync::atomic::AtomicU64};

use super::{Reason, Seat};

/// A worker's own line of the [`Scoreboard`](crate::Scoreboard), from [`Worker::row`](crate::Worker::row).
///
/// Every method is one or two relaxed atomic operations on a page that the master sees, too: no system call, no lock.
/// Clones write to the same line; they may be used from any thread of the worker.
///
/// Some things are counted without the program's help: [`Worker::poll`](crate::Worker::poll) says when the worker is
/// busy, and [`Listener::accept`](crate::Listener::accept) counts what was accepted. Only the program knows when a
/// connection has ended and what a request is.
///
/// ```no_run
/// use std::{io, sync::atomic::Ordering};
/// use mio_cluster::{Worker, mio::{Events, Interest, Poll, Token}};
///
/// /// What this program keeps in its first cell.
/// const CACHE_HITS: usize = 0;
///
/// fn serve(mut worker: Worker) -> io::Result<()> {
///     let row = worker.row();
///     let mut listener = worker.listen()?;
///     let mut poll = Poll::new()?;
///     let mut events = Events::with_capacity(64);
///     poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
///     loop {
///         worker.poll(&mut poll, &mut events, None)?;
///         let last_turn = worker.is_draining();
///         while let Ok((connection, _peer)) = listener.accept() {
///             row.requests(1);
///             row.user(CACHE_HITS).fetch_add(1, Ordering::Relaxed);
///             drop(connection);
///             row.closed();
///         }
///         if last_turn {
///             return Ok(());
///         }
///     }
/// }
/// ```
pub struct Row {
    seat: Seat,
}

impl Row {
    pub(crate) fn new(seat: Seat) -> Self {
        Self { seat }
    }

    /// A turn of the loop begins, now: counts one turn, and until [`idle`](Self::idle) the worker is busy. For a loop
    /// that does not use [`Worker::poll`](crate::Worker::poll): call it after the wait. It belongs to *one* loop; a
    /// worker that serves from many threads leaves it alone.
    pub fn busy(&self) {
        self.seat.busy();
    }

    /// The turn is over and the loop is about to wait: call it before the wait.
    pub fn idle(&self) {
        self.seat.idle();
    }

    /// One connection was accepted. Only for a socket that the program accepts on itself
    /// ([`Listener::into_mio`](crate::Listener::into_mio) and its like); a [`Listener`](crate::Listener) counts by
    /// itself.
    pub fn accepted(&self) {
        self.seat.accepted();
    }

    /// One connection that was accepted has ended. Without it every connection counts as open, and as abandoned when
    /// the process ends.
    pub fn closed(&self) {
        self.seat.closed();
    }

    /// So many more requests were served.
    pub fn requests(&self, count: u64) {
        self.seat.requests(count);
    }

    /// As [`closed`](Self::closed), in a managed loop, which knows why.
    pub(crate) fn closed_because(&self, reason: Reason) {
        self.seat.closed_because(reason, 1);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.seat.set_full(full);
    }

    /// A cell of the program's own, 0 in every new process. The scoreboard adds cells up over the processes of a slot,
    /// and over slots, so keep counts in them.
    ///
    /// **Panics** if `cell` is 8 or more.
    #[track_caller]
    pub fn user(&self, cell: usize) -> &AtomicU64 {
        &self.seat.user()[cell]
    }
}

impl Clone for Row {
    fn clone(&self) -> Self {
        Self { seat: self.seat.share() }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.seat.holder();
        let (slot, id) = (holder.map(|holder| holder.slot), holder.map(|holder| holder.id));
        f.debug_struct("Row").field("slot", &slot).field("id", &id).finish_non_exhaustive()
    }
}
