//! From what is ready to the supervisor's inputs.
//!
//! What a worker sends is not trusted: a malformed packet is thrown away and mentioned once, a descriptor is checked
//! before use.

use std::{io, os::fd::OwnedFd, time::Instant};

use super::{Master, TARGET, crew::Child, reactor::Ready, signals::Wish};
use crate::{
    channel::Incoming,
    error::Result,
    event::{Event, ExitStatus},
    id::WorkerId,
    net::door,
    sys::owned::Owned,
    wire::Frame,
};

impl Master {
    pub(super) fn take_in(&mut self, now: Instant, ready: &[Ready]) -> Result<()> {
        // First: what a worker says of a signal that all have got means nothing then.
        if ready.contains(&Ready::Signals) {
            self.take_signals(now)?;
        }
        for ready in ready {
            match *ready {
                Ready::Signals => {}
                Ready::Channel(id) => self.take_packets(now, id, PACKETS),
                Ready::Child(id) => self.take_exit(now, id),
                Ready::Stirred => self.stirred(now),
                Ready::Turn => {}
            }
        }
        Ok(())
    }

    fn take_signals(&mut self, now: Instant) -> Result<()> {
        while let Some(signal) = self.signals.as_ref().map_or(Ok(None), |signals| signals.next())? {
            match Wish::of(signal) {
                Some(Wish::Stop(how)) => {
                    log::info!(target: TARGET, "received {signal}");
                    self.supervisor.handle_stop(now, how, Some(signal));
                }
                Some(Wish::ReopenLogs) => {
                    log::info!(target: TARGET, "received {signal}: the workers are told to reopen their logs");
                    self.tell_all(&Frame::ReopenLogs);
                }
                Some(Wish::Rollout) => {
                    log::info!(target: TARGET, "received {signal}");
                    self.roll_by_signal(now, signal);
                }
                Some(Wish::More) => self.scale_by_signal(now, signal, self.supervisor.target().saturating_add(1)),
                Some(Wish::Fewer) => self.scale_by_signal(now, signal, self.supervisor.target().saturating_sub(1)),
                Some(Wish::NotYet(what)) => {
                    log::warn!(target: TARGET, "{signal} ignored: {what} is not available in this version")
                }
                None => {}
            }
        }
        Ok(())
    }

    /// At most `most` packets; the descriptor stays readable for the rest.
    fn take_packets(&mut self, now: Instant, id: WorkerId, most: usize) {
        for _ in 0..most {
            if self.is_laden() && most < PACKETS_AT_EXIT {
                break;
            }
            let Some(child) = self.crew.get_mut(&id) else { return };
            let Some(channel) = &mut child.channel else { return };
            match channel.recv(&mut self.buffer) {
                Ok(Incoming::Frame(frame, descriptors, announced)) => self.hear(now, id, frame, descriptors, announced),
                Ok(Incoming::Part) => {}
                Ok(Incoming::Malformed(malformed)) => self.garbled(id, &malformed.to_string()),
                Ok(Incoming::Empty) => break,
                Ok(Incoming::Closed) => return self.hang_up(now, id),
                Err(error) => {
                    log::warn!(target: TARGET, "worker {id}: {error:#}");
                    return self.hang_up(now, id);
                }
            }
        }
        self.flush(id);
    }

    /// The pidfd is readable: all that the process will ever send is in the channel.
    fn take_exit(&mut self, now: Instant, id: WorkerId) {
        let Some(child) = self.crew.get(&id) else { return };
        let status = match child.reap() {
            Ok(Some(status)) => status,
            Ok(None) => return,
            Err(error) => {
                log::error!(target: TARGET, "reaping worker {id} (pid {}): {error}; it counts as ended", child.pid());
                ExitStatus::unknown()
            }
        };
        self.take_packets(now, id, PACKETS_AT_EXIT);
        // A descendant of the worker may hold its end open, and a child of this program a copy of ours.
        self.hang_up(now, id);
        if let Some(child) = self.crew.remove(&id) {
            if let Err(error) = self.reactor.remove(child.pidfd()) {
                log::error!(target: TARGET, "forgetting worker {id}: {error}");
            }
            self.seats.give_back(child.into_seat());
        }
        self.supervisor.handle_exited(now, id, status);
    }

