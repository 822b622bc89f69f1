//! What must be said before a process ends.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Logs an error; if the program has no logger that takes it, prints it to stderr, for nobody should end in silence.
pub(crate) fn last_words(target: &str, text: impl Display) {
    if log::log_enabled!(target: target, log::Level::Error) {
        log::error!(target: target, "{text}");
    } else {
        print(text);
    }
}

/// A closed pipe or a full disk is no reason to end otherwise than intended.
fn print(text: impl Display) {
    let _ = writeln!(io::stderr(), "error: {text}");
}
