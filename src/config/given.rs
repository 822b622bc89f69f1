//! The address of a socket that the program was given.

use std::{net::SocketAddr, os::fd::BorrowedFd};

use socket2::{SockAddr, SockRef, Type};

use crate::event::Endpoint;

/// Where it is bound, and whether it is an IPv6 socket that takes no IPv4.
///
/// **Errors**: what it is instead of a stream socket that somebody can listen on.
pub(super) fn address(socket: BorrowedFd<'_>) -> Result<(Endpoint, bool), String> {
    let socket = SockRef::from(&socket);
    let kind = socket.r#type().map_err(|error| format!("is no socket: {error}"))?;
    if kind != Type::STREAM {
        return Err("is no stream socket".to_owned());
    }
    let at = socket.local_addr().map_err(|error| format!("does not tell its address: {error}"))?;
    let at = endpoint(&at)?;
    if !socket.is_listener().is_ok_and(|listens| listens) && socket.peer_addr().is_ok() {
        return Err("is a connection, and no socket to listen on".to_owned());
    }
    let v6_only = at.is_ipv6() && socket.only_v6().is_ok_and(|only| only);
    Ok((at, v6_only))
}

fn endpoint(at: &SockAddr) -> Result<Endpoint, String> {
    let not_bound = "is not bound to an address";
    match at.as_socket() {
        Some(at) if at.port() == 0 => return Err(not_bound.to_owned()),
        Some(at) => return Ok(Endpoint::Ip(at)),
        None => {}
    }
    match (at.as_pathname(), at.as_abstract_namespace()) {
        (Some(path), _) => Ok(Endpoint::Path(path.into())),
        (None, Some(name)) => Ok(Endpoint::Abstract(name.into())),
        (None, None) if at.is_unix() => Err(not_bound.to_owned()),
        (None, None) => Err("is neither a TCP nor a Unix socket".to_owned()),
    }
}

impl Endpoint {
    fn is_ipv6(&self) -> bool {
        matches!(self, Self::Ip(SocketAddr::V6(_)))
    }
}
