//! A door: the listening socket of one slot at one address. A worker binds it, the master opens it and keeps a
//! duplicate, through which it outlives its worker.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{Shutdown, shutdown},
    unistd::{Uid, fchown, geteuid},
};
use socket2::{SockRef, Type};

use super::{claim::stream_socket, ip, refused};
use crate::{
    config::Bind,
    error::{Error, Kind, Result},
    sys::{deferral, owned::Owned, queue, refusal},
};

/// In the worker: a socket bound beside the claim, not yet listening.
///
/// SO_REUSEADDR is on as well as SO_REUSEPORT: accepted connections inherit both, and without it their TIME_WAIT would
/// refuse the next claim of the port.
///
/// **Errors**: besides those of the claim: this process runs as another user than the master did.
pub(crate) fn bind(bind: &Bind, owner: u32) -> Result<Owned> {
    let step = |source| refused("binding", bind, source);
    let at = ip(bind)?;
    let socket = stream_socket(at).map_err(step)?;
    socket.set_reuse_address(true).map_err(step)?;
    socket.set_reuse_port(true).map_err(step)?;
    socket.set_tcp_nodelay(bind.nodelay).map_err(step)?;
    if bind.defer_accept > 0 {
        deferral::defer_accept(&socket, bind.defer_accept).map_err(step)?;
    }
    if at.is_ipv6() {
        socket.set_only_v6(bind.v6_only).map_err(step)?;
    }
    let me = geteuid().as_raw();
    if me != owner {
        fchown(&socket, Some(Uid::from_raw(owner)), None)
            .map_err(|source| foreign_user(bind, me, owner, source.into()))?;
    }
    socket.bind(&at.into()).map_err(step)?;
    Ok(Owned::new(socket))
}

/// In the master: what a worker hands over as its socket, which has passed the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// It does not listen yet.
    Fresh,
    /// The one that the master has for the same slot and address listens, in the hands of a replacement.
    Held,
    /// It does not listen, and the one that the master has does.
    Second,
}

/// Which of these it is. `held`: what the master has for the same slot and address.
///
/// **Errors**: it is another kind of socket, at another address, without SO_REUSEPORT, or listens already and is not the
/// one that the master has.
pub(crate) fn examine(bind: &Bind, door: impl AsFd, held: Option<&Owned>) -> Result<Offer> {
    let socket = SockRef::from(&door);
    let wrong = |what: &str| Error::new(Kind::InvalidConfig, format!("the socket for {} {what}", bind.at));
    let step = |source: io::Error| Error::system(format!("examining the socket for {}", bind.at), source);
    if socket.r#type().map_err(step)? != Type::STREAM {
        return Err(wrong("is not a stream socket"));
    }
    let at = socket.local_addr().map_err(step)?.as_socket();
    if at != bind.ip() {
        let at = at.map_or("no IP address".to_owned(), |at| at.to_string());
        return Err(wrong(&format!("is bound to {at}")));
    }
    if !socket.reuse_port().map_err(step)? {
        return Err(wrong("is without SO_REUSEPORT"));
    }
    // The last owner may have made it a blocking one, and that is shared by all duplicates.
    socket.set_nonblocking(true).map_err(step)?;
    match (socket.is_listener().map_err(step)?, held) {
        (true, Some(held)) if is_same(held, &door) => Ok(Offer::Held),
        (true, _) => Err(wrong("listens already")),
        (false, Some(held)) if listens(held) => Ok(Offer::Second),
        (false, _) => Ok(Offer::Fresh),
    }
}

/// It takes connections.
pub(crate) fn listens(door: impl AsFd) -> bool {
    SockRef::from(&door).is_listener().unwrap_or(false)
}

/// Takes connections from now on.
pub(crate) fn open(bind: &Bind, door: impl AsFd) -> Result<()> {
    SockRef::from(&door).listen(bind.backlog).map_err(|source| refused("listening on", bind, source))
}

/// Leaves the kernel's group at once, however many duplicates live on in other processes; clients that wait are reset.
/// Tells how many did, or `None` if the socket no longer listened.
pub(crate) fn shut(door: impl AsFd) -> io::Result<Option<u32>> {
    if !SockRef::from(&door).is_listener()? {
        return Ok(None);
    }
    // What cannot be counted must be shut all the same.
    let waiting = queue::waiting(&door).unwrap_or(0);
    match shutdown(door.as_fd().as_raw_fd(), Shutdown::Read) {
        // Another process that has it was faster.
        Err(Errno::ENOTCONN) => Ok(None),
        shut => Ok(shut.map(|()| Some(waiting))?),
    }
}

