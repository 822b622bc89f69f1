//! The scoreboard: what every worker is doing and has done, in shared memory that is made before the first fork.
//!
//! One [`Table`](table::Table) of atomics. A **seat** is the page of one live process; it belongs to a process, not to
//! a slot, and is cleared when that process was reaped, so a new one never finds what an old one left. A **door** is
//! the line of one slot at one address, and outlives its workers. The **roster** says who has which seat.
//!
//! Who writes: the master writes the roster, a worker its own seat and the doors. A worker cannot write anything else
//! (see [`Seat::occupy`]), so a broken one can tell nonsense of itself, but accuse nobody. What it tells is not trusted: sums
//! saturate.
//!
//! Who reads: the watch, and anybody who has a [`Scoreboard`]. The counts of a process that has ended are added to its
//! slot's totals, in the master, under one lock with the clearing of its seat: whoever looks counts every process once.

mod board;
mod closes;
mod ends;
mod row;
mod seat;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

pub(crate) use self::closes::Reason;
pub(crate) use self::seat::{Seat, Seats};
pub use self::{
    board::Scoreboard,
    closes::Closes,
    ends::Ends,
    row::Row,
    stats::{DoorStats, Totals, WorkerStats},
};

/// Nanoseconds of the monotonic clock, the same in all processes; never 0.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has the monotonic clock");
    u64::try_from(Duration::from(now).as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The version of the layout; both sides of the channel say it in their first packet.
pub(crate) const LAYOUT: u16 = 6;

/// Addresses that there is room for, if a cluster does not begin with more: address space, until somebody listens.
const ADDRESSES: usize = 64;

/// Cells of a seat that are the program's own.
const USER_CELLS: usize = 8;