    fn hear(&mut self, now: Instant, id: WorkerId, frame: Frame, descriptors: Vec<OwnedFd>, announced: usize) {
        match frame {
            // A forked worker speaks the master's own version.
            Frame::Hello { .. } => self.supervisor.handle_online(now, id),
            Frame::Listen { address } if descriptors.len() < announced => {
                self.answer(id, &Frame::Refused { address, lost: true, reason: String::new() });
            }
            Frame::Listen { address } => self.open(now, id, address, descriptors),
            Frame::Ready => self.supervisor.handle_ready(now, id),
            Frame::Leaving => {
                if let Some(child) = self.crew.get_mut(&id) {
                    child.leaves = true;
                }
                self.supervisor.handle_leaving(now, id);
            }
            Frame::Opened { address } => self.opened(now, id, address),
            Frame::Retires => self.supervisor.handle_retires(now, id),
            Frame::Returned { loan } => self.supervisor.handle_returned(now, id, loan),
            Frame::Closed { address } => self.closed(now, id, usize::from(address)),
            Frame::Message { purpose, bytes } => self.hear_message(now, id, purpose, bytes, descriptors, announced),
            Frame::Batch(messages) => self.hear_messages(now, id, messages),
            Frame::Granted { .. }
            | Frame::Refused { .. }
            | Frame::Drain { .. }
            | Frame::Look
            | Frame::ReopenLogs
            | Frame::AddressAdded { .. }
            | Frame::AddressRemoved { .. }
            | Frame::Lend { .. }
            | Frame::TakeBack { .. } => {
                self.garbled(id, "a statement that only a master makes");
            }
        }
    }

    /// Checks the worker's socket, opens it for connections, in one place, so that sockets join the kernel's group in
    /// one order, and keeps it.
    fn open(&mut self, now: Instant, id: WorkerId, index: u16, mut descriptors: Vec<OwnedFd>) {
        let address = usize::from(index);
        let Some(slot) = self.crew.get(&id).map(Child::slot) else { return };
        if !self.custody.is_on() {
            return self.garbled(id, "a socket, which this cluster leaves to its workers");
        }
        if self.ports.is_removed(address) {
            let reason = format!("listening on {}: the address was removed meanwhile", self.ports.address_at(address));
            return self.answer(id, &Frame::Refused { address: index, lost: false, reason });
        }
        let Some(bind) = self.ports.bind(address) else { return self.no_such_address(id, index) };
        if bind.shared {
            return self.garbled(id, "a socket of its own for an address that all share");
        }
        let Some(socket) = descriptors.pop() else { return self.garbled(id, "a listen request without its socket") };
        if self.supervisor.is_asked(id) {
            // It is left as it is: to who accepts there it looks like one that was shut.
            return self.answer(id, &Frame::Granted { address: index });
        }
        self.doze_no_more(now);
        let Some(bind) = self.ports.bind(address) else { return self.no_such_address(id, index) };
        match self.custody.admit(bind, slot, address, Owned::new(socket)) {
            Ok(other) => {
                let granted = self.crew.get_mut(&id).map(|child| child.grant(index, other));
                self.supervisor.handle_listening(now, id, address);
                self.sent(id, granted);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.once(id, &format!("worker {id}: {reason}"));
                self.answer(id, &Frame::Refused { address: index, lost: false, reason });
            }
        }
    }

    /// The worker accepts on the socket that all share, or has opened one itself and keeps it to itself.
    fn opened(&mut self, now: Instant, id: WorkerId, index: u16) {
        match self.ports.bind(usize::from(index)).map(|bind| bind.shared) {
            // It will hear of that.
            None if self.ports.is_removed(index.into()) => {}
            None => self.no_such_address(id, index),
            Some(false) if self.custody.is_on() => {
                self.garbled(id, "that it keeps a socket to itself, which this cluster does not allow");
            }
            Some(true | false) => self.supervisor.handle_opened(now, id, usize::from(index)),
        }
    }

