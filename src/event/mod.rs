//! What comes out: the events of the master and of a worker, and the values inside them.
//!
//! Events are owned values that the program pulls; nothing here is ever called back.

mod address;
mod endpoint;
mod json;
mod message;
mod rollout;
mod status;

use std::{
    fmt,
    time::{Duration, Instant},
};

pub use address::Address;
pub(crate) use endpoint::Endpoint;
pub(crate) use message::LADEN;
pub use message::Message;
pub use rollout::RolloutResult;
pub use status::ExitStatus;

use crate::{
    error::{Error, Result},
    id::{RequestId, RolloutId, Slot, WorkerId},
};

/// What happened in the cluster; pulled with [`Master::next_event`](crate::Master::next_event) or
/// [`Master::wait`](crate::Master::wait), or handed to the closure of [`Cluster::run_with`](crate::Cluster::run_with).
///
/// **Order** per worker: `Fork` < `Online` < `Listening`* < `Ready` < `Disconnect` < `Exit`; `Listening` at an address
/// that was added while the worker ran may come after `Ready`. A worker that dies early skips steps, but the last two
/// come exactly once for every `Fork`. What it sends comes between `Online` and `Disconnect`, in its order, its
/// messages among its steps; what has left it before it died comes, too. Each [`request`](crate::Master::request) to it
/// has had its `Reply` by `Disconnect`.
///
/// ```no_run
/// use mio_cluster::{Cluster, Event};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// Cluster::new().listen("127.0.0.1:0").run_with(
///     |mut worker| worker.listen().map(drop),
///     |_master, event| match event {
///         Event::Exit { worker, status, .. } => println!("slot {} {status}", worker.slot),
///         other => println!("{}", other.to_json()),
///     },
/// )
/// # }
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum Event {
    /// A process was forked for the slot.
    Fork(WorkerRef),
    /// A process could not be forked; the slot tries again by itself. The error says why and what to do.
    ForkFailed {
        /// The slot that stays empty for now.
        slot: Slot,
        /// The id that the worker would have had.
        id: WorkerId,
        /// Why.
        error: Error,
    },
    /// The process runs worker code.
    Online(WorkerRef),
    /// The worker's socket at one address takes connections.
    Listening {
        /// Whose.
        worker: WorkerRef,
        /// Where; port 0 has become the real port.
        address: Address,
    },
    /// The worker may be counted on, see [`ReadyWhen`](crate::ReadyWhen).
    Ready(WorkerRef),
    /// Every slot of the start has a ready worker; comes once. Not with [`Cluster::manual`](crate::Cluster::manual).
    AllReady {
        /// The master's process id.
        pid: u32,
        /// The cluster's addresses, in the order of the builder.
        addresses: Vec<Address>,
        /// How many workers were started.
        workers: usize,
    },
    /// The worker has sent something.
    Message {
        /// Who.
        worker: WorkerRef,
        /// What.
        message: Message,
    },
    /// What has become of a [`request`](crate::Master::request); exactly once for each.
    Reply {
        /// Which one.
        request: RequestId,
        /// The reply; or that it did not come in time ([`is_timed_out`](Error::is_timed_out)), or that the worker has
        /// ended ([`is_gone`](Error::is_gone)).
        result: Result<Message>,
    },
    /// There is room again for messages to this worker, after it has refused one
    /// ([`is_would_block`](Error::is_would_block)).
    Writable(WorkerRef),
    /// The worker's channel closed, whatever the reason.
    Disconnect(WorkerRef),
    /// The process has ended and was reaped.
    Exit {
        /// Who.
        worker: WorkerRef,
        /// How.
        status: ExitStatus,
        /// On whose account.
        cause: Cause,
        /// From fork to end.
        uptime: Duration,
    },
    /// The slot stays empty for a while: its workers die too fast, or did not start.
    Backoff {
        /// Which slot.
        slot: Slot,
        /// Until the next attempt.
        delay: Duration,
        /// Failed starts and too early deaths in a row that were answered by a delay, this one included.
        deaths: u32,
    },
    /// The worker hangs: it has been in one and the same turn of its loop for this long, or has not come for clients who
    /// wait at its door. Siblings accept them, and newcomers go past it. What follows: [`Hang`](crate::Hang).
    Hung {
        /// Who.
        worker: WorkerRef,
        /// For how long the watch has seen it so.
        since: Duration,
    },
    /// The worker that [hung](Self::Hung) goes on.
    Recovered {
        /// Who.
        worker: WorkerRef,
        /// For how long it hung.
        after: Duration,
    },
    /// A rolling restart begins, by [`Master::rollout`](crate::Master::rollout) or SIGHUP.
    RolloutStarted(RolloutId),
    /// What has become of a rolling restart; exactly once for each that was asked for, whether it began or not.
    RolloutEnded {
        /// Which one.
        id: RolloutId,
        /// What.
        result: RolloutResult,
    },
    /// Another program, of the same user, listens at this address as well (with SO_REUSEPORT; nothing else is let in)
    /// and takes a share of the connections. Told once per address; what it means for workers that leave:
    /// [`Balance::Auto`](crate::Balance::Auto).
    Stranger {
        /// Where.
        address: Address,
    },
    /// The cluster stops; no worker is forked any more.
    Stopping(Shutdown),
}

