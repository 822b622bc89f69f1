//! Packets with descriptors over a SOCK_SEQPACKET socketpair.
//!
//! A packet arrives whole or not at all, with its descriptors; a packet of no bytes cannot be told from the end of the
//! stream. What is received is closed on every path that does not return it. The kernel drops descriptors that do not
//! fit into the receiver's limit and only sets a flag: `lost_fds`.

use std::{
    io::{self, IoSlice},
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{self, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType},
};

/// What one packet brought.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) fds: Vec<OwnedFd>,
    /// Fewer descriptors arrived than were sent.
    pub(crate) lost_fds: bool,
}

/// Two connected ends, non-blocking and CLOEXEC.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends one packet and duplicates of `fds`, at most [`MAX_FDS`]; all or nothing.
///
/// **Errors**: WouldBlock: the peer's queue is full; EPIPE, ECONNRESET: it is gone; EINVAL: too many descriptors;
/// EMSGSIZE: the packet exceeds the send buffer; ETOOMANYREFS: more descriptors in flight than RLIMIT_NOFILE.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    let socket = socket.as_fd().as_raw_fd();
    loop {
        match socket::sendmsg::<()>(socket, &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet into `buffer`, in place of what was there; its descriptors are CLOEXEC from birth.
///
/// No bytes: the end of the stream, or an empty packet. A packet longer than the buffer's capacity is cut. Memory that
/// no packet has reached stays untouched, so that an idle worker does not pay for the largest one.
///
/// **Errors**: WouldBlock: nothing there; ECONNRESET: the peer died with packets unread. Read on: its last packets come
/// after it.
pub(crate) fn recv(socket: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<Received> {
    buffer.clear();
    let space = buffer.spare_capacity_mut();
    let mut control = Control([0; CONTROL_BYTES]);
    let mut parts = [libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() }];
    // SAFETY: `msghdr` is integers, pointers and (musl) padding; all zero is a valid value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = parts.as_mut_ptr();
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    let len = loop {
        // SAFETY: `header` describes `space` and `control` by their true lengths; both are borrowed mutably here and
        // outlive the call.
        let result = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(result) {
            Ok(len) => break len.unsigned_abs(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    // SAFETY: recvmsg has written `len` bytes at the start of the spare capacity of the empty vector, and never says
    // more than it wrote.
    unsafe { buffer.set_len(len) };
    // SAFETY: recvmsg has just filled `header` in, its control pointer leads to `control`, and this is the one call for
    // it.
    let fds = unsafe { take_rights(&header) };
    let set = |flag| header.msg_flags & flag != 0;
    Ok(Received { fds, lost_fds: set(libc::MSG_CTRUNC) })
}

/// # Safety
///
/// `header` is as recvmsg left it, and its control buffer is alive. Called once for it: the descriptors get their owner
/// here.
unsafe fn take_rights(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the control buffer is alive, aligned as a cmsghdr, and `msg_controllen` says how much of it the kernel
    // wrote.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header within the control buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            #[allow(clippy::unnecessary_cast, reason = "cmsg_len is a u32 with musl")]
            // SAFETY: CMSG_LEN only computes.
            let payload = message.cmsg_len as usize - unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..payload / size_of::<RawFd>() {
                // SAFETY: the kernel wrote `payload` bytes of descriptors behind this header, each new in this process
                // and without an owner.
                let fd = unsafe {
                    let raw = libc::CMSG_DATA(message).cast::<RawFd>().add(index);
                    OwnedFd::from_raw_fd(ptr::read_unaligned(raw))
                };
                fds.push(fd);
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR; `message` is in that buffer.
        next = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    fds
}

/// The kernel's SCM_MAX_FD.
pub(crate) const MAX_FDS: usize = 253;

// SAFETY: CMSG_SPACE only computes.
const CONTROL_BYTES: usize = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<RawFd>()) as libc::c_uint) } as usize;

/// Aligned for the `cmsghdr` at its start.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

const _: () = assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>());

#[cfg(test)]
mod tests {
    use std::{fs::File, io::ErrorKind};

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    #[test]
    fn packets_keep_their_bounds_and_their_descriptors() {
        let (ours, theirs) = pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        send(&ours, b"with", &vec![file.as_fd(); MAX_FDS]).unwrap();
        send(&ours, b"without", &[]).unwrap();

        let mut buffer = Vec::with_capacity(16);
        let first = recv(&theirs, &mut buffer).unwrap();
        assert_eq!((&buffer[..], first.fds.len()), (&b"with"[..], MAX_FDS));
        assert!(!first.lost_fds);
        assert!(fcntl(&first.fds[252], FcntlArg::F_GETFD).unwrap() & FdFlag::FD_CLOEXEC.bits() != 0);
        let second = recv(&theirs, &mut buffer).unwrap();
        assert_eq!((&buffer[..], second.fds.len()), (&b"without"[..], 0));
        assert_eq!(recv(&theirs, &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"12345", &[]).unwrap();
        let mut buffer = Vec::with_capacity(4);
        recv(&theirs, &mut buffer).unwrap();
        assert_eq!(buffer, b"1234");
        let too_many = vec![ours.as_fd(); MAX_FDS + 1];
        assert_eq!(send(&ours, b"x", &too_many).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_peer_that_is_gone_gives_its_last_packets_then_the_end() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, b"last", &[]).unwrap();
        drop(ours);
        let mut buffer = Vec::with_capacity(8);
        recv(&theirs, &mut buffer).unwrap();
        assert_eq!(buffer, b"last");
        recv(&theirs, &mut buffer).unwrap();
        assert_eq!(buffer, b"");
        assert_eq!(send(&theirs, b"x", &[]).unwrap_err().raw_os_error(), Some(libc::EPIPE));
    }
}
