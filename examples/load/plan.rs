//! What is to be done, and each worker's share of it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    /// One request.
    pub(crate) request: Vec<u8>,
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    /// What idle connections ask that often.
    pub(crate) ping: Option<Duration>,
    /// Requests per second, at fixed times.
    pub(crate) rate: Option<f64>,
    /// Not beside idle connections: each worker ends when its own are done, and its idle connections would end with it.
    pub(crate) requests: Option<u64>,
    pub(crate) duration: Option<Duration>,
    /// A connection of its own for each request.
    pub(crate) single: bool,
    /// Requests that a connection has on their way at once.
    pub(crate) pipeline: usize,
    pub(crate) timeout: Duration,
    pub(crate) expect: Expect,
    pub(crate) count_bodies: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What a right answer is.
#[derive(Clone, Default)]
pub(crate) struct Expect {
    /// `None`: 200 to 299.
    pub(crate) status: Option<u16>,
    /// One of these, a newline at its end aside; any, if there are none.
    pub(crate) bodies: Vec<String>,
}

/// What one worker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    pub(crate) requests: Option<u64>,
    /// Its place among those that have connections, and how many these are.
    pub(crate) place: u64,
    pub(crate) places: u64,
}

impl Plan {
    /// Of the worker in slot `index`. Whoever has requests has connections, too.
    pub(crate) fn share(&self, index: usize) -> Share {
        let parties = self.workers.min(self.connections).max(1);
        let takes_part = index < parties;
        Share {
            connections: if takes_part {
                portion(self.connections as u64, index as u64, parties as u64) as usize
            } else {
                0
            },
            idle: portion(self.idle as u64, index as u64, self.workers as u64) as usize,
            requests: self.requests.map(|all| portion(all, index as u64, parties as u64)),
            place: index as u64,
            places: parties as u64,
        }
    }

    /// How long after the end of the load the last answer may come: in an open loop what was due by then may be sent for
    /// as long as one request may take, and the last of these may take as long again.
    pub(crate) fn last_answer(&self) -> Duration {
        self.timeout * if self.rate.is_some() { 2 } else { 1 }
    }

    /// How much of each body must be kept to judge it.
    pub(crate) fn kept_body(&self) -> usize {
        let longest = self.expect.bodies.iter().map(|body| body.len() + NEWLINE_AND_MORE).max();
        longest.unwrap_or(0).max(if self.count_bodies { COUNTED_BODY } else { 0 })
    }
}

impl Expect {
    pub(crate) fn accepts_status(&self, status: u16) -> bool {
        self.status.map_or((200..300).contains(&status), |expected| status == expected)
    }

    pub(crate) fn accepts_body(&self, body: &[u8]) -> bool {
        self.bodies.is_empty() || self.bodies.iter().any(|expected| expected.as_bytes() == trimmed(body))
    }
}

/// Without the newline at its end.
pub(crate) fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_suffix(b"\n").unwrap_or(body)
}

/// As even as it can be.
fn portion(all: u64, index: u64, parties: u64) -> u64 {
    all / parties + u64::from(index < all % parties)
}

/// A newline may follow; what is one byte longer than that is another body.
const NEWLINE_AND_MORE: usize = 2;

/// Bodies that begin with the same so many bytes count as the same.
const COUNTED_BODY: usize = 256;
