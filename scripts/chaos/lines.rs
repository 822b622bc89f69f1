//! A server of connections that live long: whatever comes goes back, and when the worker leaves, its clients are told so
//! and may stay for a while.

use std::time::Duration;

use mio_cluster::{Io, Serve, Service, Worker};
use nix::time::{ClockId, clock_gettime};

pub(crate) struct Lines {
    pub(crate) stay: Duration,
}

impl Lines {
    pub(crate) fn serve(self, worker: Worker) -> mio_cluster::Result<()> {
        worker.serve_with(Serve::new().first_byte_timeout(None).idle_timeout(None), self)
    }
}

impl Service for Lines {
    type Conn = ();

    fn opened(&mut self, io: &mut Io<'_>) {
        io.set_drain_deadline(Some(self.stay));
    }

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        io.write(input);
        input.len()
    }

    fn draining(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        let now = uptime().map_or(0, |now| now.as_nanos());
        io.write(format!("{LEAVES}{now}\n").as_bytes());
    }
}

/// By the clock that all processes share.
pub(crate) fn uptime() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from)
}

/// And then the time at which the worker has begun to leave, in nanoseconds.
pub(crate) const LEAVES: &str = "leaves ";
