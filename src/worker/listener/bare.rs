//! Sockets that the program took out of their listeners.
//!
//! The program accepts on them by itself and closes them when it likes, but the master's duplicate keeps them open. So
//! they are shut for the program when the worker is to leave: as soon as nobody waits in the queue, and after a while in
//! any case, for the program may no longer accept.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{net::door, scoreboard::Seat, sys::owned::Owned, worker::boot::TARGET};

#[derive(Default)]
pub(in crate::worker) struct BareSockets {
    /// By the place of the address in the builder's order.
    sockets: Vec<(u16, Owned)>,
    leaving_since: Option<Instant>,
}

impl BareSockets {
    pub(in crate::worker) fn add(&mut self, address: u16, socket: Owned) {
        self.sockets.push((address, socket));
    }

    pub(in crate::worker) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Called again and again while the worker drains. Shuts what can be shut now and returns the addresses; `whose` is
    /// for the log.
    pub(in crate::worker) fn leave(&mut self, now: Instant, whose: &Seat) -> Vec<u16> {
        let since = *self.leaving_since.get_or_insert(now);
        let overdue = now.saturating_duration_since(since) >= LONGEST;
        let (doomed, others) =
            std::mem::take(&mut self.sockets).into_iter().partition(|(_, socket)| overdue || !has_waiting(socket));
        self.sockets = others;
        let doomed: Vec<(u16, Owned)> = doomed;
        doomed.iter().for_each(|(_, socket)| shut(socket, whose));
        doomed.into_iter().map(|(address, _)| address).collect()
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
                "{whose} drains, but no longer accepts on its bare socket, which is shut: waiting clients reset: {waiting}"
            );
        }
        Err(error) => log::warn!(target: TARGET, "{whose}: shutting its bare socket: {error}"),
    }
}

/// A program that accepts empties its queue within a turn of its loop. The master gives a door up after the same time.
const LONGEST: Duration = Duration::from_millis(100);
