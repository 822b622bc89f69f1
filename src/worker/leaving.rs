//! How the worker learns that it is to leave, and what it gives up then.
//!
//! SIGTERM and the master's question set a bit in shared memory, at any moment; what it leads to begins in a turn.
//! Until the [master has spoken](super::word) everything goes on as before.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicUsize, Ordering, fence},
    time::{Duration, Instant},
};

use super::{
    bell,
    boot::TARGET,
    control::Control,
    link::{Link, Peer},
};
use crate::{
    error::Result,
    event::WorkerEvent,
    wire::{Frame, Leave},
};

/// Counts itself out.
pub(super) struct WaitingThread<'a>(&'a AtomicUsize);

impl Control {
    pub(super) fn is_draining(&self) -> bool {
        if !self.poller().is_ours() {
            return true;
        }
        self.hears();
        self.bell.saw(bell::BIRTH);
        let is_told = self.told_to_drain.load(Ordering::Relaxed);
        if self.seat().is_draining() && !is_told {
            // The master's word may have come, and a program that computes reads nothing itself.
            if let Err(error) = self.turn_if_due() {
                log::error!(target: TARGET, "{}: {error:#}", self.seat());
            }
        }
        let drains = self.drains();
        if drains {
            self.bell.saw(bell::DRAIN);
        }
        drains
    }

    /// The program looks whether it is to leave.
    pub(super) fn hears(&self) {
        self.looks.store(true, Ordering::Relaxed);
        self.seat().hears();
    }

    /// It is to leave, and no word of the master's is waited for any more.
    pub(super) fn drains(&self) -> bool {
        self.seat().is_draining() && self.word.awaited().is_none()
    }

    /// "I am leaving", from any thread. The master asks for the drain when nobody new comes any more; without one the
    /// drain begins at once, and the loop is told, even if it sleeps.
    pub(super) fn disconnect(&self) -> Result<()> {
        self.check_process()?;
        let mut link = self.link();
        // First, or the master would not ask but end it.
        self.seat().hears();
        self.tell(&mut link, &Frame::Leaving)?;
        if let Peer::Nobody { .. } = link.peer {
            // First: a listener on another thread looks into its queue for the last time once the seat drains.
            link.refuse();
            self.seat().drain();
            self.note_drain(&mut link);
        }
        Ok(())
    }

    /// SIGTERM and `disconnect` set the bit without a frame.
    pub(super) fn note_drain(&self, link: &mut Link) {
        if self.seat().is_draining() && !self.awaits_word(link) {
            self.drain(link, self.drain_timeout);
            link.bare.let_go(Instant::now());
        }
        self.leave_bare(link);
    }

    /// Makes the loop turn when the master was waited for long enough.
    fn awaits_word(&self, link: &mut Link) -> bool {
        let Some(left) = self.word.awaited() else {
            if let Some(alarm) = link.word_alarm.take() {
                // A program that was started meanwhile may have a copy, so dropping it is not enough.
                let _ = self.poller().delete(alarm.as_fd());
            }
            return false;
        };
        if link.word_alarm.is_some() {
            return true;
        }
        if self.set_alarm(&mut link.word_alarm, left) {
            // One that is gone is noticed elsewhere.
            let _ = self.tell(link, &Frame::Retires);
            return true;
        }
        // Nothing would wake it.
        self.word.give(Leave::HandOver);
        false
    }

    /// Once more with the next turn, until nothing is left.
    fn leave_bare(&self, link: &mut Link) {
        if !link.bare.is_leaving() {
            return;
        }
        for address in link.bare.leave(Instant::now(), self.word.shuts(), self.seat()) {
            self.tell_closed(link, address);
        }
        let more = link.bare.is_leaving();
        self.is_leaving.store(more, Ordering::Relaxed);
        if more {
            self.bell.ring(bell::LEAVING);
        } else {
            self.bell.saw(bell::LEAVING);
        }
    }

    pub(super) fn drain(&self, link: &mut Link, within: Duration) {
        self.seat().drain();
        self.told_to_drain.store(true, Ordering::Relaxed);
        if link.within.is_none_or(|told| within < told) {
            link.within = Some(within);
            self.note(link, WorkerEvent::Drain { within });
        }
    }

    /// Sockets that the program has taken are not given up yet; each turn of a drain tries.
    pub(super) fn has_bare_sockets(&self) -> bool {
        !self.link().bare.is_empty()
    }

    /// A thread waits for connections until this is dropped.
    pub(super) fn waiting_thread(&self) -> WaitingThread<'_> {
        self.hears();
        self.waiting_threads.fetch_add(1, Ordering::Relaxed);
        // With the fence of `nobody_waits`: either this thread sees the drain that is known there, or it is seen there.
        fence(Ordering::SeqCst);
        WaitingThread(&self.waiting_threads)
    }

    /// To be asked once the drain is known.
    pub(super) fn nobody_waits(&self) -> bool {
        fence(Ordering::SeqCst);
        self.waiting_threads.load(Ordering::Relaxed) == 0
    }
}

impl Drop for WaitingThread<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
