//! Turns: how a program drives the master, by its own loop or by the master's.
//!
//! The descriptor must be readable while there is something to take. The bell that makes it so is rung when control
//! goes back to the program with events in the queue, not when they are queued, and only if the program has ever asked
//! for the descriptor: one that waits and takes what comes pays no system call for it.

use std::time::{Duration, Instant};

use super::{End, Master, TARGET, reactor::Ready};
use crate::{error::Result, event::Event};

impl Master {
    /// Does everything that is due, without blocking. Call it whenever the descriptor is readable; then take all
    /// events.
    ///
    /// **Errors**: once the cluster has ended and all events were taken, the reason, once: no worker ever became ready
    /// ([`is_never_ready`](crate::Error::is_never_ready)), restarting was given up ([`is_gave_up`](crate::Error::is_gave_up)),
    /// workers that may not be restarted ended badly. Before that, only if the operating system refuses the master's
    /// own descriptors.
    ///
    /// ```no_run
    /// use mio_cluster::{Cluster, mio::{Events, Interest, Poll, Token}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut master = Cluster::new().listen("127.0.0.1:0").start(|mut worker| worker.listen().map(drop))?;
    /// let mut poll = Poll::new()?;
    /// poll.registry().register(&mut master, Token(0), Interest::READABLE)?;
    /// let mut events = Events::with_capacity(8);
    /// while !master.is_finished() {
    ///     poll.poll(&mut events, None)?; // beside the program's own sources
    ///     master.dispatch()?;
    ///     while let Some(event) = master.next_event() {
    ///         println!("{}", event.to_json());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn dispatch(&mut self) -> Result<()> {
        self.check_process()?;
        self.unfinished = true;
        for _ in 0..ROUNDS {
            let ready = self.reactor.ready()?;
            let idle = ready.iter().all(|ready| *ready == Ready::Turn);
            self.turn(&ready)?;
            if self.is_laden() {
                break;
            }
            if idle {
                self.unfinished = false;
                break;
            }
        }
        self.ring()?;
        self.result()
    }

    /// The next event. Take all of them after [`dispatch`](Self::dispatch) and after every command: the descriptor
    /// stays readable until then, and a cluster without workers ends when there is none left to take.
    pub fn next_event(&mut self) -> Option<Event> {
        if self.events.is_empty() && self.check_process().is_err() {
            return None;
        }
        let event = self.take_event();
        if event.is_some() {
            return event;
        }
        if std::mem::take(&mut self.unfinished) {
            self.reactor.poke();
        } else if let Err(error) = self.ring() {
            log::error!(target: TARGET, "{error:#}");
        }
        None
    }

    /// Blocks until there is an event, and returns it. `Ok(None)`: the time is over, or the cluster has ended (see
    /// [`is_finished`](Self::is_finished)); without a timeout it can only be the latter.
    ///
    /// **Errors**: as [`dispatch`](Self::dispatch).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Event>> {
        if let Some(event) = self.pop_event() {
            self.ring()?;
            return Ok(Some(event));
        }
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.check_process()?;
            if let Some(event) = self.take_event() {
                self.ring()?;
                return Ok(Some(event));
            }
            if self.is_finished() {
                return self.result().map(|()| None);
            }
            self.unfinished = false;
            self.ring()?;
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let ready = self.reactor.wait(left)?;
            self.turn(&ready)?;
            if left.is_some_and(|left| left.is_zero()) && self.events.is_empty() {
                return self.result().map(|()| None);
            }
        }
    }

    /// Everything that follows from what is ready, and from the time.
    fn turn(&mut self, ready: &[Ready]) -> Result<()> {
        self.take_in(Instant::now(), ready)?;
        // The program's hook of a rollout takes its time.
        let now = Instant::now();
        self.catch_up(now)?;
        self.look(now);
        self.supervisor.handle_timeout(now);
        self.end_requests(now);
        self.send_due();
        self.act(now)
    }

    /// A master that was stopped, or did not run for another reason, hears what was said meanwhile before it acts on
    /// deadlines that have passed: a stop ends a wait with nothing, or comes right behind it.
    fn catch_up(&mut self, now: Instant) -> Result<()> {
        for _ in 0..ROUNDS {
            if !self.reactor.is_late(now) || self.is_laden() {
                break;
            }
            let ready = self.reactor.ready()?;
            if ready.iter().all(|ready| *ready == Ready::Turn) {
                break;
            }
            self.take_in(now, &ready)?;
        }
        Ok(())
    }

    fn pop_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// When there is none left, the program has said what it had to say, and a cluster without workers ends.
    fn take_event(&mut self) -> Option<Event> {
        let event = self.pop_event();
        if event.is_some() {
            return event;
        }
        self.end_turn();
        self.supervisor.handle_idle();
        if let Err(error) = self.act(Instant::now()) {
            log::error!(target: TARGET, "{error:#}");
        }
        None
    }

    /// For events, and for an error that `dispatch` is to return. A program that has never asked for the descriptor
    /// does not wait for it.
    pub(super) fn ring(&self) -> Result<()> {
        let awaited = !self.events.is_empty() || matches!(self.end, End::Result(Err(_)));
        if self.is_watched.get() { self.reactor.ring(awaited) } else { Ok(()) }
    }

    /// The cluster's result, once.
    fn result(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.end, End::Told) {
            End::NotYet => {
                self.end = End::NotYet;
                Ok(())
            }
            End::Result(result) => result,
            End::Told => Ok(()),
        }
    }
}

/// Turns per `dispatch`, so that a flood from workers cannot keep the program's loop. If more is left the descriptor is
/// made readable anew once the events are taken: an edge-triggered loop would not come back by itself.
const ROUNDS: usize = 64;
