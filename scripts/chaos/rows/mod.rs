//! The rows of the table.

mod idle;
mod kill_9;
mod kills_new_connections;
mod kills_under_load;
mod master_killed;
mod memory;
mod queued;
mod shortage;
mod simultaneous_starts;
mod start_64;
mod stop_under_load;

use std::{fmt::Display, net::TcpListener, time::Duration};

use crate::{Attempt, figure::Figure};

pub(crate) struct Row {
    /// As the command line and the README call it.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) bar: &'static str,
    /// Several times what it takes on an idle machine.
    pub(crate) within: Duration,
    pub(crate) measure: fn() -> Attempt<Vec<Figure>>,
}

impl Row {
    /// By its name, or by the first words of it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    pub(crate) fn failed(&self, why: impl Display) -> Figure {
        Figure::failed(self.name, self.bar, why)
    }
}

pub(crate) const ROWS: [Row; 12] = [
    kill_9::ROW,
    start_64::ROW,
    memory::ROW,
    idle::ROW,
    kills_under_load::ROW,
    kills_new_connections::ROW,
    queued::ONE_OF_TWO,
    queued::ONLY,
    shortage::ROW,
    master_killed::ROW,
    simultaneous_starts::ROW,
    stop_under_load::ROW,
];

/// A fixed address on which nobody listens, below the range from which the kernel takes the ports of clients.
fn fixed_address() -> Attempt<String> {
    let start = 20_000 + std::process::id() % 10_000;
    let mut addresses = (start..start + 1000).map(|port| format!("127.0.0.1:{port}"));
    addresses.find(|address| TcpListener::bind(address.as_str()).is_ok()).ok_or_else(|| "no free port".into())
}
