//! What a worker is born with: all that crosses the fork.

use std::{sync::Arc, time::Duration};

use crate::{
    channel::Channel,
    config::Bind,
    id::{Slot, WorkerId},
    scoreboard::Seat,
    sys::owned::Owned,
};

pub(crate) struct Birth {
    pub(crate) slot: Slot,
    pub(crate) id: WorkerId,
    /// The master's process id, to notice that it died before the worker could ask to be told.
    pub(crate) master: u32,
    pub(crate) channel: Channel,
    pub(crate) seat: Seat,
    /// By place; `None`: removed.
    pub(crate) binds: Arc<[Option<Bind>]>,
    /// The user that owns the claims.
    pub(crate) owner: u32,
    /// The master keeps duplicates of the worker's sockets.
    pub(crate) custody: bool,
    /// Sockets of an earlier worker of this slot, and those that all workers share, by the place of their address in
    /// `binds`.
    pub(crate) doors: Vec<(usize, Owned)>,
    pub(crate) drain_timeout: Duration,
}

/// The worker's whole life, in the child; returns the exit code. Each child takes its own copy; the master neither
/// calls nor drops it.
pub(crate) type Launch = Box<dyn FnOnce(Birth) -> i32>;
