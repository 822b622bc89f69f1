//! The claim: a bound socket of the master that takes no connection and keeps everybody else away.

use std::net::{Shutdown, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{ip, refused};
use crate::{
    config::Bind,
    error::{Error, Kind, Result},
    sys::owned::Owned,
};

/// An address that belongs to this cluster as long as the value lives, also while no worker does.
///
/// A fixed port is claimed by binding *without* SO_REUSEPORT, which fails if anybody listens there, a second copy of
/// this server included (plain reuse-port servers would silently split their traffic). Binding alone lets two
/// simultaneous starters through, so the socket then listens with an empty queue: the kernel lets only one of them.
/// Afterwards it leaves the listening state and turns SO_REUSEPORT on, so that workers may bind beside it; later claims
/// still fail.
pub(crate) struct Claim {
    bind: Bind,
    _socket: Owned,
}

impl Claim {
    /// **Errors**: the address is in use, not of this machine, below port 1024 without the right; IPv6 is not
    /// available.
    pub(crate) fn take(wanted: &Bind) -> Result<Self> {
        let step = |source| refused("claiming", wanted, source);
        let at = ip(wanted)?;
        let socket = stream_socket(at).map_err(step)?;
        if at.is_ipv6() {
            socket.set_only_v6(wanted.v6_only).map_err(step)?;
        }
        match at.port() {
            0 => socket.bind(&at.into()).map_err(step)?,
            _fixed => arbitrate(&socket, at).map_err(step)?,
        }
        socket.set_reuse_port(true).map_err(step)?;
        let at = socket.local_addr().map_err(step)?.as_socket();
        let at = at
            .ok_or_else(|| Error::new(Kind::System, format!("claiming {}: the socket has no IP address", wanted.at)))?;
        Ok(Self { bind: Bind { at: at.into(), ..wanted.clone() }, _socket: Owned::new(socket) })
    }

    /// The address with its real port.
    pub(crate) fn bind(&self) -> &Bind {
        &self.bind
    }
}

/// A non-blocking stream socket that no program started later inherits.
pub(super) fn stream_socket(at: SocketAddr) -> std::io::Result<Socket> {
    Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Wins the port or fails with "address in use".
///
/// SO_REUSEADDR is on for the bind, or connections of an earlier run in TIME_WAIT would refuse it, and off again before
/// the socket leaves the listening state, or a second starter could bind beside it.
fn arbitrate(socket: &Socket, at: SocketAddr) -> std::io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(0)?;
    socket.set_reuse_address(false)?;
    socket.shutdown(Shutdown::Read)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use nix::unistd::geteuid;

    use super::*;
    use crate::{config::resolve, net::door};

    fn at(claim: &Claim) -> SocketAddr {
        ip(claim.bind()).unwrap()
    }

    fn bind(text: &str) -> Bind {
        resolve(vec![text.into()]).unwrap().remove(0).bind
    }

    fn free_port() -> Bind {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        bind(&port.to_string())
    }

    #[test]
    fn a_claim_refuses_a_second_one_and_serves_nobody() {
        for wanted in [free_port(), bind("127.0.0.1:0")] {
            let first = Claim::take(&wanted).unwrap();
            let error = Claim::take(first.bind()).err().expect("the port is taken");
            assert!(error.is_address_in_use());
            assert!(error.to_string().contains(&at(&first).to_string()), "{error}");
            assert!(TcpListener::bind(at(&first)).is_err(), "nor may a plain listener bind");
            assert!(TcpStream::connect(at(&first)).is_err(), "nobody listens yet");
        }
    }

    #[test]
    fn doors_open_beside_the_claim_and_the_port_stays_claimed() {
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let claim = Claim::take(&bind(text)).unwrap();
            let doors = [0, 1].map(|_| door::bind(claim.bind(), geteuid().as_raw()).unwrap());
            for door in &doors {
                door::open(claim.bind(), door).unwrap();
            }
            TcpStream::connect(at(&claim)).unwrap();
            assert!(Claim::take(claim.bind()).is_err());
            drop(doors);
            assert!(Claim::take(claim.bind()).is_err(), "also without a worker");
            let bind = claim.bind().clone();
            drop(claim);
            Claim::take(&bind).expect("a dropped claim frees the port");
        }
    }

    #[test]
    fn a_foreign_address_is_named() {
        let error = Claim::take(&bind("192.0.2.1:8000")).err().unwrap();
        assert!(format!("{error:?}").contains("192.0.2.1:8000: this machine has no such address"), "{error:?}");
    }
}
