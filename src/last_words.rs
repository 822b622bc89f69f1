//! What must be said before a process ends.

use std::{
    any::Any,
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

/// What a panic said, as far as it is text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// A closed pipe or a full disk is no reason to end otherwise than intended.
fn print(text: impl Display) {
    let _ = writeln!(io::stderr(), "error: {text}");
}
