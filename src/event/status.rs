//! How a worker process ended.

use std::fmt;

use crate::id::Signal;

/// How a worker process ended.
///
/// Unlike [`std::process::ExitStatus`] it can say "unknown": when the program that embeds the master ignores SIGCHLD or
/// reaps all children itself, and the kernel (before Linux 6.15) does not keep the status.
///
/// ```
/// use mio_cluster::{ExitStatus, Signal};
///
/// fn ran_out_of_memory(status: ExitStatus) -> bool {
///     status.signal() == Some(Signal::KILL) // the kernel's way
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitStatus(Ended);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Code(i32),
    Signal { signal: Signal, core_dumped: bool },
    Unknown,
}

impl ExitStatus {
    /// Decodes the number that `waitpid` stores; any signal number is kept, real-time ones too.
    pub(crate) fn from_wait_status(raw: i32) -> Self {
        match raw & 0x7f {
            0 => Self(Ended::Code((raw >> 8) & 0xff)),
            signal => Self(Ended::Signal { signal: Signal::from_raw(signal), core_dumped: raw & 0x80 != 0 }),
        }
    }

    pub(crate) fn unknown() -> Self {
        Self(Ended::Unknown)
    }

    /// The exit code, 0 to 255, if the process exited by itself.
    pub fn code(&self) -> Option<i32> {
        match self.0 {
            Ended::Code(code) => Some(code),
            Ended::Signal { .. } | Ended::Unknown => None,
        }
    }

    /// The signal that killed the process.
    pub fn signal(&self) -> Option<Signal> {
        match self.0 {
            Ended::Signal { signal, .. } => Some(signal),
            Ended::Code(_) | Ended::Unknown => None,
        }
    }

    /// Killed by a signal that left a core file.
    pub fn core_dumped(&self) -> bool {
        matches!(self.0, Ended::Signal { core_dumped: true, .. })
    }

    /// Exited with code 0.
    pub fn success(&self) -> bool {
        self.0 == Ended::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ended::Code(code) => write!(f, "exited with code {code}"),
            Ended::Signal { signal, core_dumped: false } => write!(f, "was killed by {signal}"),
            Ended::Signal { signal, core_dumped: true } => write!(f, "was killed by {signal} (core dumped)"),
            Ended::Unknown => f.write_str("ended; somebody else took its exit status"),
        }
    }
}
