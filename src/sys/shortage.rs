//! What the system has too little of, for now.

use std::io;

use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};

/// Descriptors or memory have run out: it passes when something is given back.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&number))
}
