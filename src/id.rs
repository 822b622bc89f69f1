//! The small identifiers: which slot, which process, which signal.

use std::{fmt, num::NonZeroU32};

/// One worker process: 1, 2, 3 …, never reused within a cluster.
///
/// Every input, action and timer of the supervisor carries one, so whatever refers to a worker that is gone is ignored.
///
/// ```
/// use mio_cluster::WorkerId;
///
/// let mut seen: Vec<WorkerId> = Vec::new();
/// // … collect `worker.id` from events …
/// seen.sort();
/// # assert!(seen.is_empty());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WorkerId(u64);

impl WorkerId {
    pub(crate) const FIRST: WorkerId = WorkerId(1);

    pub(crate) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number itself, for logs and file names.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stable place for a worker, `0..max_workers`.
///
/// It survives restarts: the replacement of a dead worker takes its slot, so a slot is what CPU pinning, statistics and
/// file names are keyed by.
///
/// ```no_run
/// fn serve(worker: mio_cluster::Worker) {
///     let log = format!("/var/log/server.{}.log", worker.slot());
/// #   drop(log);
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot(u16);

impl Slot {
    #[cfg(test)]
    pub(crate) const ZERO: Slot = Slot(0);

    pub(crate) fn from_index(index: usize) -> Self {
        Self(u16::try_from(index).expect("slots are fewer than MAX_WORKERS, which fits u16"))
    }

    pub(crate) fn as_u32(self) -> u32 {
        self.0.into()
    }

    /// The slot as an index into an array of `max_workers` elements.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Pairs a request with its reply; made by [`Master::request`](crate::Master::request), and carried by the
/// [`Message`](crate::Message) that the worker gets.
///
/// ```no_run
/// use std::time::Duration;
/// use mio_cluster::{Master, RequestId, WorkerId};
///
/// fn ask(master: &mut Master, worker: WorkerId) -> Result<RequestId, mio_cluster::Error> {
///     master.request(worker, "how many sessions?", Duration::from_secs(1))
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RequestId(NonZeroU32);

impl RequestId {
    pub(crate) const FIRST: RequestId = RequestId(NonZeroU32::MIN);

    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        NonZeroU32::new(raw).map(Self)
    }

    pub(crate) fn as_u32(self) -> u32 {
        self.0.get()
    }

    /// After the last one comes the first again.
    pub(crate) fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self::FIRST, Self)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One rolling restart: 1, 2, 3 …; made by [`Master::rollout`](crate::Master::rollout) or SIGHUP, and carried by its
/// events.
///
/// ```
/// use mio_cluster::{Event, RolloutId};
///
/// fn is_over(event: &Event, rollout: RolloutId) -> bool {
///     matches!(event, Event::RolloutEnded { id, .. } if *id == rollout)
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RolloutId(u64);

impl RolloutId {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number itself, for logs.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal number. Its `Display` is the name: `SIGKILL`, `SIGRTMIN+3`.
///
/// ```
/// use mio_cluster::Signal;
///
/// assert_eq!(Signal::KILL.to_string(), "SIGKILL");
/// assert_eq!(Signal::from_raw(10).as_raw(), 10);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Signal(i32);

impl Signal {
    /// Terminate now; cannot be caught.
    pub const KILL: Signal = Signal(9);
    /// Please end; a draining worker takes it as "now".
    pub const TERM: Signal = Signal(15);
    /// End with a core dump.
    pub const ABRT: Signal = Signal(6);
    /// Ctrl-C.
    pub const INT: Signal = Signal(2);
    /// Ctrl-\.
    pub const QUIT: Signal = Signal(3);
    /// The terminal is gone; to the master: a rolling restart.
    pub const HUP: Signal = Signal(1);
    /// To the master: workers reopen their logs.
    pub const USR1: Signal = Signal(10);
    /// To the master: upgrade the binary (not in this version).
    pub const USR2: Signal = Signal(12);
    /// To the master: one worker more.
    pub const TTIN: Signal = Signal(21);
    /// To the master: one worker fewer.
    pub const TTOU: Signal = Signal(22);

    /// The first real-time signal that applications may use with glibc and musl alike (both keep 32 and 33; musl also
    /// 34).
    const RT_MIN: i32 = 34;
    const RT_MAX: i32 = 64;

    /// Wraps a signal number; any number is accepted, the kernel judges it when it is sent.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 31] = [
            "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
            "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
            "WINCH", "IO", "PWR", "SYS",
        ];
        match self.0 {
            1..=31 => write!(f, "SIG{}", NAMES[self.0 as usize - 1]),
            Self::RT_MIN => f.write_str("SIGRTMIN"),
            35..=Self::RT_MAX => write!(f, "SIGRTMIN+{}", self.0 - Self::RT_MIN),
            other => write!(f, "signal {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_usual_names() {
        let name = |raw| Signal::from_raw(raw).to_string();
        assert_eq!(name(1), "SIGHUP");
        assert_eq!(name(31), "SIGSYS");
        assert_eq!(name(33), "signal 33");
        assert_eq!(name(34), "SIGRTMIN");
        assert_eq!(name(37), "SIGRTMIN+3");
        assert_eq!(name(64), "SIGRTMIN+30");
        assert_eq!(name(0), "signal 0");
        assert_eq!(name(-5), "signal -5");
    }
}
