//! The worker's listener: one pollable descriptor.
//!
//! An inner epoll holds the socket, the worker's control descriptor and a timer; whatever of them is ready makes the
//! program's loop turn, and [`accept`](Listener::accept) sorts it out. `accept` never waits on the inner epoll; only
//! [`accept_blocking`](Listener::accept_blocking) does.

pub(super) mod bare;
mod pause;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::net::TcpStream;
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, poll},
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use socket2::SockRef;

use self::pause::Pause;
use super::{boot::TARGET, control::Control};
use crate::{
    error::{Error, Result},
    net::door,
    pollable::pollable,
    sys::owned::Owned,
};

/// A worker's socket at one address, for the program's own `Poll`.
///
/// Its descriptor becomes readable when there is a connection to accept, and when the master has something to say (so a
/// loop that sleeps on it learns of a drain). Register it with [`Interest::READABLE`](mio::Interest::READABLE). In
/// each turn look at [`Worker::is_draining`](crate::Worker::is_draining) first and accept until `WouldBlock` second:
/// once the answer is yes, nobody comes after the last of these accepts; the other way round a client may come in
/// between, and is reset. Spurious readiness is normal; the first one comes right after registration.
///
/// Dropping it closes the socket and tells the master. The socket itself stays with the master for up to 100 ms, in case
/// this worker is about to end and be replaced; clients that come to it meanwhile and find no replacement are reset. To
/// stop accepting in order, drain ([`Worker::disconnect`](crate::Worker::disconnect)).
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
pub struct Listener {
    /// The door, the control descriptor and the pause's timer: what makes a loop turn.
    poller: Owned<Epoll>,
    door: Owned<mio::net::TcpListener>,
    pause: Pause,
    at: SocketAddr,
    control: Arc<Control>,
    index: u16,
    /// It takes no more connections: it was shut, by this worker while draining or by the master.
    done: AtomicBool,
}

/// What a listener needs besides its socket.
pub(super) struct Prepared {
    poller: Owned<Epoll>,
    pause: Pause,
}

impl Listener {
    /// All that can fail for want of descriptors, before the master is asked.
    pub(super) fn prepare(control: &Control) -> Result<Prepared> {
        let step = |error: Errno| Error::system("creating the listener's epoll", error);
        let poller = Owned::make(|| Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC), |epoll| epoll.0.as_fd());
        let poller = poller.map_err(step)?;
        poller.add(control, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        let pause = Pause::new(&poller)?;
        Ok(Prepared { poller, pause })
    }

    /// `door` listens by now, at `at`.
    pub(super) fn new(
        prepared: Prepared,
        door: OwnedFd,
        at: SocketAddr,
        control: Arc<Control>,
        index: u16,
    ) -> Result<Self> {
        let Prepared { poller, pause } = prepared;
        let door = Owned::register(mio::net::TcpListener::from_std(door.into()), AsFd::as_fd);
        let listener = Self { poller, door, pause, at, control, index, done: AtomicBool::new(false) };
        let watched = listener.poller.add(&listener.door, EpollEvent::new(EpollFlags::EPOLLIN, 0));
        watched.map_err(|error| Error::system("watching the listener's socket", error))?;
        Ok(listener)
    }

