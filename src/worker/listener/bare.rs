//! Sockets that the program took out of their listeners.
//!
//! The program accepts on them by itself and closes them when it likes, but the master's duplicate keeps them open. So
//! they are shut for the program when the worker is to leave, or the address is gone: as soon as nobody waits in the
//! queue, and after a while in any case, for the program may no longer accept. A socket that all workers share is only
//! given up: it is the master's to shut, and when it has done so the socket is readable for ever, which looks as if
//! somebody waited.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{net::door, scoreboard::Seat, sys::owned::Owned, worker::boot::TARGET};

#[derive(Default)]
pub(in crate::worker) struct BareSockets {
    sockets: Vec<Bare>,
}

pub(in crate::worker) struct Bare {
    /// By the place of the address in the builder's order.
    pub(in crate::worker) address: u16,
    pub(in crate::worker) socket: Owned,
    pub(in crate::worker) is_shared: bool,
    /// Since when it is to be given up.
    pub(in crate::worker) since: Option<Instant>,
}

impl BareSockets {
    pub(in crate::worker) fn add(&mut self, bare: Bare) {
        self.sockets.push(bare);
    }

    #[cfg(feature = "tokio")]
    pub(in crate::worker) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Some are to be given up.
    pub(in crate::worker) fn is_leaving(&self) -> bool {
        self.sockets.iter().any(|bare| bare.since.is_some())
    }

    /// From now on those at these addresses are to be given up.
    pub(in crate::worker) fn let_go(&mut self, now: Instant, which: impl Fn(u16) -> bool) {
        for bare in self.sockets.iter_mut().filter(|bare| which(bare.address)) {
            bare.since.get_or_insert(now);
        }
    }

    /// Called again and again while some are to be given up. Shuts what can be shut now and returns the addresses;
    /// `whose` is for the log.
    pub(in crate::worker) fn leave(&mut self, now: Instant, whose: &Seat) -> Vec<u16> {
        let leaves = |bare: &Bare| {
            let since = bare.since?;
            Some(now.saturating_duration_since(since) >= LONGEST || !has_waiting(&bare.socket))
        };
        let (doomed, others) =
            std::mem::take(&mut self.sockets).into_iter().partition(|bare| leaves(bare) == Some(true));
        self.sockets = others;
        let doomed: Vec<Bare> = doomed;
        doomed.iter().filter(|bare| !bare.is_shared).for_each(|bare| shut(&bare.socket, whose));
        doomed.into_iter().map(|bare| bare.address).collect()
    }
}

fn has_waiting(socket: &Owned) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    // What cannot be looked at is not waited for.
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn shut(socket: &Owned, whose: &Seat) {
    match door::shut(socket) {
        Ok(Some(0) | None) => {}
        Ok(Some(waiting)) => {
            log::warn!(
                target: TARGET,
                "{whose} leaves, but no longer accepts on its bare socket, which is shut: waiting clients reset: {waiting}"
            );
        }
        Err(error) => log::warn!(target: TARGET, "{whose}: shutting its bare socket: {error}"),
    }
}

/// A program that accepts empties its queue within a turn of its loop. The master gives a door up after the same time.
const LONGEST: Duration = Duration::from_millis(100);
