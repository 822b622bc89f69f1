//! The port: the master's claim of an address and the workers' doors at it.
//!
//! The master claims an address before the first fork with a socket that never accepts; each worker binds its own
//! socket beside it with SO_REUSEPORT, and the master, which checks it, calls `listen()` on it: so the sockets join the
//! kernel's group in one order.
//!
//! Races: of several programs that start at once on one port exactly one wins, by the kernel's own arbitration (see
//! [`Claim`]); a worker's descriptor is checked before it is believed (see [`door::admit`]).

mod claim;
pub(crate) mod door;
mod ports;

use std::{io, net::IpAddr};

use nix::libc;

pub(crate) use claim::Claim;
pub(crate) use ports::Ports;

use crate::{config::Bind, error::Error};

/// The words for a socket call that failed on an address, with what to do about it.
fn refused(step: &str, bind: &Bind, source: io::Error) -> Error {
    let at = bind.at;
    let advice = match source.raw_os_error() {
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
        Some(libc::EINVAL) if is_link_local(bind) => {
            ": a link-local address needs the number of its interface, as in [fe80::1%2]:8000".to_owned()
        }
        _other => String::new(),
    };
    Error::system(format!("{step} {at}{advice}"), source)
}

fn is_link_local(bind: &Bind) -> bool {
    matches!(bind.at.ip(), IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}
