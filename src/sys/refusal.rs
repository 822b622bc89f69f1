//! A listening socket that takes nobody new. One system call, does not block, borrows the descriptor.

use std::{io, os::fd::AsFd};

use nix::libc;

use super::option;

/// Whoever connects from now on does not find this socket: it is bound to a network device that cannot exist. If it was
/// the last one of its address and port, the kernel refuses them. The queue stays, and handshakes that have begun are
/// completed. Where other sockets of its SO_REUSEPORT group listen on, the kernel may choose this one for newcomers all
/// the same, who hear nothing then, try again after a second, and find another one if it is closed by then.
///
/// **Errors**: EPERM: it was done before, which only CAP_NET_RAW may do again; or Linux before 5.7, without it.
pub(crate) fn refuse_newcomers(socket: impl AsFd) -> io::Result<()> {
    option::set(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, NO_DEVICE)
}

/// The kernel gives devices their numbers from 1 on, and does not look whether there is one.
const NO_DEVICE: libc::c_int = libc::c_int::MAX;

#[cfg(test)]
mod tests {
    use std::{
        io::ErrorKind,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn newcomers_are_refused_and_the_queue_stays() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let door = TcpListener::bind(at).unwrap();
            let at = door.local_addr().unwrap();
            let clients = [(); 3].map(|()| TcpStream::connect(at).unwrap());
            refuse_newcomers(&door).unwrap();
            assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            for client in &clients {
                assert_eq!(door.accept().unwrap().1, client.local_addr().unwrap());
            }
            let again = refuse_newcomers(&door).err();
            assert!(again.is_none_or(|error| error.kind() == ErrorKind::PermissionDenied));
        }
    }
}
