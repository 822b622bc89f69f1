//! The worker's side of the channel, shared by the `Worker` and its listeners.
//!
//! One descriptor (an epoll with the channel and the [`Bell`] in it) makes a loop turn when the master has something to
//! say; [`Control::turn`] then reads it. The seat says how many frames there are to read, so a turn with nothing to
//! read costs no system call.
//!
//! Races: a listener on another thread may turn while the worker waits for the master's answer; the lock is held for
//! the whole request, so nobody takes the answer away. SIGTERM at any moment sets a bit in shared memory first and
//! wakes second.

use std::{
    mem,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
};

use super::{
    bell::{self, Bell, Wake},
    link::{Link, Peer, gone},
    messages::NOTHING,
    word::Word,
};
use crate::{
    birth::Birth,
    error::{Error, Kind, Result},
    event::WorkerEvent,
    net::Ports,
    scoreboard::Seat,
    sys::{owned::Owned, parent},
    wire::{Frame, Leave},
};

pub(super) struct Control {
    poller: Arc<Owned<Epoll>>,
    seat: Seat,
    pub(super) drain_timeout: Duration,
    /// Whose death is to be this process's, too; nobody's if it was not forked for this worker.
    parent: Option<u32>,
    /// The parent-death signal was set again.
    settled: AtomicBool,
    pub(super) bell: Bell,
    /// Frames of the master that were read; the seat says how many there are.
    pub(super) heard: AtomicU64,
    /// `WorkerEvent::Drain` was queued, whoever asked.
    pub(super) told_to_drain: AtomicBool,
    pub(super) word: Word,
    /// The program uses `next_event`.
    takes_events: AtomicBool,
    /// Or looks in another way whether it is to leave. A loop that never does is not rung for.
    pub(super) looks: AtomicBool,
    /// Threads inside `accept_blocking`.
    pub(super) waiting_threads: AtomicUsize,
    /// Bare sockets are yet to be shut.
    pub(super) is_leaving: AtomicBool,
    /// Of the addresses; the link has them.
    pub(super) has_changes: AtomicBool,
    /// Something waits for room in the channel.
    pub(super) has_queued: AtomicBool,
    /// A loop of the program's turns, so what is held will be sent.
    pub(super) turns: AtomicBool,
    /// When the alarm rings for messages that are held, or `NOTHING`; nanoseconds.
    pub(super) held_until: AtomicU64,
    link: Mutex<Link>,
}

impl Control {
    pub(super) fn forked(birth: Birth, wake: Wake) -> Result<Self> {
        let Birth { channel, seat, drain_timeout, master, custody, .. } = birth;
        Self::new(Peer::Master { channel, custody }, Some(master), seat, drain_timeout, wake)
    }

    pub(super) fn standalone(claims: Ports, seat: Seat, drain_timeout: Duration, wake: Wake) -> Result<Self> {
        Self::new(Peer::Nobody { claims }, None, seat, drain_timeout, wake)
    }

