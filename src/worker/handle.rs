//! What other threads can do with a worker: end it, and speak to its master.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::control::Control;
use crate::{
    error::{Error, Kind, Result},
    wire::Frame,
};

/// Asks a worker of this process to leave, from any thread: a test ends its standalone worker by it, a forked one can
/// be ended by a thread of its own. Also sends to its master. Made by [`Worker::handle`](crate::Worker::handle).
///
/// It keeps nothing alive.
///
/// ```
/// use std::thread;
/// use mio_cluster::{Cluster, mio::{Events, Interest, Poll, Token}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut worker = Cluster::new().standalone()?;
/// let handle = worker.handle();
/// let thread = thread::spawn(move || -> std::io::Result<()> {
///     let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
///     poll.registry().register(&mut worker, Token(0), Interest::READABLE)?;
///     while !worker.is_draining() {
///         worker.poll(&mut poll, &mut events, None)?; // is woken
///     }
///     Ok(())
/// });
/// handle.disconnect()?;
/// thread.join().unwrap()?;
/// assert!(handle.disconnect().unwrap_err().is_gone());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WorkerHandle(Weak<Control>);

impl WorkerHandle {
    pub(super) fn new(control: &Arc<Control>) -> Self {
        Self(Arc::downgrade(control))
    }

    pub(super) fn control(&self) -> Option<Arc<Control>> {
        self.0.upgrade()
    }

    /// As [`Worker::ready`](crate::Worker::ready).
    pub(crate) fn ready(&self) -> Result<()> {
        match self.0.upgrade() {
            Some(control) => control.send(&Frame::Ready),
            None => Err(Error::new(Kind::Gone, "ready: the worker has left")),
        }
    }

    /// As [`Worker::disconnect`](crate::Worker::disconnect): the worker is to drain. A standalone one's
    /// [`is_draining`](crate::Worker::is_draining) is true when this returns, and a loop that sleeps in a `Poll` with
    /// the worker or a listener of it is woken. A forked one's master is told, which leads clients elsewhere first, and
    /// wakes the loop as soon as that is done.
    ///
    /// It asks and does not wait; join the worker's thread to know that it has left.
    ///
    /// **Errors**: the worker and its listeners were dropped, belong to another process, or the master is gone
    /// ([`is_gone`](Error::is_gone)).
    pub fn disconnect(&self) -> Result<()> {
        match self.0.upgrade() {
            Some(control) => control.disconnect(),
            None => Err(Error::new(Kind::Gone, "disconnect: the worker has left")),
        }
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHandle").field("gone", &(self.0.strong_count() == 0)).finish()
    }
}
