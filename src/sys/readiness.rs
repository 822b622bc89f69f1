//! A descriptor of this library in a tokio runtime (feature `tokio`).

use std::{io, sync::Arc};

use tokio::io::{Interest, unix::AsyncFd};

use super::owned::Owned;

/// Watches it for reading in the current runtime, edge-triggered, until the result is dropped.
///
/// **Panics** outside of a runtime, and in one without I/O.
pub(crate) fn watch<T>(fd: Arc<Owned<T>>) -> io::Result<AsyncFd<Arc<Owned<T>>>> {
    if !fd.is_ours() {
        return Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "it belongs to the process that this one was forked from",
        ));
    }
    // SAFETY: an `Owned` keeps its descriptor open and names no other one for as long as it lives (it is no husk, see
    // above), and the `AsyncFd` holds a share of it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
