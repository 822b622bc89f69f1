//! Options of sockets that are an int. One system call, does not block, borrows the descriptor.

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd},
};

use nix::{errno::Errno, libc};

/// **Errors**: those of this option.
pub(super) fn set(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an int of `length` bytes that lives until the call returns; the kernel only reads it.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length) };
    Errno::result(result)?;
    Ok(())
}
