//! A socket that all workers accept on: the master holds it, each worker inherits it.
//!
//! It listens from the claim on, so whoever connects before there is a worker, or between two of them, waits in its
//! queue. It needs no custody: no worker's end closes it.
//!
//! Race: a Unix socket that is shut refuses whoever connects later, while those in its queue can still be accepted. So
//! a stop shuts it first and has its queue emptied second, and nobody comes in between. (A TCP socket would reset its
//! queue. Only sockets of others, which are never shut, are TCP.)

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use nix::{
    sys::socket::{Shutdown, shutdown},
    sys::stat::{Mode, fchmod},
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{file::SocketFile, refused};
use crate::{
    config::{Bind, Wanted},
    error::Result,
    event::Endpoint,
    sys::{deferral, owned::Owned},
};

pub(crate) struct Shared {
    bind: Bind,
    /// Removed before the socket is closed: as long as that is open, no other file can have the same inode number.
    _file: Option<SocketFile>,
    /// `None` in a worker, which has taken it out.
    socket: Option<Owned>,
    /// It is open elsewhere, too: neither shut nor unlinked.
    is_given: bool,
}

impl Shared {
    /// **Errors**: somebody listens there; the file system refuses; the descriptor is none to listen on.
    pub(crate) fn take(wanted: Wanted) -> Result<Self> {
        let Wanted { bind, given } = wanted;
        let is_given = given.is_some();
        let (socket, file) = match (given, &bind.at) {
            (Some(given), _) => (take_over(given, &bind).map_err(|error| refused("taking over", &bind, error))?, None),
            (None, Endpoint::Path(path)) => {
                let (socket, file) = SocketFile::bind(&bind, path)?;
                (Owned::new(socket), Some(file))
            }
            (None, at @ (Endpoint::Abstract(_) | Endpoint::Ip(_))) => {
                (bind_by_name(&bind, at).map_err(|error| refused("claiming", &bind, error))?, None)
            }
        };
        Ok(Self { bind, _file: file, socket: Some(socket), is_given })
    }

    pub(crate) fn bind(&self) -> &Bind {
        &self.bind
    }

    pub(crate) fn socket(&self) -> Option<&Owned> {
        self.socket.as_ref()
    }

    /// In the child: the socket, for the worker.
    pub(crate) fn inherit(&mut self) -> Option<Owned> {
        self.socket.take()
    }

    /// For a worker in this process.
    pub(crate) fn duplicate(&self) -> io::Result<Option<Owned>> {
        self.socket.as_ref().map(|socket| socket.as_fd().try_clone_to_owned().map(Owned::new)).transpose()
    }

    /// Whoever connects from now on is refused; those in the queue still wait.
    pub(crate) fn refuse(&self) -> io::Result<()> {
        match &self.socket {
            Some(socket) if !self.is_given => Ok(shutdown(socket.as_raw_fd(), Shutdown::Read)?),
            Some(_) | None => Ok(()),
        }
    }
}

/// A Unix stream socket that is not bound, non-blocking. Its file will never have more rights than these.
pub(super) fn unix_socket(mode: Option<Mode>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    if let Some(mode) = mode {
        // The file gets what the umask leaves of the socket's own bits.
        fchmod(&socket, mode)?;
    }
    Ok(socket)
}

pub(super) fn sockaddr(at: &Endpoint) -> io::Result<SockAddr> {
    match at {
        Endpoint::Ip(at) => Ok((*at).into()),
        Endpoint::Path(_) | Endpoint::Abstract(_) => SockAddr::unix(OsStr::from_bytes(&at.unix_name())),
    }
}

/// The kernel itself lets only one have an abstract name, and leaves nothing behind.
fn bind_by_name(bind: &Bind, at: &Endpoint) -> io::Result<Owned> {
    let socket = unix_socket(None)?;
    socket.bind(&sockaddr(at)?)?;
    socket.listen(bind.backlog)?;
    Ok(Owned::new(socket))
}

fn take_over(given: OwnedFd, bind: &Bind) -> io::Result<Owned> {
    let given = Owned::new(given);
    let socket = SockRef::from(&given);
    // It may have come through an exec.
    socket.set_cloexec(true)?;
    socket.set_nonblocking(true)?;
    if bind.ip().is_some() {
        socket.set_tcp_nodelay(bind.nodelay)?;
        if bind.defer_accept > 0 {
            deferral::defer_accept(&given, bind.defer_accept)?;
        }
    }
    if !socket.is_listener()? {
        socket.listen(bind.backlog)?;
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::net::{UnixListener, UnixStream},
    };

    use super::*;
    use crate::config::{Listen, resolve};

    fn shared(listen: impl Into<Listen>) -> Result<Shared> {
        Shared::take(resolve(vec![listen.into()]).unwrap().remove(0))
    }

    fn abstract_name(name: &str) -> String {
        format!("unix:@mio-cluster-{}-{name}", std::process::id())
    }

    fn connect(shared: &Shared) -> io::Result<Socket> {
        let socket = unix_socket(None)?;
        socket.connect(&sockaddr(&shared.bind.at)?)?;
        Ok(socket)
    }

    /// What a stop without losses is built on.
    #[test]
    fn a_shut_unix_socket_refuses_newcomers_and_keeps_its_queue() {
        let shared = shared(abstract_name("queue")).unwrap();
        let _waiting = [(); 3].map(|()| connect(&shared).unwrap());
        shared.refuse().unwrap();
        assert_eq!(connect(&shared).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let socket = SockRef::from(shared.socket.as_ref().unwrap());
        (0..3).for_each(|_| drop(socket.accept().unwrap()));
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        shared.refuse().unwrap();
    }

    #[test]
    fn an_abstract_name_belongs_to_one_at_a_time() {
        let name = abstract_name("name");
        let first = shared(&name).unwrap();
        let error = shared(&name).err().unwrap();
        assert!(error.is_address_in_use(), "{error:#}");
        assert!(error.to_string().contains(&name), "{error}");
        drop(first);
        shared(&name).expect("it is free again");
    }

    #[test]
    fn a_socket_of_others_is_opened_and_never_shut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, elsewhere) = (listener.local_addr().unwrap(), listener.try_clone().unwrap());
        let taken = shared(Listen::fd(listener).nodelay(true)).unwrap();
        let _waiting = TcpStream::connect(at).unwrap();
        taken.refuse().unwrap();
        drop(taken);
        let (connection, _) = elsewhere.accept().unwrap();
        assert!(connection.nodelay().unwrap());
        TcpStream::connect(at).unwrap();
    }

    #[test]
    fn a_socket_that_is_only_bound_is_made_to_listen() {
        let path = std::env::temp_dir().join(format!("mio-cluster-bound-{}", std::process::id()));
        let socket = unix_socket(None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        let taken = shared(Listen::fd(socket)).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(taken);
        assert!(UnixListener::bind(&path).is_err(), "its file is not ours to remove");
        std::fs::remove_file(&path).unwrap();
    }
}
