//! stdin, stdout and stderr of a worker.

use std::os::fd::{AsRawFd, IntoRawFd};

use nix::{
    fcntl::{OFlag, open},
    libc,
    sys::stat::Mode,
};

/// Opens /dev/null under those of the numbers 0, 1 and 2 that are closed, as Rust's runtime does when a program starts.
/// Otherwise the worker's first connections would get them, and everything that it prints or logs.
///
/// Without /dev/null they stay closed.
pub(crate) fn fill() {
    // The lowest free number is given each time, and another thread does not run yet.
    while let Ok(null) = open("/dev/null", OFlag::O_RDWR, Mode::empty()) {
        if null.as_raw_fd() > libc::STDERR_FILENO {
            return;
        }
        // Open for the rest of the process, and in the programs that it starts.
        let _ = null.into_raw_fd();
    }
}
