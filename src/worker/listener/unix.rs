//! A listener at a Unix-domain address.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::SocketAddr,
    },
};

use mio::net::UnixStream;

use super::entry::{Entry, Socket};
use crate::pollable::pollable;

/// A worker's share in the Unix socket of an address, for the program's own `Poll`; made by
/// [`Worker::unix`](crate::Worker::unix).
///
/// It is a [`Listener`](crate::Listener) in all but its addresses and connections: one descriptor, which becomes
/// readable when there is a connection to accept and when the master has something to say, and the same order of use:
/// look at [`Worker::is_draining`](crate::Worker::is_draining) first and accept until `WouldBlock` second. All workers
/// accept from one queue: each connection wakes those that sleep, and one of them gets it, so `WouldBlock` in spite of
/// a readable descriptor is usual.
///
/// Dropping it tells the master, and takes nothing from the others. The worker may listen there again.
///
/// ```no_run
/// use std::io::{self, Write};
/// use mio_cluster::{Cluster, Listen, Worker, mio::{Events, Interest, Poll, Token}};
///
/// fn serve(mut worker: Worker) -> io::Result<()> {
///     let mut listener = worker.unix()?;
///     let mut poll = Poll::new()?;
///     let mut events = Events::with_capacity(64);
///     poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
///     loop {
///         worker.poll(&mut poll, &mut events, None)?;
///         let last_turn = worker.is_draining();
///         while let Ok((mut connection, _peer)) = listener.accept() {
///             let _ = connection.write(b"hello\n");
///         }
///         if last_turn {
///             return Ok(());
///         }
///     }
/// }
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// Cluster::new().listen(Listen::unix("/run/hello.sock")).workers(2).run(serve)
/// # }
/// ```
pub struct UnixListener(pub(in crate::worker) Entry<mio::net::UnixListener>);

impl UnixListener {
    /// The next connection, non-blocking. The peer's address is usually unnamed; the socket option SO_PEERCRED tells
    /// which process it was.
    ///
    /// When descriptors or memory run out it pauses as [`Listener::accept`](crate::Listener::accept) does. Once the
    /// worker drains and no connection waits any more, it takes no more.
    ///
    /// **Errors**: `WouldBlock` when none waits, and for ever once drained. `NotConnected` in another process than the
    /// one that called [`Worker::unix`](crate::Worker::unix).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.0.accept()
    }

    /// As [`accept`](Self::accept), for a thread that has nothing else to do: waits for the next connection, which is a
    /// blocking one. `None`: the worker drains and no connection waits any more. See
    /// [`Listener::accept_blocking`](crate::Listener::accept_blocking).
    ///
    /// **Errors**: as `accept`, but for `WouldBlock`.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream, thread};
    /// use mio_cluster::{Cluster, Listen};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("mio-cluster-doc-blocking-{}", std::process::id()));
    /// let mut worker = Cluster::new().listen(Listen::unix(&path)).standalone()?;
    /// let (listener, handle) = (worker.unix()?, worker.handle());
    /// let thread = thread::spawn(move || -> std::io::Result<()> {
    ///     while let Some((mut stream, _peer)) = listener.accept_blocking()? {
    ///         stream.write_all(b"hello\n")?;
    ///     }
    ///     Ok(())
    /// });
    /// let mut greeting = String::new();
    /// UnixStream::connect(&path)?.read_to_string(&mut greeting)?;
    /// assert_eq!(greeting, "hello\n");
    /// handle.disconnect()?;
    /// thread.join().unwrap()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept_blocking(&self) -> io::Result<Option<(std::os::unix::net::UnixStream, SocketAddr)>> {
        self.0.accept_blocking(accept_std)
    }

    /// Where it listens.
    ///
    /// **Errors**: `NotConnected` in another process, as [`accept`](Self::accept).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket()?.local_addr()
    }

    /// The bare socket, for code that takes nothing else, with the price that
    /// [`Listener::into_mio`](crate::Listener::into_mio) names. In a drain it is not shut, for the others still accept
    /// on it: a loop that sees [`Worker::is_draining`](crate::Worker::is_draining) accepts until `WouldBlock` and takes
    /// no more.
    ///
    /// **Errors**: no descriptor is left for the duplicate that is kept for the drain; as [`accept`](Self::accept) in
    /// another process.
    pub fn into_mio(self) -> io::Result<mio::net::UnixListener> {
        self.into_std().map(mio::net::UnixListener::from_std)
    }

    /// As [`into_mio`](Self::into_mio), for tokio's `UnixListener::from_std` and the like. It is non-blocking and must
    /// stay so: all workers have it.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixListener> {
        self.0.into_bare().map(std::os::unix::net::UnixListener::from)
    }

    /// `accept` has found no room for a connection that waits.
    pub(crate) fn is_paused(&self) -> bool {
        self.0.is_paused()
    }

    /// `accept` says `WouldBlock` for ever.
    pub(crate) fn is_shut(&self) -> bool {
        self.0.is_done()
    }
}

impl Socket for mio::net::UnixListener {
    type Accepted = (UnixStream, SocketAddr);

    fn accept(&self) -> io::Result<Self::Accepted> {
        mio::net::UnixListener::accept(self)
    }
}

impl std::fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnixListener").field("address", &self.local_addr().ok()).finish_non_exhaustive()
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pollable!(UnixListener);

/// With a blocking connection.
fn accept_std(door: &mio::net::UnixListener) -> io::Result<(std::os::unix::net::UnixStream, SocketAddr)> {
    let (stream, peer) = mio::net::UnixListener::accept(door)?;
    let stream = std::os::unix::net::UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok((stream, peer))
}
