//! What the socket is ready for.

use std::{io, os::fd::BorrowedFd, time::Duration};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// Whether the other end was closed or shut down.
pub(super) fn is_hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    // nix has no name for POLLRDHUP, and its `revents` is None where that is set.
    let mut socket = [PollFd::new(socket, PollFlags::from_bits_retain(libc::POLLRDHUP))];
    while let Err(error) = poll(&mut socket, PollTimeout::ZERO) {
        if error != nix::Error::EINTR {
            return Err(error.into());
        }
    }
    Ok(socket[0].revents().is_none_or(|events| events.contains(PollFlags::POLLHUP)))
}

pub(super) fn is_writable(socket: BorrowedFd<'_>) -> bool {
    let mut socket = [PollFd::new(socket, PollFlags::POLLOUT)];
    // What cannot be asked is tried.
    poll(&mut socket, PollTimeout::ZERO).map_or(true, |ready| ready > 0)
}

pub(super) fn await_room(socket: BorrowedFd<'_>, within: Duration) -> io::Result<()> {
    let whole = within.as_nanos().div_ceil(1_000_000);
    let within = PollTimeout::try_from(whole).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(socket, PollFlags::POLLOUT)], within) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