    /// The worker has dropped its listener, and has perhaps shut the socket.
    fn closed(&mut self, now: Instant, id: WorkerId, address: usize) {
        self.supervisor.handle_closed(now, id, address);
        let Some(slot) = self.crew.get(&id).map(Child::slot) else { return };
        if self.custody.door(slot, address).is_some_and(|door| !door::listens(door)) {
            self.supervisor.handle_shut(slot, address);
        }
    }

    fn no_such_address(&mut self, id: WorkerId, index: u16) {
        self.garbled(id, &format!("there is no address number {index}"));
    }

    fn tell_all(&mut self, frame: &Frame) {
        let ids: Vec<WorkerId> = self.crew.keys().copied().collect();
        ids.into_iter().for_each(|id| self.answer(id, frame));
    }

    /// Sends; a worker that is gone or reads nothing is noticed elsewhere.
    pub(super) fn answer(&mut self, id: WorkerId, frame: &Frame) {
        let sent = self.crew.get_mut(&id).map(|child| child.send(frame, &[]));
        self.sent(id, sent);
    }

    fn sent(&mut self, id: WorkerId, sent: Option<io::Result<()>>) {
        if let Some(Err(error)) = sent {
            log::debug!(target: TARGET, "telling worker {id}: {error}");
        }
        self.flush(id);
    }

    /// Sends what is queued, and tells the program if there is room again.
    pub(super) fn flush(&mut self, id: WorkerId) {
        let Some(channel) = self.crew.get_mut(&id).and_then(|child| child.channel.as_mut()) else { return };
        if let Err(error) = channel.flush() {
            log::debug!(target: TARGET, "telling worker {id}: {error}");
        }
        self.tell_addresses(id);
        let Some(channel) = self.crew.get_mut(&id).and_then(|child| child.channel.as_mut()) else { return };
        if channel.has_room_again() {
            if let Some(worker) = self.crew.get(&id).map(|child| child.worker(id)) {
                self.supervisor.announce(Event::Writable(worker));
            }
        }
        self.watch(id);
    }

    /// Waits for room only while something is queued.
    pub(super) fn watch(&mut self, id: WorkerId) {
        let Some(child) = self.crew.get_mut(&id) else { return };
        let Some(channel) = &child.channel else { return };
        let waits = channel.wants_write();
        if std::mem::replace(&mut child.awaits_room, waits) != waits {
            if let Err(error) = self.reactor.watch_write(channel, Ready::Channel(id), waits) {
                log::error!(target: TARGET, "watching the channel of worker {id}: {error}");
            }
        }
    }

    fn hang_up(&mut self, now: Instant, id: WorkerId) {
        let Some(channel) = self.crew.get_mut(&id).and_then(|child| child.channel.take()) else { return };
        if let Err(error) = self.reactor.remove(&channel) {
            log::error!(target: TARGET, "forgetting the channel of worker {id}: {error}");
        }
        self.forsake_requests(id);
        self.supervisor.handle_channel_closed(now, id);
    }

    pub(super) fn garbled(&mut self, id: WorkerId, what: &str) {
        self.once(id, &format!("worker {id} sent {what}; it is ignored, and so is more of the kind"));
    }

    /// Warns of what a worker sent, but a worker cannot fill the log.
    pub(super) fn once(&mut self, id: WorkerId, text: &str) {
        let Some(child) = self.crew.get_mut(&id) else { return };
        if !std::mem::replace(&mut child.garbles, true) {
            log::warn!(target: TARGET, "{text} (pid {})", child.pid());
        }
    }
}

/// Packets of one worker per turn, so that one that floods its channel delays the others by little.
const PACKETS: usize = 64;

/// More than a socket holds (278 small packets with the usual buffer): all that the dead worker sent, but not all that
/// a descendant with its end of the channel may go on sending.
const PACKETS_AT_EXIT: usize = 1024;