/// Which worker an event is about. `Display` is `worker 1 (slot 0, pid 4242)`.
///
/// ```
/// use mio_cluster::{Event, WorkerRef};
///
/// fn newcomer(event: &Event) -> Option<WorkerRef> {
///     if let Event::Ready(worker) = event { Some(*worker) } else { None }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WorkerRef {
    /// Its stable place.
    pub slot: Slot,
    /// The process, never reused.
    pub id: WorkerId,
    /// The process id of the operating system, which does reuse it.
    pub pid: u32,
}

impl fmt::Display for WorkerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} (slot {}, pid {})", self.id, self.slot, self.pid)
    }
}

/// On whose account a worker ended.
///
/// ```
/// use mio_cluster::Cause;
///
/// assert!(Cause::Asked.asked());
/// assert!(!Cause::Killed.asked()); // so a program that forks by hand forks a replacement
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Its own: it returned, crashed, or somebody outside the cluster killed it.
    Own,
    /// It was asked to leave, or left by [`Worker::disconnect`](crate::Worker::disconnect), or the cluster stopped.
    Asked,
    /// A successor took its place; or it was a successor, and its rollout was aborted.
    Rollout,
    /// The number of workers was reduced.
    Scaled,
    /// It had served for long enough, and a successor took its place (see [`Recycle`](crate::Recycle)); or it was such
    /// a successor, and was not needed.
    Recycled,
    /// It hung and was killed.
    Hung,
    /// It missed the ready deadline and was killed.
    NotReady,
    /// The program killed it with [`Master::kill`](crate::Master::kill).
    Killed,
}

impl Cause {
    /// The end was wanted by the cluster, so nothing has to be done about it.
    #[doc(alias = "exitedAfterDisconnect")]
    pub fn asked(&self) -> bool {
        match self {
            Cause::Asked | Cause::Rollout | Cause::Scaled | Cause::Recycled => true,
            Cause::Own | Cause::Hung | Cause::NotReady | Cause::Killed => false,
        }
    }
}

/// How a cluster stops.
///
/// ```
/// use mio_cluster::{Master, Shutdown};
///
/// fn patience_is_over(master: &mut Master) {
///     master.shutdown(Shutdown::Now); // also after `Shutdown::Drain`
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shutdown {
    /// Workers take no new connections, finish those they have accepted, and exit; then the deadlines.
    Drain,
    /// SIGKILL to every worker.
    Now,
}

/// One worker, as [`Master::workers`](crate::Master::workers) lists it.
///
/// ```
/// use mio_cluster::{Master, State};
///
/// fn ready(master: &Master) -> usize {
///     master.workers().filter(|worker| worker.state == State::Ready).count()
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerInfo {
    /// Its stable place.
    pub slot: Slot,
    /// The process.
    pub id: WorkerId,
    /// The process id of the operating system.
    pub pid: u32,
    /// What it is doing.
    pub state: State,
    /// When it began doing that.
    pub since: Instant,
}

