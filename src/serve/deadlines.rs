//! When a connection is to be looked at again. Pure.
//!
//! Most deadlines are never reached: each request moves its connection's idle deadline on. So the wheel is left alone
//! as long as a deadline only moves later; when the old time comes, the connection is asked anew.

use std::time::Duration;

use super::{
    connection::{Head, NEVER, Phase, Waits},
    options::Serve,
    service::Deadline,
};

/// In milliseconds; `NEVER` for those that are off.
pub(super) struct Limits {
    first_byte: u64,
    request: u64,
    idle: u64,
    write: u64,
    grace: u64,
}

/// What to do when its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Deadline(Deadline),
    /// The peer has had its time to close.
    Linger,
}

impl Limits {
    pub(super) fn new(options: &Serve) -> Self {
        Self {
            first_byte: ms(options.first_byte),
            request: ms(options.request),
            idle: ms(options.idle),
            write: ms(options.write),
            grace: ms(Some(options.drain_grace)),
        }
    }

    /// The earliest thing that is due, and when.
    #[inline]
    pub(super) fn due(&self, head: &Head, draining_since: Option<u64>) -> (u64, Due) {
        let since = |limit: u64| head.since.saturating_add(limit);
        let (when, due) = match head.waits {
            Waits::For(Deadline::FirstByte) => (since(self.first_byte), Due::Deadline(Deadline::FirstByte)),
            Waits::For(Deadline::Request) => (since(self.request), Due::Deadline(Deadline::Request)),
            Waits::For(Deadline::Idle) => (since(self.idle), Due::Deadline(Deadline::Idle)),
            Waits::For(Deadline::Write) => (since(self.write), Due::Deadline(Deadline::Write)),
            Waits::Linger => (since(LINGER), Due::Linger),
            Waits::Service | Waits::For(Deadline::Drain | Deadline::Own) => (NEVER, Due::Linger),
        };
        let drain = match draining_since {
            Some(start) if head.is_idle() => match head.stays {
                Some(time) => start.saturating_add(time),
                None => start.max(head.since).saturating_add(self.grace),
            },
            Some(_) | None => NEVER,
        };
        let own = match head.phase {
            Phase::Open => (head.own_deadline, Due::Deadline(Deadline::Own)),
            Phase::Closing { .. } | Phase::Lingering => (NEVER, Due::Linger),
        };
        let drain = (drain, Due::Deadline(Deadline::Drain));
        [drain, own].into_iter().fold((when, due), |first, other| if other.0 < first.0 { other } else { first })
    }
}

fn ms(limit: Option<Duration>) -> u64 {
    limit.map_or(NEVER, whole_ms)
}

/// Never early: the millisecond in which a time begins does not count.
pub(super) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER).saturating_add(1)
}

/// How long a peer may take to close after its last answer: some round trips.
const LINGER: u64 = 1000;