/// Nobody new comes any more: whoever connects is refused, unless other doors listen there. Those who wait stay, and
/// those whose handshake has begun still come.
pub(crate) fn refuse_newcomers(door: impl AsFd) -> io::Result<()> {
    match refusal::refuse_newcomers(door) {
        // It was done before, or this kernel allows it to root alone: then they come until the door is shut.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// By the kernel's own number of the socket; descriptors of one socket differ.
pub(crate) fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    matches!((SockRef::from(&one).cookie(), SockRef::from(&other).cookie()), (Ok(one), Ok(other)) if one == other)
}

fn foreign_user(bind: &Bind, me: u32, owner: u32, source: io::Error) -> Error {
    let text = format!(
        "binding {}: the master claimed it as user {owner} and this worker runs as user {me}; call listen() before giving up \
         privileges",
        bind.at
    );
    Error::new(Kind::PermissionDenied, text).because(source)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        time::Duration,
    };

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::{
        config::{Listen, resolve},
        net::Claim,
    };

    fn claimed(listen: impl Into<Listen>) -> Claim {
        Claim::take(&resolve(vec![listen.into()]).unwrap()[0].bind).unwrap()
    }

    #[test]
    fn strange_sockets_are_not_admitted() {
        let claim = claimed("127.0.0.1:0");
        let (mine, owner) = (claim.bind(), geteuid().as_raw());
        let reason = |door: &dyn AsFdDyn| examine(mine, door.fd(), None).unwrap_err().to_string();
        assert!(reason(&UdpSocket::bind("127.0.0.1:0").unwrap()).contains("not a stream socket"));
        assert!(reason(&TcpListener::bind("127.0.0.1:0").unwrap()).contains("is bound to 127.0.0.1:"));
        let door = super::bind(mine, owner).unwrap();
        SockRef::from(&door).set_reuse_port(false).unwrap();
        assert!(reason(&door).contains("without SO_REUSEPORT"));
        SockRef::from(&door).set_reuse_port(true).unwrap();
        assert_eq!(examine(mine, &door, None).unwrap(), Offer::Fresh);
        open(mine, &door).unwrap();
        assert_eq!(examine(mine, &door, Some(&door)).unwrap(), Offer::Held);
        let second = super::bind(mine, owner).unwrap();
        assert_eq!(examine(mine, &second, Some(&door)).unwrap(), Offer::Second);
        shut(&door).unwrap();
        assert_eq!(examine(mine, &second, Some(&door)).unwrap(), Offer::Fresh);
        open(mine, &door).unwrap();
        assert!(reason(&door).contains("listens already"));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(reason(&file).contains("examining the socket"));
    }

    #[test]
    fn options_of_the_address_are_those_of_the_socket() {
        for (nodelay, backlog) in [(true, 7), (false, 3)] {
            let listen = Listen::from("127.0.0.1:0").nodelay(nodelay).backlog(backlog);
            let claim = claimed(listen);
            let door = super::bind(claim.bind(), geteuid().as_raw()).unwrap();
            open(claim.bind(), &door).unwrap();
            // The kernel queues one more than the backlog, then drops whoever knocks.
            let _queued: Vec<TcpStream> =
                (0..=backlog).map(|_| TcpStream::connect(ip(claim.bind()).unwrap()).unwrap()).collect();
            let late = stream_socket(ip(claim.bind()).unwrap()).unwrap();
            assert!(late.connect(&ip(claim.bind()).unwrap().into()).is_err(), "it is in progress");
            let mut fds = [PollFd::new(late.as_fd(), PollFlags::POLLOUT)];
            assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 0, "and not connected");
            let (accepted, _) = SockRef::from(&door).accept().unwrap();
            assert_eq!(accepted.tcp_nodelay().unwrap(), nodelay, "inherited from the listener");
        }
    }

    #[test]
    fn deferral_of_the_address_is_that_of_the_socket() {
        for (asked, taken) in [(0, 0), (1, 1), (5, 7)] {
            let listen = Listen::from("127.0.0.1:0").defer_accept(Duration::from_secs(asked));
            let claim = claimed(listen);
            let door = super::bind(claim.bind(), geteuid().as_raw()).unwrap();
            open(claim.bind(), &door).unwrap();
            assert_eq!(deferral::deferral(&door).unwrap(), taken);
        }
    }

    trait AsFdDyn {
        fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
    }

    impl<T: AsFd> AsFdDyn for T {
        fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.as_fd()
        }
    }
}