    /// The next connection, non-blocking, with the options of the listener.
    ///
    /// A connection that failed before it could be accepted is skipped. When descriptors or memory run out (EMFILE,
    /// ENFILE, ENOBUFS, ENOMEM) connections stay in the queue: it says `WouldBlock`, warns in the log, at most once a
    /// minute, and makes the loop turn and try again 50 ms later.
    ///
    /// Once the worker drains and no connection waits any more, the socket is shut: later clients are refused by it, or
    /// go to other workers.
    ///
    /// **Errors**: `WouldBlock` when none waits, and for ever once shut. `NotConnected` in another process than the one
    /// that called [`Worker::listen`](crate::Worker::listen).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_by(mio::net::TcpListener::accept)
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
        self.check_process()?;
        let _waiting = self.control.waiting_thread();
        loop {
            match self.accept_by(accept_std) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map(Some),
            }
            if self.done.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.wait()?;
        }
    }

    /// The address with its real port.
    ///
    /// **Errors**: `NotConnected` in another process, as [`accept`](Self::accept).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.check_process()?;
        self.door.local_addr()
    }

    /// The bare socket, for code that takes nothing else.
    ///
    /// The price: connections are not counted, a shortage of descriptors is the program's to handle, and the socket does
    /// not wake the loop for the master, so register the [`Worker`](crate::Worker) in it as well. The master keeps its
    /// duplicate: a replacement still finds the queue, and closing the socket does not end it while this worker lives.
    /// Draining does: it is shut when a turn of the loop finds its queue empty, after 100 ms in any case, and `accept`
    /// on it then fails with `InvalidInput`. It is non-blocking and must stay so, for the next worker has it too. The
    /// channel to the master stays open until the process ends, also if the `Worker` is dropped; it does not survive an
    /// exec, and 100 ms after one the master shuts the socket.
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
    ///         let draining = worker.is_draining();
    ///         loop {
    ///             match listener.accept() {
    ///                 Ok((connection, _peer)) => {
    ///                     row.accepted();
    ///                     drop(connection); // … serve it …
    ///                     row.closed();
    ///                 }
    ///                 Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///                 Err(_) if draining => return Ok(()), // it was shut: nobody else comes
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
        self.check_process()?;
        let bare = self.door.as_fd().try_clone_to_owned()?;
        let kept = Owned::new(self.door.as_fd().try_clone_to_owned()?);
        self.done.store(true, Ordering::Relaxed);
        self.control.keep_channel();
        self.control.bare(self.index, kept);
        Ok(bare.into())
    }

    /// `accept` has found no room for a connection that waits.
    pub(crate) fn is_paused(&self) -> bool {
        self.pause.is_on()
    }

    /// `accept` says `WouldBlock` for ever.
    pub(crate) fn is_shut(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn accept_by<T>(&self, accept: impl Fn(&mio::net::TcpListener) -> io::Result<T>) -> io::Result<T> {
        self.check_process()?;
        self.control.settle();
        while !self.done.load(Ordering::Relaxed) {
            let draining = self.control.seat().is_draining();
            match accept(&self.door) {
                Ok(connection) => {
                    self.control.seat().accepted_at(self.index);
                    self.resume();
                    return Ok(connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.resume();
                    if draining {
                        self.leave();
                    }
                    break;
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) if pause::is_shortage(&error) => {
                    self.pause.begin(&self.poller, &self.door, self.control.seat(), &self.at, &error)?;
                    break;
                }
                // The master has shut it.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.leave(),
                Err(error) => return Err(error),
            }
        }
        self.control.turn_if_due()?;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// A pause that cannot be ended goes on, and its timer with it.
    fn resume(&self) {
        if self.pause.is_on() {
            if let Err(error) = self.pause.end(&self.poller, &self.door) {
                log::warn!(target: TARGET, "watching the listening socket again: {error}");
            }
        }
    }

    /// Takes the socket out of the kernel's group and refuses whoever still comes.
    fn leave(&self) {
        if self.done.swap(true, Ordering::Relaxed) {
            return;
        }
        // Out of the loop's sight first: a socket that is shut stays readable.
        let unwatched = self.pause.stop(&self.poller, &self.door);
        if let Err(error) = unwatched.and_then(|()| door::shut(&self.door)) {
            log::warn!(target: TARGET, "shutting the listening socket: {error}");
        }
        self.control.close(self.index);
    }

    /// Until something is ready. Each thread that waits here is woken in turn, not all of them at once.
    fn wait(&self) -> io::Result<()> {
        let paused = self.pause.is_on();
        // The bell rings for the program's own loop, or in a drain until all of these threads have left, which a pause
        // puts off. It must go on, so it cannot be waited for here.
        let ready = if self.control.waits_for_the_program() || paused && self.control.seat().is_draining() {
            let events = if paused { PollFlags::empty() } else { PollFlags::POLLIN };
            poll(&mut [PollFd::new(self.door.as_fd(), events)], MEANWHILE).map(drop)
        } else {
            self.poller.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE).map(drop)
        };
        match ready {
            Ok(()) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A worker that starts a cluster of its own may have handed this value across that fork, where its descriptors are
    /// closed.
    fn check_process(&self) -> io::Result<()> {
        if self.door.is_ours() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "this listener belongs to the process that called listen()"))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.door.is_ours() && !self.done.load(Ordering::Relaxed) {
            self.control.close(self.index);
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.local_addr().ok()).finish_non_exhaustive()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

pollable!(Listener);

/// With a blocking connection.
fn accept_std(door: &mio::net::TcpListener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (stream, peer) = SockRef::from(door).accept()?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((stream.into(), peer))
}

/// Errors that `accept` reports for one connection (accept(2): treat them like EAGAIN, by trying the next).
fn is_of_the_connection(error: &io::Error) -> bool {
    const SKIPPED: [i32; 10] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EINTR,
        libc::ENETDOWN,
        libc::ENONET,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
    ];
    error.raw_os_error().is_some_and(|number| SKIPPED.contains(&number))
}

/// In milliseconds: how often a waiting thread looks whether it may wait for everything again.
const MEANWHILE: u8 = 10;
