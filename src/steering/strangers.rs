//! Who listens at an address: by the kernel's own list, so that sockets of other programs show, too.
//!
//! It is asked over netlink, which lists the listening sockets of one port. Where that is forbidden (containers and
//! units that allow only some address families) it is read from /proc, where they come first.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    libc::{self, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// The inodes of the TCP sockets that listen at exactly this address.
///
/// **Errors**: neither way is open.
pub(super) fn listening_at(at: SocketAddr) -> io::Result<Vec<u64>> {
    by_netlink(at).or_else(|_forbidden| by_proc(at))
}

fn by_netlink(at: SocketAddr) -> io::Result<Vec<u64>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    send(socket.as_raw_fd(), &request(at), MsgFlags::empty())?;
    let (mut inodes, mut buffer) = (Vec::new(), vec![0; DUMP]);
    // Nothing is waited for: the kernel answers inside the calls.
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if take(&buffer[..length], at, &mut inodes)? {
            return Ok(inodes);
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2`: all sockets of this family and port that listen.
fn request(at: SocketAddr) -> Vec<u8> {
    let family = if at.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(((NLM_F_REQUEST | NLM_F_DUMP) as u16).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    request.extend(at.port().to_be_bytes());
    request.resize(REQUEST, 0);
    request
}

/// One datagram of the answer; true: it was the last.
fn take(mut datagram: &[u8], at: SocketAddr, inodes: &mut Vec<u64>) -> io::Result<bool> {
    let short = || io::Error::from(io::ErrorKind::InvalidData);
    while !datagram.is_empty() {
        let length = number(datagram, 0).ok_or_else(short)? as usize;
        let kind = datagram.get(4..6).ok_or_else(short)?;
        if kind == (NLMSG_DONE as u16).to_ne_bytes() {
            return Ok(true);
        }
        if kind != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = datagram.get(HEADER..length).ok_or_else(short)?;
        let (state, port) = (socket.get(1).ok_or_else(short)?, socket.get(4..6).ok_or_else(short)?);
        let ip = socket.get(8..8 + octets(at.ip()).len()).ok_or_else(short)?;
        if *state == TCP_LISTEN && port == at.port().to_be_bytes() && ip == octets(at.ip()) {
            inodes.push(number(socket, INODE).ok_or_else(short)?.into());
        }
        // Each message begins at a multiple of four.
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn by_proc(at: SocketAddr) -> io::Result<Vec<u64>> {
    let path = if at.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    rows(BufReader::with_capacity(PAGE, File::open(path)?), at)
}

/// The kernel writes the sockets that listen first, and only those are read.
fn rows(table: impl BufRead, at: SocketAddr) -> io::Result<Vec<u64>> {
    let words = octets(at.ip());
    let words = words.chunks_exact(4).filter_map(|word| number(word, 0)).map(|word| format!("{word:08X}"));
    let local = format!("{}:{:04X}", words.collect::<String>(), at.port());
    let mut inodes = Vec::new();
    for row in table.lines().skip(1) {
        let row = row?;
        let fields: Vec<&str> = row.split_ascii_whitespace().collect();
        let [_number, address, _peer, state, _queues, _timer, _retries, _uid, _timeout, inode, ..] = fields[..] else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if u8::from_str_radix(state, 16) != Ok(TCP_LISTEN) {
            break;
        }
        if address == local {
            inodes.push(inode.parse().map_err(|_| io::ErrorKind::InvalidData)?);
        }
    }
    Ok(inodes)
}

/// Of linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Of net/tcp_states.h.
const TCP_LISTEN: u8 = 10;
/// Of a `nlmsghdr`.
const HEADER: usize = 16;
/// The size of a `nlmsghdr` and an `inet_diag_req_v2`.
const REQUEST: usize = HEADER + 56;
/// Where an `inet_diag_msg` has it.
const INODE: usize = 68;
/// The largest datagram of a dump.
const DUMP: usize = 32 * 1024;
/// What the kernel makes of the table at a time.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd};

    use nix::sys::stat::fstat;

    use super::*;

    #[test]
    fn both_ways_see_what_listens_at_the_address_and_only_that() {
        for host in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"] {
            let listener = TcpListener::bind(format!("{host}:0")).unwrap();
            let at = listener.local_addr().unwrap();
            let _elsewhere = at.is_ipv4().then(|| TcpListener::bind(("127.0.0.2", at.port())));
            let inode = fstat(listener.as_fd()).unwrap().st_ino;
            assert_eq!(by_netlink(at).unwrap(), [inode], "{at}");
            assert_eq!(by_proc(at).unwrap(), [inode], "{at}");
            drop(listener);
            assert!(by_netlink(at).unwrap().is_empty() && by_proc(at).unwrap().is_empty(), "{at}");
        }
    }

    #[test]
    fn strange_answers_are_errors() {
        let at = "127.0.0.1:80".parse().unwrap();
        let mut found = Vec::new();
        for length in 1..REQUEST {
            assert!(take(&request(at)[..length], at, &mut found).is_err(), "cut at {length}");
        }
        assert!(take(&[0; 16], at, &mut found).is_err());
        assert!(rows(&b"head\n 0: 0100007F:0050\n"[..], at).is_err());
        assert!(found.is_empty());
    }
}
