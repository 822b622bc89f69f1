//! How many connections wait in a listening socket. One system call, does not block, borrows the descriptor.

use std::{
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd},
};

use nix::{errno::Errno, libc};

/// The length of the accept queue of a TCP socket that listens.
///
/// **Errors**: it is no TCP socket. What is said of one that does not listen means something else.
pub(crate) fn waiting(socket: impl AsFd) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the buffer is `length` bytes long and lives until the call returns; the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    Errno::result(result)?;
    // SAFETY: zeroed before, and any bits are a valid tcp_info: it holds integers only.
    let info = unsafe { info.assume_init() };
    // Where an established socket counts segments that were not acknowledged, a listening one counts connections that
    // were not accepted (tcp_get_info in the kernel's tcp.c).
    Ok(info.tcpi_unacked)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn connections_that_wait_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(waiting(&listener).unwrap(), 0);
        let _clients = [(); 3].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        assert_eq!(waiting(&listener).unwrap(), 3);
        drop(listener.accept().unwrap());
        assert_eq!(waiting(&listener).unwrap(), 2);
        assert!(waiting(UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
    }
}
