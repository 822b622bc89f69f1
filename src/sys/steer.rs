//! The program by which the kernel chooses among the listening sockets of one address. One system call each, do not
//! block, borrow the descriptor.

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd},
};

use nix::{errno::Errno, libc};

use super::option;

/// Attaches a classic program to the group of this socket, in place of the one that it has, for all of its members at
/// once. No privilege is needed. It ends with the last of them.
///
/// **Errors**: the system forbids it (a seccomp filter); the program is not a valid one; the socket is without
/// SO_REUSEPORT.
pub(crate) fn attach(member: impl AsFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the value is a sock_fprog of `length` bytes, and its pointer is to `len` instructions; both live until
    // the call returns. The kernel copies the instructions, and writes nothing, so that a shared borrow of them
    // suffices.
    let result = unsafe {
        libc::setsockopt(
            member.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            length,
        )
    };
    Errno::result(result).map(drop)?;
    Ok(())
}

/// From now on the kernel chooses by its hash again. Nothing happens if it does so already.
pub(crate) fn detach(member: impl AsFd) -> io::Result<()> {
    // The kernel wants an int, whatever it is.
    match option::set(member, libc::SOL_SOCKET, libc::SO_DETACH_REUSEPORT_BPF, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}
