//! Sockets that the program took out of their listeners.
//!
//! The program accepts on them by itself and closes them when it likes, but the master's duplicate keeps them open. So
//! they are given up for the program when the worker is to leave, or the address is gone: as soon as nobody waits in
//! the queue, and after a while in any case, for the program may no longer accept. What becomes of them then is as for
//! a [listener](super::entry). A socket that the master has shut meanwhile is readable for ever, which looks as if
//! somebody waited.

use std::{
    mem,
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
    pub(in crate::worker) is_removed: bool,
    /// Since when it is to be given up.
    pub(in crate::worker) since: Option<Instant>,
}

impl BareSockets {
    pub(in crate::worker) fn add(&mut self, bare: Bare) {
        self.sockets.push(bare);
    }

    pub(in crate::worker) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Some are to be given up.
    pub(in crate::worker) fn is_leaving(&self) -> bool {
        self.sockets.iter().any(|bare| bare.since.is_some())
    }

    /// From now on all are to be given up.
    pub(in crate::worker) fn let_go(&mut self, now: Instant) {
        for bare in &mut self.sockets {
            bare.since.get_or_insert(now);
        }
    }

    /// From now on those at this address are to be given up, which is no more.
    pub(in crate::worker) fn remove(&mut self, now: Instant, address: u16) {
        for bare in self.sockets.iter_mut().filter(|bare| bare.address == address) {
            bare.is_removed = true;
            bare.since.get_or_insert(now);
        }
    }

    /// Called again and again while some are to be given up. Gives up what can be given up now and returns the
    /// addresses. `shuts`: whoever is not shared is shut, also if its address remains. `whose` is for the log.
    pub(in crate::worker) fn leave(&mut self, now: Instant, shuts: bool, whose: &Seat) -> Vec<u16> {
        let (doomed, others): (Vec<Bare>, Vec<Bare>) =
            mem::take(&mut self.sockets).into_iter().partition(|bare| bare.is_done(now, shuts));
        self.sockets = others;
        doomed.iter().filter(|bare| bare.is_shut(shuts)).for_each(|bare| shut(&bare.socket, whose));
        doomed.into_iter().map(|bare| bare.address).collect()
    }
}

impl Bare {
    /// To be given up now.
    fn is_done(&self, now: Instant, shuts: bool) -> bool {
        let Some(since) = self.since else { return false };
        if now.saturating_duration_since(since) >= LONGEST {
            return true;
        }
        if has_waiting(&self.socket) {
            return false;
        }
        if !self.is_shut(shuts) {
            return true;
        }
        // Nobody is to come between the last look into the queue and the end. Whom this fails to refuse comes.
        let _ = door::refuse_newcomers(&self.socket);
        !has_waiting(&self.socket)
    }

    /// When it is given up.
    fn is_shut(&self, shuts: bool) -> bool {
        !self.is_shared && (shuts || self.is_removed)
    }
}

fn has_waiting(socket: &Owned) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    // What cannot be looked at is not waited for, and a socket that was shut stays readable.
    let is_ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    is_ready && fds[0].revents().is_some_and(|events| !events.contains(PollFlags::POLLHUP))
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
