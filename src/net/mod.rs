//! The port: the master's claim of an address and the workers' doors at it.
//!
//! The master claims an address before the first fork with a socket that never accepts; each worker binds its own
//! socket beside it with SO_REUSEPORT, and the master, which checks it, calls `listen()` on it: so the sockets join the
//! kernel's group in one order. Unix sockets, and sockets that were open before, have no such group: there the claim is
//! the one socket that all workers accept on (see [`shared`]).
//!
//! Races: of several programs that start at once on one port exactly one wins, by the kernel's own arbitration (see
//! [`Claim`]), of those that start on one path by a lock (see [`mod@file`]); a worker's descriptor is checked before it
//! is believed (see [`door::examine`]).

mod claim;
pub(crate) mod door;
mod file;
mod ports;
mod shared;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use nix::libc;

pub(crate) use claim::Claim;
pub(crate) use ports::Ports;

use crate::{
    config::Bind,
    error::{Error, Kind, Result},
    event::Endpoint,
};

/// Of an address at which each worker has a socket of its own.
fn ip(bind: &Bind) -> Result<SocketAddr> {
    bind.ip().ok_or_else(|| Error::new(Kind::InvalidConfig, format!("{} is no IP address", bind.at)))
}

/// The words for a socket call that failed on an address, with what to do about it.
fn refused(step: &str, bind: &Bind, source: io::Error) -> Error {
    let advice = match &bind.at {
        Endpoint::Ip(at) => ip_advice(*at, &source),
        Endpoint::Path(path) => unix_advice(&path.display().to_string(), "path", &source),
        Endpoint::Abstract(name) => unix_advice(&format!("@{}", name.escape_ascii()), "name", &source),
    };
    Error::system(format!("{step} {}{advice}", bind.at), source)
}

fn ip_advice(at: SocketAddr, source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            ": another program, or another copy of this one, has it; stop that one (`ss -ltnp 'sport = :{}'` shows it, unless it \
             is a cluster between two workers) or choose another port",
            at.port()
        ),
        Some(libc::EACCES) => format!(
            ": port {} needs the capability CAP_NET_BIND_SERVICE (or a lower net.ipv4.ip_unprivileged_port_start); grant it \
             or choose a port from 1024",
            at.port()
        ),
        Some(libc::EADDRNOTAVAIL) => ": this machine has no such address (`ip address` lists them)".to_owned(),
        Some(libc::EINVAL) if is_link_local(at) => {
            ": a link-local address needs the number of its interface, as in [fe80::1%2]:8000".to_owned()
        }
        _other => String::new(),
    }
}

fn unix_advice(name: &str, what: &str, source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => format!(
            ": another program, or another copy of this one, has it; stop that one (`ss -lxp src {name}` shows it) or choose \
             another {what}"
        ),
        _other => String::new(),
    }
}

fn is_link_local(at: SocketAddr) -> bool {
    matches!(at.ip(), IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

/// Sockets are the master's, but for those of a worker without one.
const TARGET: &str = "mio_cluster::master";
