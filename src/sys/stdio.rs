//! stdin, stdout and stderr of a worker.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl, open},
    libc,
    sys::stat::Mode,
};

/// Opens /dev/null under those of the numbers 0, 1 and 2 that are closed, as Rust's runtime does when a program starts.
/// Otherwise the worker's first connections would get them, and everything that it prints or logs.
///
/// Without /dev/null they stay closed.
pub(crate) fn fill() {
    for number in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        if is_open(number) {
            continue;
        }
        // The lowest free number is given, and another thread does not run yet.
        let Ok(null) = open("/dev/null", OFlag::O_RDWR, Mode::empty()) else { return };
        if null.as_raw_fd() == number {
            // Open for the rest of the process, and in the programs that it starts.
            let _ = null.into_raw_fd();
        }
    }
}

fn is_open(number: i32) -> bool {
    // SAFETY: only asked about, by a call that fails if there is no such descriptor; nothing keeps the borrow.
    let number = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(number, FcntlArg::F_GETFD).is_ok()
}