/// What a worker is doing.
///
/// ```
/// use mio_cluster::{Master, State};
///
/// fn live(master: &Master) -> usize {
///     master.workers().filter(|worker| worker.state.is_alive()).count()
/// }
///
/// fn leaving(master: &Master) -> usize {
///     master.workers().filter(|worker| worker.state == State::Draining).count()
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Forked, not heard of yet.
    Starting,
    /// It runs worker code.
    Online,
    /// It takes connections at one address at least, and is not ready yet: not at all of them, or it has not said so
    /// ([`ReadyWhen`](crate::ReadyWhen)).
    Listening,
    /// It may be counted on.
    Ready,
    /// It was asked to leave, or is being ended.
    Draining,
    /// It has ended by itself, and its slot has no other worker yet: that one waits for a back-off or for the master's
    /// threads to end, or there is to be none. Somebody else may have its process id by now.
    Exited,
}

impl State {
    /// There is a process.
    #[doc(alias = "isDead")]
    pub fn is_alive(&self) -> bool {
        match self {
            State::Starting | State::Online | State::Listening | State::Ready | State::Draining => true,
            State::Exited => false,
        }
    }
}

/// What a worker hears from its master; pulled with [`Worker::next_event`](crate::Worker::next_event), and handed to
/// [`Service::event`](crate::Service::event) in the managed loop.
///
/// **Order**: as the master has said it; `Drain` comes once at most, and messages after it, too. Take all events: while
/// 4 MiB of messages wait here, no more are read.
///
/// ```
/// use mio_cluster::{Result, Worker, WorkerEvent};
///
/// fn listen_to_the_master(worker: &mut Worker) -> Result<()> {
///     while let Some(event) = worker.next_event() {
///         match event {
///             WorkerEvent::Drain { within } => println!("to be finished within {within:?}"),
///             WorkerEvent::Message(message) => match message.wants_reply() {
///                 Some(request) => worker.reply(request, "understood")?,
///                 None => println!("{}", String::from_utf8_lossy(&message.bytes)),
///             },
///             WorkerEvent::ReopenLogs => { /* … */ }
///             _ => {}
///         }
///     }
///     Ok(())
/// }
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum WorkerEvent {
    /// Take no new connections, finish those accepted, and return.
    Drain {
        /// After this the master sends SIGTERM, later SIGKILL. It comes again if it becomes less: the cluster stops while
        /// the worker finishes long-lived connections.
        within: Duration,
    },
    /// The master has sent something. If it [wants a reply](Message::wants_reply), answer by
    /// [`Worker::reply`](crate::Worker::reply).
    Message(Message),
    /// There is room again for messages to the master, after it has refused one
    /// ([`is_would_block`](Error::is_would_block)).
    Writable,
    /// Open log files anew: they were rotated.
    ReopenLogs,
    /// The cluster has one address more, of this name, by [`Master::add_address`](crate::Master::add_address). Listen
    /// there by [`Worker::listen_on`](crate::Worker::listen_on) or [`Worker::unix_on`](crate::Worker::unix_on), if this
    /// worker is to. In [`Worker::serve`](crate::Worker::serve) it listens already.
    AddressAdded(String),
    /// The cluster has one address less, by [`Master::remove_address`](crate::Master::remove_address). A listener there
    /// accepts whoever waits, then says `WouldBlock` for ever: drop it. The master shuts what is left a second later.
    AddressRemoved(String),
    /// The master's end of the channel is closed. With fork the worker is killed along with its master, so this is
    /// seldom seen.
    MasterGone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_decoded_from_the_raw_number() {
        assert_eq!(ExitStatus::from_wait_status(7 << 8).code(), Some(7));
        assert!(ExitStatus::from_wait_status(0).success());
        let killed = ExitStatus::from_wait_status(0x80 | 11);
        assert_eq!(killed.to_string(), "was killed by SIGSEGV (core dumped)");
        assert_eq!(ExitStatus::from_wait_status(37).to_string(), "was killed by SIGRTMIN+3");
        assert_eq!((ExitStatus::unknown().code(), ExitStatus::unknown().signal()), (None, None));
    }
}
