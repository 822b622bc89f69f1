//! What the worker's program says to the master, and what it hears.
//!
//! Small messages may be held for some milliseconds, so that several share a packet (see [the
//! channel](crate::channel)). They are sent when the loop goes to sleep, when they are due by the next turn, or when
//! the alarm makes it turn. Where no loop turns nothing is held, for nobody would send it later: a thread in
//! `accept_blocking` may be busy with its next connection for long.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::{
    Worker, WorkerHandle, bell,
    boot::TARGET,
    control::Control,
    link::{Link, Peer, gone},
};
use crate::{
    error::{Error, Kind, Result},
    event::{LADEN, Message, WorkerEvent},
    id::RequestId,
    scoreboard::now,
    sys::alarm::Alarm,
    wire::{Bundle, Purpose},
};

impl Worker {
    /// Sends a message to the master, where it is an [`Event::Message`](crate::Event::Message). Never blocks.
    ///
    /// Messages arrive in their order, those that have left before the worker died, too. Small ones that follow each
    /// other closely share a packet, so that a message per request costs next to nothing: the first one, and the first
    /// after something was heard from the master, leaves at once, others within a millisecond, in a dense stream (16 in
    /// a packet) within ten, and all when the worker function returns or panics. **Before `process::exit`** call
    /// [`flush`](Self::flush). Without a master ([`standalone`](crate::Cluster::standalone)) they go nowhere.
    ///
    /// **Errors** give the message back, see [`Error::into_message`]. The master is gone
    /// ([`is_gone`](Error::is_gone)); it does not read what was sent before, and 1024 packets or 32 MiB wait for it
    /// ([`is_would_block`](Error::is_would_block): [`WorkerEvent::Writable`] comes when there is room); the message is
    /// larger than 16 MiB or has more than 253 descriptors. One with descriptors is never queued, so it may be refused
    /// earlier. [`docs::messages`](crate::docs::messages) has all of this in one place.
    ///
    /// ```no_run
    /// use mio_cluster::{Cluster, Event};
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// Cluster::new().workers(2).run_with(
    ///     |worker| worker.send(format!("worker {} has warmed up", worker.id())),
    ///     |_master, event| {
    ///         if let Event::Message { message, .. } = event {
    ///             println!("{}", String::from_utf8_lossy(&message.bytes));
    ///         }
    ///     },
    /// )
    /// # }
    /// ```
    pub fn send(&self, message: impl Into<Message>) -> Result<()> {
        self.control.say(Purpose::Plain, message.into())
    }

    /// Replies to a message that [wants it](Message::wants_reply). It leaves at once. The master takes the first reply
    /// to a request, if it comes in time; others are dropped there.
    ///
    /// **Errors**: as [`send`](Self::send).
    pub fn reply(&self, to: RequestId, message: impl Into<Message>) -> Result<()> {
        self.control.say(Purpose::Reply(to), message.into())
    }

    /// Sends everything that is held or queued, and waits for that: for a program that is about to end the process by
    /// itself. Returning from the worker function does the same.
    ///
    /// **Errors**: the master is gone; it has not read all of it within 5 s ([`is_timed_out`](Error::is_timed_out)).
    ///
    /// ```no_run
    /// fn give_up(worker: &mio_cluster::Worker) -> ! {
    ///     let told = worker.send("the disk is full").and_then(|()| worker.flush());
    ///     std::process::exit(if told.is_ok() { 12 } else { 13 })
    /// }
    /// ```
    pub fn flush(&self) -> Result<()> {
        self.control.flush()
    }
}

impl WorkerHandle {
    /// As [`Worker::send`](crate::Worker::send), from any thread.
    ///
    /// **Errors**: as there, and as [`disconnect`](Self::disconnect).
    pub fn send(&self, message: impl Into<Message>) -> Result<()> {
        self.say(Purpose::Plain, message.into())
    }

