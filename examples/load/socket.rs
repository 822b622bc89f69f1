//! Sockets that connect without blocking, from whatever local address is due.

use std::{
    io,
    net::{SocketAddr, TcpStream as StdStream},
    os::fd::OwnedFd,
};

use mio_cluster::mio::net::TcpStream;
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::IpBindAddressNoPort},
};
use socket2::{SockAddr, Socket, Type};

use crate::plan::{Plan, Target};

pub(crate) struct Sockets {
    address: SockAddr,
    sources: Vec<SockAddr>,
    next_source: usize,
    /// Requests may follow each other before the first is answered.
    no_delay: bool,
}

impl Sockets {
    pub(crate) fn new(plan: &Plan) -> io::Result<Self> {
        let address = match &plan.target {
            Target::Tcp(address) => SockAddr::from(*address),
            Target::Unix(path) => SockAddr::unix(path)?,
        };
        let no_delay = !plan.single && matches!(plan.target, Target::Tcp(_));
        let sources = plan.sources.iter().map(|ip| SocketAddr::new(*ip, 0).into()).collect();
        Ok(Self { address, sources, next_source: 0, no_delay })
    }

    /// Begins to connect. That of a Unix-domain socket is a `TcpStream`, too: all stream sockets have the same calls.
    pub(crate) fn connect(&mut self) -> io::Result<TcpStream> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(self.address.domain(), kind, None)?;
        if self.no_delay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(source) = self.sources.get(self.next_source) {
            // The port is chosen when the server's address is known, so that one port serves for several servers.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(source)?;
            self.next_source = (self.next_source + 1) % self.sources.len();
        }
        match socket.connect(&self.address) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            Ok(()) | Err(_) => Ok(TcpStream::from_std(StdStream::from(OwnedFd::from(socket)))),
        }
    }
}
