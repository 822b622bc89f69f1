//! What other threads send to the connections of a loop: values that anybody posts, and the ends of jobs.
//!
//! Senders ring, by one write to the poll's eventfd, only if nobody has since the loop last found nothing: a thousand
//! values in one turn wake it once. No wake-up is lost, as a sender first sends and then sets `rung`, while the loop
//! first clears it and then looks once more. Either the sender finds it cleared, and rings. Or it finds it set; then
//! the loop clears it later, and what the sender did before is seen by the look that follows, for both are
//! read-modify-writes of one atomic: release here, acquire there.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::Waker;

use super::table::Key;
use crate::error::{Error, Kind, Result};

/// Sends values to connections of one worker, from any of its threads: they come to
/// [`Service::posted`](crate::Service::posted) in the order in which one thread sends them.
///
/// From [`Io::mailbox`](crate::Io::mailbox) or [`Turn::mailbox`](crate::Turn::mailbox); clones send to the same loop.
/// What is sent to a connection that is gone when the loop comes to it is dropped.
///
/// **After fork**: it belongs to the process in which the loop runs; in another one nobody hears.
///
/// ```no_run
/// use std::{sync::mpsc::Receiver, thread};
/// use mio_cluster::{Key, Mailbox};
///
/// /// Each price goes to the connections that asked for it.
/// fn spread(mailbox: Mailbox, subscribers: Vec<Key>, prices: Receiver<u64>) {
///     thread::spawn(move || {
///         for price in prices {
///             for &key in &subscribers {
///                 match mailbox.post(key, price) {
///                     Err(error) if error.is_gone() => return, // the worker is leaving
///                     // The loop is behind: the next price is worth more than this one.
///                     Ok(()) | Err(_) => {}
///                 }
///             }
///         }
///     });
/// }
/// ```
#[derive(Clone)]
pub struct Mailbox {
    letters: Sender<(Key, Letter)>,
    bell: Arc<Bell>,
}

/// A value on its way to a connection, whose type its receiver knows.
///
/// ```no_run
/// use mio_cluster::Posted;
///
/// fn read(value: Posted) {
///     match value.downcast::<String>() {
///         Ok(text) => println!("text of {} bytes", text.len()),
///         Err(other) if other.is::<u64>() => println!("a number"),
///         Err(_unknown) => {}
///     }
/// }
/// ```
pub struct Posted(Box<dyn Any + Send>);

/// The loop's end. When it is dropped, so is whatever was not taken, and senders hear that the loop has ended.
pub(super) struct Inbox {
    letters: Receiver<(Key, Letter)>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
pub(super) enum Letter {
    /// A job of this connection has ended: with its result, or with the text of its panic.
    JobEnded(Result<Posted, String>),
    Posted(Posted),
}

struct Bell {
    waker: Waker,
    /// Somebody has rung, or is about to, and the loop has not found the inbox empty since.
    rung: AtomicBool,
}

/// `waker`: of the poll in which the loop waits.
pub(super) fn mailbox(waker: Waker) -> (Mailbox, Inbox) {
    let (sender, receiver) = unbounded();
    let bell = Arc::new(Bell { waker, rung: AtomicBool::new(false) });
    (Mailbox { letters: sender, bell: Arc::clone(&bell) }, Inbox { letters: receiver, bell })
}

impl Mailbox {
    /// Sends `value` to this connection; never waits.
    ///
    /// **Errors**, which drop the value: [`is_would_block`](Error::is_would_block): 65 536 values wait for the loop
    /// already; [`is_gone`](Error::is_gone): the loop has ended.
    pub fn post<T: Any + Send>(&self, to: Key, value: T) -> Result<()> {
        if self.is_full() {
            let text = format!(
                "post: {CAPACITY} values wait for the loop already; send less, or later, or find the callback that keeps \
                 it so long"
            );
            return Err(Error::new(Kind::WouldBlock, text));
        }
        self.send(to, Letter::Posted(Posted::new(value)))
            .map_err(|Ended| Error::new(Kind::Gone, "post: the worker's loop has ended, and its connections with it"))
    }

    /// Never full, so that no job is done for nothing. Dropped if the loop has ended: nobody is left to miss it.
    pub(super) fn job_ended(&self, of: Key, result: Result<Posted, String>) {
        let _ = self.send(of, Letter::JobEnded(result));
    }

    /// The loop does not keep up. Threads that post at the same time may put a few more on top.
    pub(super) fn is_full(&self) -> bool {
        self.letters.len() >= CAPACITY
    }

    fn send(&self, to: Key, letter: Letter) -> Result<(), Ended> {
        self.letters.send((to, letter)).map_err(|_| Ended)?;
        if !self.bell.rung.swap(true, Ordering::AcqRel) {
            // Fails only if somebody has closed the descriptor, and then the loop waits in vain for everything.
            let _ = self.bell.waker.wake();
        }
        Ok(())
    }
}

impl Inbox {
    /// The oldest letter. Senders ring again only after this was `None`: a loop that stops before must not sleep, see
    /// [`is_rung`](Self::is_rung). If nobody has rung, it costs one load.
    pub(super) fn next(&mut self) -> Option<(Key, Letter)> {
        if !self.is_rung() {
            return None;
        }
        self.letters.try_recv().ok().or_else(|| {
            self.bell.rung.swap(false, Ordering::AcqRel);
            let late = self.letters.try_recv().ok()?;
            // A swap, not a store: it takes over what a sender that rang in between has sent.
            self.bell.rung.swap(true, Ordering::AcqRel);
            Some(late)
        })
    }

    /// Whether [`next`](Self::next) must be called before the loop sleeps.
    pub(super) fn is_rung(&self) -> bool {
        self.bell.rung.load(Ordering::Acquire)
    }
}

impl Posted {
    pub(super) fn new(value: impl Any + Send) -> Self {
        Self(Box::new(value))
    }

    /// Whether it is a `T`.
    pub fn is<T: Any>(&self) -> bool {
        self.0.is::<T>()
    }

    /// The value, if it is a `T`.
    ///
    /// **Errors**: it is not; the error is the value itself.
    pub fn downcast<T: Any>(self) -> Result<T, Posted> {
        self.0.downcast().map(|value| *value).map_err(Posted)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("waiting", &self.letters.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posted").finish_non_exhaustive()
    }
}

/// The loop has.
struct Ended;

/// More than any number of connections to which one event is worth telling at once; a few MiB.
const CAPACITY: usize = 65_536;

#[cfg(test)]
mod tests;
