//! What the program and its workers say to each other.
//!
//! Messages are sent when the channel's pace says so; those that it holds are sent when the program has taken all
//! events, or when their time has come. What workers send is queued as events, so a program that takes none would pile
//! it up: beyond [`LADEN`] the workers' channels are not read, and their senders are told that there is no room.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use super::{Master, TARGET, requests::Requests};
use crate::{
    config::FOR_EVER,
    error::{Error, Kind, Result},
    event::{Event, LADEN, Message},
    id::{RequestId, WorkerId},
    scoreboard,
    supervisor::Heard,
    wire::{Bundle, Purpose},
};

/// What is under way between the program and its workers.
pub(super) struct Mail {
    pub(super) requests: Requests,
    /// Workers for whom a message is held.
    holding: Vec<WorkerId>,
}

impl Mail {
    pub(super) fn new() -> Self {
        Self { requests: Requests::new(), holding: Vec::new() }
    }
}

impl Master {
    /// Sends a message to one worker, where it is a
    /// [`WorkerEvent::Message`](crate::WorkerEvent::Message). Never blocks.
    ///
    /// Messages to one worker arrive in their order, or the worker has ended. Small ones that follow each other closely
    /// share a packet: the first one, and the first after something was heard from that worker, leaves at once, others
    /// when all events were taken ([`next_event`](Self::next_event) returned `None`), or within a millisecond, in a
    /// dense stream (16 in a packet) within ten.
    ///
    /// **Errors** give the message back, see [`Error::into_message`]. There is no such worker, or it has closed its
    /// channel ([`is_gone`](Error::is_gone)); it does not read what was sent before, and 1024 packets or 32 MiB wait for it
    /// ([`is_would_block`](Error::is_would_block): [`Event::Writable`] comes when there is room); the message is larger
    /// than 16 MiB or has more than 253 descriptors. One with descriptors is never queued, so it may be refused earlier.
    /// [`docs::messages`](crate::docs::messages) has all of this in one place.
    ///
    /// ```no_run
    /// use mio_cluster::{Cluster, Event};
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// # fn serve(_worker: mio_cluster::Worker) {}
    /// Cluster::new().workers(4).run_with(serve, |master, event| {
    ///     if let Event::Ready(worker) = event {
    ///         if let Err(error) = master.send(worker.id, "welcome") {
    ///             eprintln!("{error:#}");
    ///         }
    ///     }
    /// })
    /// # }
    /// ```
    pub fn send(&mut self, to: WorkerId, message: impl Into<Message>) -> Result<()> {
        self.say("sending", to, Purpose::Plain, message.into())
    }

    /// Sends a message to all live workers, and returns those that it could not be sent to, with the reasons, as of
    /// [`send`](Self::send). A worker that is on its way out is passed over.
    ///
    /// ```no_run
    /// use mio_cluster::Master;
    ///
    /// fn announce(master: &mut Master) {
    ///     for (worker, error) in master.broadcast("the configuration has changed") {
    ///         eprintln!("worker {worker} does not know: {error:#}");
    ///     }
    /// }
    /// ```
    pub fn broadcast(&mut self, message: impl Into<Message>) -> Vec<(WorkerId, Error)> {
        let message = message.into();
        let ids: Vec<WorkerId> =
            self.crew.iter().filter(|(_, child)| child.channel.is_some()).map(|(id, _)| *id).collect();
        let sent = ids.into_iter().map(|id| (id, message.duplicate().and_then(|copy| self.send(id, copy))));
        sent.filter_map(|(id, sent)| sent.err().map(|error| (id, error))).collect()
    }

