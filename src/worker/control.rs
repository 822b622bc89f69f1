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
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        eventfd::EventFd,
    },
};

use super::{
    bell::{self, Bell},
    listener::bare::BareSockets,
};
use crate::{
    birth::Birth,
    channel::{Buffer, Channel, Incoming},
    config::Bind,
    error::{Error, Kind, Result},
    event::WorkerEvent,
    net::door,
    scoreboard::{LAYOUT, Seat},
    sys::{owned::Owned, parent},
    wire::{Frame, PROTOCOL_MAJOR},
};

pub(super) struct Control {
    poller: Owned<Epoll>,
    seat: Seat,
    drain_timeout: Duration,
    master: u32,
    custody: bool,
    /// The parent-death signal was set again.
    settled: AtomicBool,
    bell: Bell,
    /// Frames of the master that were read; the seat says how many there are.
    heard: AtomicU64,
    /// `WorkerEvent::Drain` was queued; it comes once, whoever asked.
    told_to_drain: AtomicBool,
    /// The program uses `next_event`.
    takes_events: AtomicBool,
    /// Threads inside `accept_blocking`.
    waiting_threads: AtomicUsize,
    /// Bare sockets are yet to be shut.
    is_leaving: AtomicBool,
    link: Mutex<Link>,
}

struct Link {
    channel: Channel,
    buffer: Buffer,
    events: VecDeque<WorkerEvent>,
    /// Addresses with a live listener.
    open: Vec<u16>,
    bare: BareSockets,
    peer: Peer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Present,
    Gone,
}

/// Counts itself out.
pub(super) struct WaitingThread<'a>(&'a AtomicUsize);

enum Answer {
    Granted,
    /// The descriptor did not arrive.
    Lost,
}