    /// As [`Worker::reply`](crate::Worker::reply), from any thread.
    ///
    /// **Errors**: as there, and as [`disconnect`](Self::disconnect).
    pub fn reply(&self, to: RequestId, message: impl Into<Message>) -> Result<()> {
        self.say(Purpose::Reply(to), message.into())
    }

    fn say(&self, purpose: Purpose, message: Message) -> Result<()> {
        match self.control() {
            Some(control) => control.say(purpose, message),
            None => Err(gone("sending to the master: the worker has left").with_message(message)),
        }
    }
}

/// Speaks for a worker that lives at least as long, in a loop that knows the time.
pub(crate) struct Voice(Arc<Control>);

impl Voice {
    pub(crate) fn of(worker: &Worker) -> Self {
        Self(Arc::clone(&worker.control))
    }

    /// `now`: in nanoseconds, by the scoreboard's clock.
    pub(crate) fn say(&self, now: u64, purpose: Purpose, message: Message) -> Result<()> {
        self.0.say_at(now, purpose, message)
    }
}

impl Control {
    fn say(&self, purpose: Purpose, message: Message) -> Result<()> {
        self.say_at(now(), purpose, message)
    }

    fn say_at(&self, now: u64, purpose: Purpose, message: Message) -> Result<()> {
        if let Err(error) = self.check_process() {
            return Err(error.with_message(message));
        }
        let mut link = self.link();
        let channel = match &mut link.peer {
            Peer::Master { channel, .. } => channel,
            Peer::Gone => return Err(gone("sending to the master").with_message(message)),
            Peer::Nobody { .. } => return Ok(()),
        };
        let said = channel.say(format_args!("sending to the master"), now, purpose, message);
        self.hold(&mut link);
        // Not an error of the message, which is sent, or goes back to the caller.
        self.watch_or_say(&mut link);
        said
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.check_process()?;
        let mut link = self.link();
        let left = match &mut link.peer {
            Peer::Master { channel, .. } => channel.finish(PATIENCE),
            Peer::Gone => return Err(gone("flush")),
            Peer::Nobody { .. } => return Ok(()),
        };
        let left = left.map_err(|error| Error::system("flush: sending to the master", error))?;
        self.watch_peer(&mut link)?;
        match left {
            0 => Ok(()),
            packets => {
                let text =
                    format!("flush: the master has not read all within {PATIENCE:?}; packets that wait: {packets}");
                Err(Error::new(Kind::TimedOut, text))
            }
        }
    }

    /// The loop goes to sleep. One relaxed load if nothing is held.
    pub(super) fn end_turn(&self) {
        if self.held_until.load(Ordering::Relaxed) != NOTHING {
            let mut link = self.link();
            if let Peer::Master { channel, .. } = &mut link.peer {
                // That the master is gone is heard elsewhere.
                let _ = channel.end_turn(now);
            }
            self.watch_or_say(&mut link);
        }
    }

    /// One relaxed load if nothing is held, and a look at the clock if something is.
    pub(super) fn send_if_due(&self) {
        if self.held_until.load(Ordering::Relaxed) != NOTHING {
            self.send_if_due_at(now());
        }
    }

    pub(super) fn send_if_due_at(&self, now: u64) {
        if now < self.held_until.load(Ordering::Relaxed) {
            return;
        }
        let mut link = self.link();
        if let Peer::Master { channel, .. } = &mut link.peer {
            if channel.due().is_some_and(|due| due <= now) {
                let _ = channel.send_due(now);
            }
        }
        if let Some(alarm) = &link.alarm {
            // It has rung, and would go on.
            let _ = alarm.unset();
        }
        self.held_until.store(NOTHING, Ordering::Relaxed);
        self.hold(&mut link);
        self.watch_or_say(&mut link);
    }

    /// Whoever calls this comes back, at the latest when it is woken.
    pub(super) fn comes_back(&self) {
        self.turns.store(true, Ordering::Relaxed);
    }