    /// Sends a message that wants a reply within this time. What becomes of it is one [`Event::Reply`]: the reply, or
    /// that none came in time, or that the worker has ended. A reply that comes too late, or twice, is dropped.
    ///
    /// In the worker it is a [`WorkerEvent::Message`](crate::WorkerEvent::Message) that
    /// [`wants_reply`](Message::wants_reply). It is sent at once.
    ///
    /// **Errors**: as [`send`](Self::send); then no reply comes.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mio_cluster::{Cluster, Event, WorkerEvent};
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// let mut master = Cluster::new().workers(1).start(|mut worker| -> Result<(), mio_cluster::Error> {
    ///     while !worker.is_draining() {
    ///         worker.dispatch()?; // a real one sleeps in a `Poll` in between
    ///         while let Some(event) = worker.next_event() {
    ///             let WorkerEvent::Message(message) = event else { continue };
    ///             if let Some(request) = message.wants_reply() {
    ///                 worker.reply(request, "7 sessions")?;
    ///             }
    ///         }
    ///     }
    ///     Ok(())
    /// })?;
    /// while let Some(event) = master.wait(None)? {
    ///     match event {
    ///         Event::Ready(worker) => drop(master.request(worker.id, "how many?", Duration::from_secs(1))?),
    ///         Event::Reply { result: Ok(reply), .. } => println!("{}", String::from_utf8_lossy(&reply.bytes)),
    ///         Event::Reply { result: Err(error), .. } => eprintln!("{error:#}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&mut self, to: WorkerId, message: impl Into<Message>, within: Duration) -> Result<RequestId> {
        let now = Instant::now();
        let id = self.mail.requests.begin(to, now + within.min(FOR_EVER));
        if let Err(error) = self.say("asking", to, Purpose::Request(id), message.into()) {
            self.mail.requests.end(id, to);
            return Err(error);
        }
        self.set_alarm_or_say(now);
        Ok(id)
    }

    fn say(&mut self, step: &str, to: WorkerId, purpose: Purpose, message: Message) -> Result<()> {
        if let Err(error) = self.check_process() {
            return Err(error.with_message(message));
        }
        let Some(channel) = self.crew.get_mut(&to).and_then(|child| child.channel.as_mut()) else {
            let text = format!("{step} to worker {to}: there is no such worker (any more)");
            return Err(Error::new(Kind::Gone, text).with_message(message));
        };
        let said = channel.say(format_args!("{step} to worker {to}"), scoreboard::now(), purpose, message);
        self.watch(to);
        if self.hold(to) {
            self.set_alarm_or_say(Instant::now());
        }
        said
    }

    /// Not an error of the message, which is sent, or goes back to the caller.
    fn set_alarm_or_say(&mut self, now: Instant) {
        if let Err(error) = self.set_alarm(now) {
            log::error!(target: TARGET, "{error:#}");
        }
    }

    /// Remembers a worker for whom something is held. True if that is news.
    fn hold(&mut self, id: WorkerId) -> bool {
        let holds =
            self.crew.get(&id).and_then(|child| child.channel.as_ref()).is_some_and(|channel| channel.due().is_some());
        let news = holds && !self.mail.holding.contains(&id);
        if news {
            self.mail.holding.push(id);
        }
        news
    }

    /// The program has said what it had to say.
    pub(super) fn end_turn(&mut self) {
        self.send_held(|channel, now| channel.end_turn(|| now));
    }

    pub(super) fn send_due(&mut self) {
        self.send_held(|channel, now| match channel.due() {
            Some(due) if due <= now => channel.send_due(now),
            Some(_) | None => Ok(()),
        });
    }

    fn send_held(&mut self, send: impl Fn(&mut crate::channel::Channel, u64) -> std::io::Result<()>) {
        if self.mail.holding.is_empty() {
            return;
        }
        let now = scoreboard::now();
        for id in std::mem::take(&mut self.mail.holding) {
            let Some(channel) = self.crew.get_mut(&id).and_then(|child| child.channel.as_mut()) else { continue };
            if let Err(error) = send(channel, now) {
                log::debug!(target: TARGET, "sending to worker {id}: {error}");
            }
            self.watch(id);
            self.hold(id);
        }
    }

    /// When what is held is to be sent, if anything is.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        let channels = self.mail.holding.iter().filter_map(|id| self.crew.get(id)?.channel.as_ref());
        let due = channels.filter_map(|channel| channel.due()).min()?;
        Some(now + Duration::from_nanos(due.saturating_sub(scoreboard::now())))
    }

    /// What came in one packet.
    pub(super) fn hear_messages(&mut self, now: Instant, id: WorkerId, messages: Bundle) {
        let Some(worker) = self.crew.get(&id).map(|child| child.worker(id)) else { return };
        match self.supervisor.handle_said(now, id) {
            Heard::Nobody => {}
            Heard::AtOnce => self.events.push_messages(worker, messages),
            Heard::Behind => {
                messages.for_each(|bytes| self.announce(Event::Message { worker, message: bytes.into() }));
            }
        }
    }

    pub(super) fn hear_message(
        &mut self,
        now: Instant,
        id: WorkerId,
        purpose: Purpose,
        bytes: Vec<u8>,
        fds: Vec<OwnedFd>,
        announced: usize,
    ) {
        let Some(worker) = self.crew.get(&id).map(|child| child.worker(id)) else { return };
        let message = Message::received(bytes, fds, announced, None);
        if message.lost_fds() > 0 {
            self.once(id, &format!("{announced} descriptors that worker {id} has sent did not arrive: the master is out of them (`ulimit -n`)"));
        }
        let event = match purpose {
            Purpose::Plain => Event::Message { worker, message },
            Purpose::Reply(request) if self.mail.requests.end(request, id) => {
                Event::Reply { request, result: Ok(message) }
            }
            Purpose::Reply(request) => {
                return log::debug!(target: TARGET, "{worker} replies to request {request}, for which nobody waits (any more)");
            }
            Purpose::Request(_) => return self.garbled(id, "a request, which only a master makes"),
        };
        match self.supervisor.handle_said(now, id) {
            Heard::Nobody => {}
            Heard::AtOnce | Heard::Behind => self.announce(event),
        }
    }

    fn announce(&mut self, event: Event) {
        self.events.expect(&event);
        self.supervisor.announce(event);
    }

    /// Requests whose time is over.
    pub(super) fn end_requests(&mut self, now: Instant) {
        while let Some((request, worker)) = self.mail.requests.overdue(now) {
            let error =
                Error::new(Kind::TimedOut, format!("worker {worker} has not replied to request {request} in time"));
            self.supervisor.announce(Event::Reply { request, result: Err(error) });
        }
    }

    /// Nothing comes from this worker any more.
    pub(super) fn forsake_requests(&mut self, worker: WorkerId) {
        for request in self.mail.requests.worker_left(worker) {
            let error =
                Error::new(Kind::Gone, format!("worker {worker} has ended without a reply to request {request}"));
            self.supervisor.announce(Event::Reply { request, result: Err(error) });
        }
    }

    /// The program has so much to take that workers must wait.
    pub(super) fn is_laden(&self) -> bool {
        self.events.weight() >= LADEN
    }
}

/// What an event takes of the master's memory, and of its descriptors.
pub(super) fn weight(event: &Event) -> usize {
    match event {
        Event::Message { message, .. } | Event::Reply { result: Ok(message), .. } => message.weight(),
        Event::Fork(_) | Event::ForkFailed { .. } | Event::Online(_) | Event::Listening { .. } | Event::Ready(_) => 0,
        Event::AllReady { .. } | Event::Reply { result: Err(_), .. } | Event::Writable(_) | Event::Disconnect(_) => 0,
        Event::RolloutStarted(_) | Event::RolloutEnded { .. } | Event::Hung { .. } | Event::Recovered { .. } => 0,
        Event::Exit { .. } | Event::Backoff { .. } | Event::Stranger { .. } | Event::Stopping(_) => 0,
    }
}
