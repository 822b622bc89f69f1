//! TCP_DEFER_ACCEPT. One system call, does not block, borrows the descriptor.

use std::{io, os::fd::AsFd};

use nix::libc;

use super::option;

/// A connection is not accepted before it has sent something, or this time has passed. The kernel counts in retries of
/// the handshake, so it takes the next of 1, 3, 7, 15, 31, 63 … seconds; 0 turns it off.
///
/// **Errors**: it is no TCP socket.
pub(crate) fn defer_accept(socket: impl AsFd, seconds: i32) -> io::Result<()> {
    option::set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

#[cfg(test)]
pub(crate) fn deferral(socket: impl AsFd) -> io::Result<i32> {
    use std::{mem::size_of, os::fd::AsRawFd};

    use nix::errno::Errno;

    let (mut seconds, mut length): (libc::c_int, _) = (-1, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the buffer is an int of `length` bytes that lives until the call returns, and any int is a valid one.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw mut seconds).cast(),
            &mut length,
        )
    };
    Errno::result(result)?;
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream, UdpSocket},
    };

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    #[test]
    fn a_connection_waits_for_its_first_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        // Long enough for any machine that runs this test: when it is over, the silent connection is accepted, too.
        defer_accept(&listener, 600).unwrap();
        assert!(deferral(&listener).unwrap() >= 600);
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"x").unwrap();
        poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn the_kernel_rounds_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (asked, taken) in [(1, 1), (2, 3), (4, 7), (60, 63), (0, 0)] {
            defer_accept(&listener, asked).unwrap();
            assert_eq!(deferral(&listener).unwrap(), taken);
        }
        defer_accept(&listener, i32::MAX).unwrap();
        assert!(defer_accept(UdpSocket::bind("127.0.0.1:0").unwrap(), 1).is_err());
    }
}