    fn new(peer: Peer, parent: Option<u32>, seat: Seat, drain_timeout: Duration, wake: Wake) -> Result<Self> {
        let step = |error: Errno| Error::system("creating the worker's epoll", error);
        let poller = Owned::make(|| Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC), |epoll| epoll.0.as_fd());
        let poller = Arc::new(poller.map_err(step)?);
        match &peer {
            Peer::Master { channel, .. } => {
                poller.add(channel, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
            }
            Peer::Gone | Peer::Nobody { .. } => {}
        }
        let word = match &peer {
            Peer::Master { custody, .. } => Word::new(!custody),
            Peer::Gone | Peer::Nobody { .. } => Word::new(true),
        };
        if let Peer::Nobody { .. } = &peer {
            word.give(Leave::Shut);
        }
        poller.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        Ok(Self {
            poller,
            seat,
            drain_timeout,
            parent,
            settled: AtomicBool::new(false),
            bell: Bell::new(wake),
            heard: AtomicU64::new(0),
            told_to_drain: AtomicBool::new(false),
            word,
            takes_events: AtomicBool::new(false),
            looks: AtomicBool::new(false),
            waiting_threads: AtomicUsize::new(0),
            is_leaving: AtomicBool::new(false),
            has_changes: AtomicBool::new(false),
            has_queued: AtomicBool::new(false),
            turns: AtomicBool::new(false),
            held_until: AtomicU64::new(NOTHING),
            link: Mutex::new(Link::new(peer)),
        })
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(super) fn poller(&self) -> &Arc<Owned<Epoll>> {
        &self.poller
    }

    /// A worker that starts a cluster of its own may have handed its `Worker` across that fork, where the descriptors
    /// are closed; the seat is still this worker's. One relaxed load.
    pub(super) fn check_process(&self) -> Result<()> {
        if self.poller.is_ours() {
            return Ok(());
        }
        Err(Error::new(Kind::Gone, "this worker belongs to another process, which called its function"))
    }

    /// At the first use after `listen()`: a change of credentials in between has cleared the parent-death signal.
    pub(super) fn settle(&self) {
        let first = !self.settled.load(Ordering::Relaxed) && !self.settled.swap(true, Ordering::Relaxed);
        if first && self.poller.is_ours() && self.parent.is_some_and(|parent| !parent::die_with(parent)) {
            self.seat.drain();
        }
    }

    /// A socket was opened. Credentials are given up after that, or a port below 1024 could not have been bound.
    pub(super) fn opened(&self) {
        self.settled.store(false, Ordering::Relaxed);
    }

    /// Reads what has come; never blocks.
    pub(super) fn turn(&self) -> Result<()> {
        self.comes_back();
        self.send_if_due();
        self.take_turn(false)
    }

    /// `looks`: the caller takes the events before it sleeps, or calls `remind`.
    fn take_turn(&self, looks: bool) -> Result<()> {
        self.check_process()?;
        let mut link = self.link();
        // A signal may have rung it.
        if if self.drains() { self.nobody_waits() } else { self.bell.rings() || self.seat.is_draining() } {
            self.bell.silence()?;
        }
        link.reader_looks = looks;
        let result = self.read_all(&mut link);
        link.reader_looks = false;
        self.note_drain(&mut link);
        result
    }

    /// The loop that looks goes to sleep.
    pub(super) fn remind(&self) {
        self.end_turn();
        self.bell.remind();
    }

    /// As `turn`, but only if something is known to have come, so that a busy loop pays a few loads for it and no
    /// system call.
    pub(super) fn turn_if_due(&self) -> Result<()> {
        self.send_if_due();
        self.take_turn_if_due(false)
    }

    /// As `turn_if_due`, for a loop that calls `remind` before it sleeps. `now` in nanoseconds.
    pub(super) fn look(&self, now: u64) -> Result<()> {
        self.comes_back();
        self.send_if_due_at(now);
        self.take_turn_if_due(true)
    }

    fn take_turn_if_due(&self, looks: bool) -> Result<()> {
        let mail = self.seat.frames_sent() != self.heard.load(Ordering::Relaxed);
        let asked = self.seat.is_draining() && !self.told_to_drain.load(Ordering::Relaxed);
        let rings = self.bell.is_due();
        let unfinished = self.is_leaving.load(Ordering::Relaxed) || self.has_queued.load(Ordering::Relaxed);
        if mail || asked || rings || unfinished { self.take_turn(looks) } else { Ok(()) }
    }

    /// The program takes events, or is about to. Those that a listener has read before ring now.
    pub(super) fn expect_events(&self) {
        if self.takes_events.load(Ordering::Relaxed) {
            return;
        }
        let link = self.link();
        if !self.takes_events.swap(true, Ordering::Relaxed) && !link.events.is_empty() && self.poller.is_ours() {
            self.bell.ring(bell::EVENTS);
        }
    }

    pub(super) fn next_event(&self) -> Option<WorkerEvent> {
        self.check_process().ok()?;
        self.hears();
        self.expect_events();
        self.bell.saw(bell::BIRTH);
        let mut link = self.link();
        let event = link.events.pop_front();
        match event {
            Some(WorkerEvent::Drain { .. }) => self.bell.saw(bell::DRAIN),
            Some(WorkerEvent::Message(_) | WorkerEvent::Writable) => {}
            Some(WorkerEvent::AddressAdded(_) | WorkerEvent::AddressRemoved(_)) => {}
            Some(WorkerEvent::ReopenLogs | WorkerEvent::MasterGone) | None => {}
        }
        self.unload(&mut link, event.as_ref());
        event
    }

    pub(super) fn ring(&self, what: u8) {
        self.bell.ring(what);
    }

    pub(super) fn ring_once(&self) {
        self.bell.ring_once();
    }

    pub(super) fn saw(&self, what: u8) {
        self.bell.saw(what);
    }

    /// To the master; without one it goes nowhere.
    pub(super) fn send(&self, frame: &Frame) -> Result<()> {
        self.check_process()?;
        self.tell(&mut self.link(), frame)
    }

    /// The channel stays open until the process ends, whoever is dropped: closed, it says to the master that the worker
    /// is gone, or has become another program that accepts nothing.
    pub(super) fn keep_channel(self: &Arc<Self>) {
        if let Peer::Master { .. } = self.link().peer {
            mem::forget(Arc::clone(self));
        }
    }

    /// The bell rings for events that only the program can take.
    pub(super) fn waits_for_the_program(&self) -> bool {
        self.has_events() && !self.drains()
    }

    /// The program takes events, and there are some.
    pub(super) fn has_events(&self) -> bool {
        self.bell.rings_for(bell::EVENTS)
    }

    pub(super) fn note(&self, link: &mut Link, event: WorkerEvent) {
        // For a loop that never looks it would never fall silent.
        let drain = if matches!(event, WorkerEvent::Drain { .. }) && self.looks.load(Ordering::Relaxed) {
            bell::DRAIN
        } else {
            0
        };
        let taken = if self.takes_events.load(Ordering::Relaxed) { bell::EVENTS } else { 0 };
        link.events.push_back(event);
        // Other threads wait for a drain, too.
        if drain == 0 && link.reader_looks {
            self.bell.mark(taken);
        } else {
            self.bell.ring(drain | taken);
        }
    }

    pub(super) fn tell(&self, link: &mut Link, frame: &Frame) -> Result<()> {
        match &mut link.peer {
            Peer::Master { channel, .. } => {
                channel.send(frame, &[]).map_err(|error| Error::system("telling the master", error))?;
                self.watch_peer(link)
            }
            Peer::Gone => Err(gone("telling the master")),
            Peer::Nobody { .. } => Ok(()),
        }
    }

    pub(super) fn link(&self) -> MutexGuard<'_, Link> {
        // Every statement under the lock leaves the link consistent.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Control {
    /// For a worker in the process of its master.
    pub(super) fn beside_its_master(channel: crate::channel::Channel, seat: Seat) -> Result<Self> {
        Self::new(Peer::Master { channel, custody: true }, None, seat, Duration::from_secs(60), Bell::wake()?)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.poller.is_ours() {
            self.finish();
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
