//! One look into the queue of a listening socket.

use std::io;

use nix::libc;

use super::pause;

/// What was found.
pub(super) enum Look<T> {
    Guest(T),
    Nobody,
    /// The process or the machine has no room for one connection more, whether somebody waits or not.
    Short(io::Error),
    /// The socket was shut, by whoever else has it.
    Shut,
}

impl<T> Look<T> {
    /// Passes by who has left meanwhile. `accept` does not block.
    pub(super) fn by(accept: impl Fn() -> io::Result<T>) -> io::Result<Self> {
        loop {
            match accept() {
                Ok(guest) => return Ok(Self::Guest(guest)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Self::Nobody),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) if pause::is_shortage(&error) => return Ok(Self::Short(error)),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(Self::Shut),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Errors that `accept` reports for one connection (accept(2): treat them like EAGAIN, by trying the next).
fn is_of_the_connection(error: &io::Error) -> bool {
    const SKIPPED: [i32; 10] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EINTR,
        libc::ENETDOWN,
        libc::ENONET,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
    ];
    error.raw_os_error().is_some_and(|number| SKIPPED.contains(&number))
}
