//! A listener at an IP address.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

use mio::net::TcpStream;
use socket2::SockRef;

use super::entry::{Entry, Socket};
use crate::pollable::pollable;

/// A worker's socket at one address, for the program's own `Poll`.
///
/// Its descriptor becomes readable when there is a connection to accept, and when the master has something to say (so a
/// loop that sleeps on it learns of a drain). Register it with [`Interest::READABLE`](mio::Interest::READABLE). In
/// each turn look at [`Worker::is_draining`](crate::Worker::is_draining) first and accept until `WouldBlock` second:
/// once the answer is yes, nobody comes after the last of these accepts; the other way round a client may come in
/// between, and is reset. Spurious readiness is normal; the first one comes right after registration.
///
/// **Adoption**: clients who wait for a worker that does not accept them, because it has died, hangs, is stopped or has
/// as many connections as it may, are accepted here: the master lends that worker's socket to the listener of a sibling
/// until its own worker accepts again. Nothing needs to be done for it; the
/// [scoreboard](crate::WorkerStats::adopted) counts them.
///
/// Dropping it closes the socket and tells the master. The socket itself stays with the master for up to a second, in
/// case this worker is about to end and be replaced; who comes to it meanwhile is served by a sibling, or reset if there
/// is none. To stop accepting in order, drain ([`Worker::disconnect`](crate::Worker::disconnect)).
///
/// It may be used from several threads, and registered in several `Poll`s: each is woken, one of them gets the
/// connection.
///
/// ```no_run
/// use std::io;
/// use mio_cluster::mio::{Events, Interest, Poll, Token};
///
/// fn serve(mut worker: mio_cluster::Worker) -> io::Result<()> {
///     let mut listener = worker.listen()?;
///     let mut poll = Poll::new()?;
///     let mut events = Events::with_capacity(64);
///     poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
///     loop {
///         worker.poll(&mut poll, &mut events, None)?;
///         let last_turn = worker.is_draining();
///         while let Ok((_connection, peer)) = listener.accept() {
///             println!("hello {peer}");
///         }
///         if last_turn {
///             return Ok(());
///         }
///     }
/// }
/// ```
pub struct Listener(pub(in crate::worker) Entry<mio::net::TcpListener>);

impl Listener {
    /// The next connection, non-blocking, with the options of the listener.
    ///
    /// A connection that failed before it could be accepted is skipped. When descriptors or memory run out (EMFILE,
    /// ENFILE, ENOBUFS, ENOMEM) connections stay in the queue: it says `WouldBlock`, warns in the log, at most once a
    /// minute, and makes the loop turn and try again 50 ms later.
    ///
    /// Clients of other workers, whose sockets were lent to this one, and its own take turns. After 64 of them it says
    /// `WouldBlock` once and makes the loop turn, so that open connections need not wait for all of them.
    ///
    /// Once the worker drains and no connection waits any more, it takes no more: where the worker has or gets a
    /// replacement, later clients are that one's; otherwise the socket is shut, and they are refused or go to other
    /// workers.
    ///
    /// **Errors**: `WouldBlock` when none waits, and for ever once shut. `NotConnected` in another process than the one
    /// that called [`Worker::listen`](crate::Worker::listen).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept()
    }

    /// As [`accept`](Self::accept), for a thread that has nothing else to do: waits for the next connection, which is a
    /// blocking one. `None`: the worker drains and no connection waits any more.
    ///
    /// Any number of threads may wait; one is woken per connection. Waiting here marks the worker as one that can be
    /// asked to drain. Not for a thread that runs a loop of its own.
    ///
    /// **Errors**: as `accept`, but for `WouldBlock`.
    ///
    /// ```no_run
    /// use std::{io::Write, thread};
    ///
    /// fn serve(mut worker: mio_cluster::Worker) -> std::io::Result<()> {
    ///     let listener = worker.listen()?;
    ///     thread::scope(|scope| {
    ///         for _ in 0..4 {
    ///             scope.spawn(|| {
    ///                 while let Ok(Some((mut stream, _peer))) = listener.accept_blocking() {
    ///                     let _ = stream.write_all(b"hello\n");
    ///                 }
    ///             });
    ///         }
    ///     });
    ///     Ok(())
    /// }
    /// ```
    pub fn accept_blocking(&self) -> io::Result<Option<(std::net::TcpStream, SocketAddr)>> {
        self.0.accept_blocking(accept_std)
    }

    /// The address with its real port.
    ///
    /// **Errors**: `NotConnected` in another process, as [`accept`](Self::accept).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket()?.local_addr()
    }

    /// The bare socket, for code that takes nothing else.
    ///
    /// The price: connections are not counted, nobody is accepted for other workers, a shortage of descriptors is the
    /// program's to handle, and the socket does not wake the loop for the master, so register the
    /// [`Worker`](crate::Worker) in it as well. The master keeps
    /// its duplicate: a replacement still finds the queue, and closing the socket does not end it while this worker
    /// lives. Draining does, when a turn of the loop finds its queue empty, after 100 ms in any case: it is left to the
    /// replacement, or shut if there is none, and `accept` on it then fails with `InvalidInput`.
    /// [`is_drained`](crate::Worker::is_drained) tells of either. It is non-blocking and must stay so, for the next
    /// worker has it too. The channel to the master stays open until the process ends, also if the `Worker` is dropped;
    /// it does not survive an exec, and a second after one the master shuts the socket.
    ///
    /// **Errors**: no descriptor is left for the duplicate that is kept for the drain; as [`accept`](Self::accept) in
    /// another process.
    ///
    /// ```no_run
    /// use std::io::{self, ErrorKind};
    /// use mio_cluster::{Worker, mio::{Events, Interest, Poll, Token}};
    ///
    /// fn serve(mut worker: Worker) -> io::Result<()> {
    ///     let row = worker.row();
    ///     let mut listener = worker.listen()?.into_mio()?;
    ///     let mut poll = Poll::new()?;
    ///     let mut events = Events::with_capacity(64);
    ///     poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    ///     poll.registry().register(&mut worker, Token(1), Interest::READABLE)?;
    ///     loop {
    ///         worker.poll(&mut poll, &mut events, None)?;
    ///         let last_turn = worker.is_drained();
    ///         loop {
    ///             match listener.accept() {
    ///                 Ok((connection, _peer)) => {
    ///                     row.accepted();
    ///                     drop(connection); // … serve it …
    ///                     row.closed();
    ///                 }
    ///                 Err(_) if last_turn => return Ok(()), // nobody else comes
    ///                 Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///                 Err(error) => return Err(error),
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    pub fn into_mio(self) -> io::Result<mio::net::TcpListener> {
        self.into_std().map(mio::net::TcpListener::from_std)
    }

    /// As [`into_mio`](Self::into_mio), for tokio's `TcpListener::from_std` and the like. Threads that are to wait for
    /// clients use [`accept_blocking`](Self::accept_blocking): on this socket, which is non-blocking, `accept` and
    /// `incoming` fail with `WouldBlock` when nobody is there.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        self.0.into_bare().map(std::net::TcpListener::from)
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

impl Socket for mio::net::TcpListener {
    type Accepted = (TcpStream, SocketAddr);

    fn accept(&self) -> io::Result<Self::Accepted> {
        mio::net::TcpListener::accept(self)
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.local_addr().ok()).finish_non_exhaustive()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pollable!(Listener);

/// With a blocking connection.
fn accept_std(door: &mio::net::TcpListener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (stream, peer) = SockRef::from(door).accept()?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((stream.into(), peer))
}
