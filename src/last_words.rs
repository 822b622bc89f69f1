//! What must be said before a process ends.

use std::fmt::Display;

/// Logs an error; if the program has no logger that takes it, prints it to stderr, for nobody should end in silence.
pub(crate) fn last_words(target: &str, text: impl Display) {
    if log::log_enabled!(target: target, log::Level::Error) {
        log::error!(target: target, "{text}");
    } else {
        print(text);
    }
}

#[allow(clippy::print_stderr, reason = "the last resort of a process that is about to end")]
fn print(text: impl Display) {
    eprintln!("error: {text}");
}