    /// Whoever turned may not come back: what is held leaves, and nothing is held until somebody turns again.
    pub(super) fn may_not_come_back(&self) {
        self.turns.store(false, Ordering::Relaxed);
        if self.held_until.load(Ordering::Relaxed) != NOTHING {
            let mut link = self.link();
            if let Peer::Master { channel, .. } = &mut link.peer {
                let _ = channel.send_due(now());
            }
            self.watch_or_say(&mut link);
        }
    }

    fn watch_or_say(&self, link: &mut Link) {
        if let Err(error) = self.watch_peer(link) {
            log::error!(target: TARGET, "{error:#}");
        }
    }

    /// Makes the loop turn when what is held is due; or holds nothing, if there is no loop.
    fn hold(&self, link: &mut Link) {
        let Peer::Master { channel, .. } = &mut link.peer else { return };
        let Some(due) = channel.due() else { return };
        if self.held_until.load(Ordering::Relaxed) <= due {
            return;
        }
        let now = now();
        if self.turns.load(Ordering::Relaxed)
            && self.set_alarm(&mut link.alarm, Duration::from_nanos(due.saturating_sub(now)))
        {
            self.held_until.store(due, Ordering::Relaxed);
        } else {
            let _ = channel.send_due(now);
        }
    }

    pub(super) fn set_alarm(&self, alarm: &mut Option<Alarm>, after: Duration) -> bool {
        if alarm.is_none() {
            let watched = Alarm::new().and_then(|alarm| {
                self.poller().add(alarm.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
                Ok(alarm)
            });
            *alarm = watched.ok();
        }
        alarm.as_ref().is_some_and(|alarm| alarm.set(after).is_ok())
    }

    /// The process ends: what was sent is to arrive.
    pub(super) fn finish(&self) {
        let mut link = self.link();
        if let Peer::Master { channel, .. } = &mut link.peer {
            // If the master is gone, nobody misses them.
            let lost = channel.finish(PATIENCE).unwrap_or(0);
            if lost > 0 {
                log::warn!(
                    target: TARGET,
                    "{}: the master has not read its last messages within {PATIENCE:?}; packets lost: {lost}",
                    self.seat()
                );
            }
        }
    }

    pub(super) fn hear_messages(&self, link: &mut Link, messages: Bundle) {
        messages.for_each(|bytes| self.note_message(link, bytes.into()));
    }

    pub(super) fn hear_message(
        &self,
        link: &mut Link,
        purpose: Purpose,
        bytes: Vec<u8>,
        fds: Vec<OwnedFd>,
        announced: usize,
    ) {
        let request = match purpose {
            Purpose::Plain => None,
            Purpose::Request(id) => Some(id),
            // Of something that a worker cannot ask in this version.
            Purpose::Reply(_) => return,
        };
        let message = Message::received(bytes, fds, announced, request);
        if message.lost_fds() > 0 {
            log::warn!(
                target: TARGET,
                "{}: {announced} descriptors of a message did not arrive, this process is out of them (`ulimit -n`)",
                self.seat()
            );
        }
        self.note_message(link, message);
    }

    fn note_message(&self, link: &mut Link, message: Message) {
        link.laden += message.weight();
        self.note(link, WorkerEvent::Message(message));
    }

    /// The program has so much to take that the master must wait.
    pub(super) fn is_laden(link: &Link) -> bool {
        link.laden >= LADEN
    }

    /// The program has taken an event.
    pub(super) fn unload(&self, link: &mut Link, event: Option<&WorkerEvent>) {
        if let Some(WorkerEvent::Message(message)) = event {
            link.laden -= message.weight();
        }
        if !link.events.is_empty() {
            return;
        }
        if std::mem::take(&mut link.is_behind) {
            // One turn more, to read on.
            self.ring(bell::EVENTS);
        } else {
            self.saw(bell::EVENTS);
        }
    }
}

/// Of `Control::held_until`.
pub(super) const NOTHING: u64 = u64::MAX;

/// For a master that is busy; one whose program has stopped for good must not keep its workers.
const PATIENCE: Duration = Duration::from_secs(5);
