//! The worker's listener: one pollable descriptor.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::net::TcpStream;
use nix::{
    errno::Errno,
    libc,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        socket::{Shutdown, shutdown},
    },
};

use super::control::Control;
use crate::{
    error::{Error, Result},
    pollable::pollable,
    sys::owned::Owned,
};

/// A worker's socket at one address, for the program's own `Poll`.
///
/// Its descriptor becomes readable when there is a connection to accept, and when the master has something to say (so a
/// loop that sleeps on it learns of a drain). Register it with [`Interest::READABLE`](mio::Interest::READABLE), accept
/// until `WouldBlock`, then look at [`Worker::is_draining`](crate::Worker::is_draining). Spurious readiness is normal;
/// the first one comes right after registration.
///
/// Dropping it closes the socket and tells the master. It may be used from several threads.
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
///     while !worker.is_draining() {
///         worker.poll(&mut poll, &mut events, None)?;
///         while let Ok((_connection, peer)) = listener.accept() {
///             println!("hello {peer}");
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct Listener {
    /// The door and the control descriptor: what makes a loop turn.
    poller: Owned<Epoll>,
    door: Owned<mio::net::TcpListener>,
    control: Arc<Control>,
    index: u16,
    /// Draining, and the queue was seen empty since.
    done: AtomicBool,
}

impl Listener {
    /// All that can fail for want of descriptors, before the master is asked.
    pub(super) fn prepare(control: &Control) -> Result<Owned<Epoll>> {
        let step = |error: Errno| Error::system("creating the listener's epoll", error);
        let poller = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(step)?;
        poller.add(control, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        Ok(Owned::register(poller, |poller| poller.0.as_fd()))
    }

    /// `door` is open for connections by now.
    pub(super) fn new(poller: Owned<Epoll>, door: OwnedFd, control: Arc<Control>, index: u16) -> Result<Self> {
        let door = Owned::register(mio::net::TcpListener::from_std(door.into()), AsFd::as_fd);
        let listener = Self { poller, door, control, index, done: AtomicBool::new(false) };
        let watched = listener.poller.add(&listener.door, EpollEvent::new(EpollFlags::EPOLLIN, 0));
        watched.map_err(|error| Error::system("watching the listener's socket", error))?;
        Ok(listener)
    }

    /// The next connection, non-blocking, with the options of the listener.
    ///
    /// A connection that failed before it could be accepted is skipped. Once the worker drains and no connection waits
    /// any more, the socket is shut: later clients are refused by it, or go to other workers.
    ///
    /// **Errors**: `WouldBlock` when none waits, and for ever once shut. `NotConnected` in another process than the one
    /// that called [`Worker::listen`](crate::Worker::listen). Others, such as too many open files, leave the connection
    /// in the queue; accept again once there is room.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.check_process()?;
        self.control.settle();
        while !self.done.load(Ordering::Relaxed) {
            let draining = self.control.seat().is_draining();
            match self.door.accept() {
                Ok(connection) => return Ok(connection),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if draining {
                        self.shut();
                    }
                    break;
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.control.turn_if_due()?;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// The address with its real port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.check_process()?;
        self.door.local_addr()
    }

    /// Takes the socket out of the kernel's group and refuses whoever still comes.
    fn shut(&self) {
        if self.done.swap(true, Ordering::Relaxed) {
            return;
        }
        // Out of the loop's sight first: a socket that is shut stays readable.
        let unwatched = self.poller.delete(&self.door);
        let shut = shutdown(self.door.as_raw_fd(), Shutdown::Read);
        if let Err(error) = unwatched.and(shut) {
            log::warn!(target: super::boot::TARGET, "shutting the listening socket: {error}");
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
        if self.door.is_ours() {
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