impl Control {
    pub(super) fn new(birth: Birth, wake: &'static Owned<EventFd>) -> Result<Self> {
        let Birth { channel, seat, drain_timeout, master, custody, .. } = birth;
        let step = |error: Errno| Error::system("creating the worker's epoll", error);
        let poller = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(step)?;
        poller.add(&channel, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        poller.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(step)?;
        let link = Link {
            channel,
            buffer: Buffer::default(),
            events: VecDeque::new(),
            open: Vec::new(),
            bare: BareSockets::default(),
            peer: Peer::Present,
        };
        let poller = Owned::register(poller, |poller| poller.0.as_fd());
        Ok(Self {
            poller,
            seat,
            drain_timeout,
            master,
            custody,
            settled: AtomicBool::new(false),
            bell: Bell::new(wake),
            heard: AtomicU64::new(0),
            told_to_drain: AtomicBool::new(false),
            takes_events: AtomicBool::new(false),
            waiting_threads: AtomicUsize::new(0),
            is_leaving: AtomicBool::new(false),
            link: Mutex::new(link),
        })
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// At the first use after `listen()`: a change of credentials in between has cleared the parent-death signal.
    pub(super) fn settle(&self) {
        let first = !self.settled.load(Ordering::Relaxed) && !self.settled.swap(true, Ordering::Relaxed);
        if first && !parent::die_with(self.master) {
            self.seat.drain();
        }
    }

    /// Reads what has come; never blocks.
    pub(super) fn turn(&self) -> Result<()> {
        let mut link = self.link();
        if !self.seat.is_draining() || self.waiting_threads.load(Ordering::SeqCst) == 0 {
            self.bell.silence()?;
        }
        let result = self.read_all(&mut link);
        self.note_drain(&mut link);
        result
    }

    /// As `turn`, but only if something is known to have come, so that a busy loop pays a few loads for it and no
    /// system call.
    pub(super) fn turn_if_due(&self) -> Result<()> {
        let mail = self.seat.frames_sent() != self.heard.load(Ordering::Relaxed);
        let asked = self.seat.is_draining() && !self.told_to_drain.load(Ordering::Relaxed);
        let rings = self.bell.is_due();
        let leaves = self.is_leaving.load(Ordering::Relaxed);
        if mail || asked || rings || leaves { self.turn() } else { Ok(()) }
    }

    /// The program takes events, or is about to.
    pub(super) fn expect_events(&self) {
        self.takes_events.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.seat.hears();
        self.bell.saw(bell::BIRTH | bell::DRAIN);
        self.seat.is_draining()
    }

    pub(super) fn next_event(&self) -> Option<WorkerEvent> {
        self.seat.hears();
        self.expect_events();
        self.bell.saw(bell::BIRTH);
        let mut link = self.link();
        let event = link.events.pop_front();
        match event {
            Some(WorkerEvent::Drain { .. }) => self.bell.saw(bell::DRAIN),
            Some(WorkerEvent::ReopenLogs | WorkerEvent::MasterGone) | None => {}
        }
        if link.events.is_empty() {
            self.bell.saw(bell::EVENTS);
        }
        event
    }

    pub(super) fn send(&self, frame: &Frame) -> Result<()> {
        let mut link = self.link();
        link.channel.send(frame, &[]).map_err(|error| Error::system("telling the master", error))?;
        self.watch(&link)
    }

    /// Opens the bound socket: hands it over and waits for the master's go-ahead, or, if the master keeps no sockets, does
    /// it here.
    pub(super) fn open(&self, index: u16, bind: &Bind, door: &Owned) -> Result<()> {
        let mut link = self.link();
        if link.open.contains(&index) {
            let text = format!("this worker listens on {} already; drop that listener first", bind.at);
            return Err(Error::new(Kind::InvalidConfig, text));
        }
        let result = if self.custody {
            self.request(&mut link, index, bind, door)
        } else {
            self.announce(&mut link, index, bind, door)
        };
        self.note_drain(&mut link);
        if result.is_ok() {
            link.open.push(index);
            // Credentials are given up after this, or a port below 1024 could not have been bound.
            self.settled.store(false, Ordering::Relaxed);
        }
        result
    }

    /// The listener is gone.
    pub(super) fn close(&self, index: u16) {
        self.tell_closed(&mut self.link(), index);
    }

    fn tell_closed(&self, link: &mut Link, index: u16) {
        link.open.retain(|open| *open != index);
        // If the master cannot be told it is gone or busy; either way the socket is closed and the kernel knows.
        if let Err(error) = link.channel.send(&Frame::Closed { address: index }, &[]) {
            log::debug!(target: super::boot::TARGET, "telling the master of a closed listener: {error}");
        }
    }

    /// The program has taken the socket out of its listener; `kept` is a duplicate.
    pub(super) fn bare(&self, index: u16, kept: Owned) {
        let mut link = self.link();
        link.bare.add(index, kept);
        self.note_drain(&mut link);
    }

    /// A thread waits for connections until this is dropped.
    pub(super) fn waiting_thread(&self) -> WaitingThread<'_> {
        self.seat.hears();
        self.waiting_threads.fetch_add(1, Ordering::SeqCst);
        WaitingThread(&self.waiting_threads)
    }

    /// The bell rings for events that only the program can take.
    pub(super) fn waits_for_the_program(&self) -> bool {
        self.bell.rings_for(bell::EVENTS) && !self.seat.is_draining()
    }

    fn announce(&self, link: &mut Link, index: u16, bind: &Bind, door: &Owned) -> Result<()> {
        door::open(bind, door)?;
        let sent = link.channel.send(&Frame::Opened { address: index }, &[]);
        sent.map_err(|error| Error::system(format!("telling the master of the socket for {}", bind.at), error))?;
        self.watch(link)
    }

    fn request(&self, link: &mut Link, index: u16, bind: &Bind, door: &Owned) -> Result<()> {
        for _ in 0..LISTEN_TRIES {
            let frame = Frame::Listen { address: index };
            let sent = link.channel.send(&frame, &[door.as_fd()]);
            sent.map_err(|error| Error::system(format!("handing the socket for {} to the master", bind.at), error))?;
            match self.answer(link, index)? {
                Answer::Granted => return Ok(()),
                Answer::Lost => {}
            }
        }
        let text = format!(
            "listening on {}: the master could not take the socket, it is out of descriptors (`ulimit -n`)",
            bind.at
        );
        Err(Error::new(Kind::System, text))
    }

    fn answer(&self, link: &mut Link, index: u16) -> Result<Answer> {
        loop {
            match self.receive(link)? {
                Incoming::Frame(Frame::Granted { address }, _) if address == index => return Ok(Answer::Granted),
                Incoming::Frame(Frame::Refused { address, lost: true, .. }, _) if address == index => {
                    return Ok(Answer::Lost);
                }
                Incoming::Frame(Frame::Refused { address, reason, .. }, _) if address == index => {
                    return Err(Error::new(Kind::System, reason));
                }
                Incoming::Frame(frame, _) => self.understand(link, frame)?,
                Incoming::Empty => wait(&mut link.channel)?,
                Incoming::Closed => {
                    self.gone(link);
                    return Err(Error::new(Kind::Gone, "waiting for the master's go-ahead: the master is gone"));
                }
                Incoming::Part => {}
                Incoming::Malformed(malformed) => return Err(unintelligible(&malformed)),
                Incoming::LostDescriptors(_) => {}
            }
        }
    }

    fn read_all(&self, link: &mut Link) -> Result<()> {
        if link.channel.wants_write() {
            link.channel.flush().map_err(|error| Error::system("telling the master", error))?;
            self.watch(link)?;
        }
        while link.peer == Peer::Present {
            match self.receive(link)? {
                Incoming::Frame(frame, _) => self.understand(link, frame)?,
                Incoming::Empty => break,
                Incoming::Closed => self.gone(link),
                Incoming::Part | Incoming::LostDescriptors(_) => {}
                Incoming::Malformed(malformed) => return Err(unintelligible(&malformed)),
            }
        }
        Ok(())
    }

    fn receive(&self, link: &mut Link) -> Result<Incoming> {
        let incoming = link.channel.recv(&mut link.buffer)?;
        match incoming {
            Incoming::Frame(..) | Incoming::Malformed(_) | Incoming::LostDescriptors(_) => {
                self.heard.fetch_add(1, Ordering::Relaxed);
            }
            Incoming::Part | Incoming::Empty | Incoming::Closed => {}
        }
        Ok(incoming)
    }

    fn understand(&self, link: &mut Link, frame: Frame) -> Result<()> {
        match frame {
            Frame::Hello { major, layout, .. } if (major, layout) != (PROTOCOL_MAJOR, LAYOUT) => {
                let text = format!(
                    "the master speaks protocol {major}, layout {layout}, this worker {PROTOCOL_MAJOR}, {LAYOUT}: build both from one \
                     version of the library"
                );
                return Err(Error::new(Kind::InvalidConfig, text));
            }
            Frame::Drain { within } => self.drain(link, within),
            Frame::ReopenLogs => self.note(link, WorkerEvent::ReopenLogs),
            // Answers to a request that failed meanwhile, statements that only a worker makes, and what a later version
            // may send.
            Frame::Hello { .. } | Frame::Granted { .. } | Frame::Refused { .. } | Frame::Message { .. } => {}
            Frame::Listen { .. } | Frame::Opened { .. } | Frame::Closed { .. } | Frame::Ready | Frame::Leaving => {}
        }
        Ok(())
    }

    /// SIGTERM and `disconnect` set the bit without a frame.
    fn note_drain(&self, link: &mut Link) {
        if self.seat.is_draining() {
            self.drain(link, self.drain_timeout);
            self.leave_bare(link);
        }
    }

    /// Once more with the next turn, until nothing is left.
    fn leave_bare(&self, link: &mut Link) {
        if link.bare.is_empty() {
            return;
        }
        for address in link.bare.leave(Instant::now()) {
            self.tell_closed(link, address);
        }
        let more = !link.bare.is_empty();
        self.is_leaving.store(more, Ordering::Relaxed);
        if more {
            self.bell.ring(bell::LEAVING);
        } else {
            self.bell.saw(bell::LEAVING);
        }
    }

    fn drain(&self, link: &mut Link, within: Duration) {
        self.seat.drain();
        if !self.told_to_drain.swap(true, Ordering::Relaxed) {
            self.note(link, WorkerEvent::Drain { within });
        }
    }

    fn note(&self, link: &mut Link, event: WorkerEvent) {
        // For a loop that never looks it would never fall silent.
        let drain = if matches!(event, WorkerEvent::Drain { .. }) && self.seat.is_aware() { bell::DRAIN } else { 0 };
        let taken = if self.takes_events.load(Ordering::Relaxed) { bell::EVENTS } else { 0 };
        link.events.push_back(event);
        self.bell.ring(drain | taken);
    }

    fn gone(&self, link: &mut Link) {
        link.peer = Peer::Gone;
        self.note(link, WorkerEvent::MasterGone);
        // Nobody is left to work for.
        self.drain(link, self.drain_timeout);
        // A closed channel is readable for ever.
        if let Err(error) = self.poller.delete(&link.channel) {
            log::debug!(target: super::boot::TARGET, "forgetting the channel: {error}");
        }
    }

    /// Waits for room in the channel only while something is queued.
    fn watch(&self, link: &Link) -> Result<()> {
        let write = if link.channel.wants_write() { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | write, 0);
        self.poller.modify(&link.channel, &mut event).map_err(|error| Error::system("watching the channel", error))
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // Every statement under the lock leaves the link consistent.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WaitingThread<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// For a packet, and meanwhile sends what is queued.
fn wait(channel: &mut Channel) -> Result<()> {
    channel.flush().map_err(|error| Error::system("telling the master", error))?;
    let write = if channel.wants_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN | write)];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(Error::system("waiting for the master", error)),
    }
}

fn unintelligible(malformed: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::System, format!("the master sent what this version does not understand: {malformed}"))
}

/// A descriptor is lost when the master is out of descriptors for a moment; if it happens again the state lasts.
const LISTEN_TRIES: usize = 3;
