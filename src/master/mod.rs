//! The master: thin I/O around the [supervisor](crate::supervisor).
//!
//! A turn: ask the [reactor] what is ready, read the clock once, turn what is ready into inputs ([`inputs`]), let time
//! pass, perform the supervisor's actions ([`actions`]) until there are none. It never touches a connection, never
//! waits for a child by any other number than its own, and never runs the program's code inside a turn, but for the
//! `before_fork` hook.

mod actions;
mod addresses;
mod crew;
mod custody;
mod inputs;
mod messages;
mod queue;
mod reactor;
mod recycling;
mod report;
mod requests;
mod rollouts;
mod sacrifice;
mod signals;
mod turns;
mod watch;

use std::{
    cell::Cell,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant, SystemTime},
};

use self::{
    crew::Crew,
    custody::Custody,
    messages::Mail,
    queue::Queue,
    reactor::{Reactor, Ready},
    report::Report,
    rollouts::Reload,
    sacrifice::Sacrifice,
    signals::Signals,
};
use crate::{
    birth::Launch,
    channel::Buffer,
    config::{Settings, Wanted},
    error::{Error, Kind, Result},
    event::{Address, Shutdown, WorkerInfo},
    id::{Signal, Slot, WorkerId},
    net::Ports,
    pollable::pollable,
    role,
    scoreboard::{Scoreboard, Seats},
    supervisor::Supervisor,
    sys::fork,
};

/// The master's side of a running cluster: forks, watches and replaces the workers.
///
/// A program with a loop of its own registers the master there (it is **one** descriptor: deadlines and queued events
/// make it readable too), calls [`dispatch`](Self::dispatch) when it is readable, and takes all events with
/// [`next_event`](Self::next_event). A program without a loop calls [`wait`](Self::wait).
///
/// Commands act before they return; what they cause is queued as events.
///
/// **Forks happen inside these calls**, the commands and [`next_event`](Self::next_event) included, and a worker lives
/// and ends inside the call that forked it. So a lock or a `RefCell` borrow that the caller holds is held in the worker
/// for ever: hold none that the worker function needs, stdin's for example.
///
/// **A master that blocks** in code of its own replaces nobody meanwhile, and keeps workers waiting that are inside
/// [`Worker::listen`](crate::Worker::listen): they need its go-ahead. What takes long belongs into a worker.
///
/// It is not `Send`: workers are told of their master's death by the end of the *thread* that forked them. Dropping it
/// kills and reaps every worker, in the process that made it.
///
/// ```no_run
/// use mio_cluster::{Cluster, Event};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// let mut master = Cluster::new().listen("127.0.0.1:0").workers(2).start(|mut worker| worker.listen().map(drop))?;
/// println!("serving {}", master.addresses()[0]);
/// while let Some(event) = master.wait(None)? {
///     println!("{}", event.to_json());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Master {
    supervisor: Supervisor,
    crew: Crew,
    reactor: Reactor,
    signals: Option<Signals>,
    ports: Ports,
    custody: Custody,
    seats: Seats,
    /// The doors are watched, and the workers wake the watch.
    dozes: bool,
    buffer: Buffer,
    events: Queue,
    mail: Mail,
    /// The program has asked for the descriptor.
    is_watched: Cell<bool>,
    /// The last `dispatch` stopped before all was done.
    unfinished: bool,
    end: End,
    launch: Option<Launch>,
    before_fork: Option<BeforeFork>,
    reload: Reload,
    sacrifice: Sacrifice,
    /// When a fork was last refused because of threads, and how many ran.
    threads_seen: Option<(Instant, usize)>,
    drain_timeout: Duration,
    report: Report,
    process: u32,
    not_send: PhantomData<*const ()>,
}

pub(crate) use self::rollouts::OnReload;

/// The program's hook, called with the slot before each fork.
pub(crate) type BeforeFork = Box<dyn FnMut(Slot)>;

/// All that a master is made of.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) addresses: Vec<Wanted>,
    pub(crate) signals: bool,
    pub(crate) launch: Launch,
    pub(crate) before_fork: Option<BeforeFork>,
    pub(crate) on_reload: Option<OnReload>,
}

enum End {
    NotYet,
    /// The result was not yet returned.
    Result(Result<()>),
    Told,
}

impl Master {
    pub(crate) fn start(plan: Plan) -> Result<Self> {
        let Plan { settings, addresses, signals, launch, before_fork, on_reload } = plan;
        let now = Instant::now();
        actions::only_thread("start")?;
        actions::kernel_suffices()?;
        let ports = Ports::claim(addresses)?;
        let seats = seats(&settings, &ports)?;
        let reactor = watching(&seats)?;
        let signals = if signals { Some(Signals::own(&reactor)?) } else { None };
        let report = Report::begin(now, &settings, signals.is_some(), ports.addresses());
        role::become_master();
        let (process, drain_timeout, rollout) = (std::process::id(), settings.drain_timeout, settings.rollout);
        let custody = Custody::new(settings.keep_listeners, settings.balance);
        let mut master = Self {
            supervisor: Supervisor::new(settings, process, ports.addresses().to_vec(), seed()),
            crew: Crew::new(),
            reactor,
            signals,
            ports,
            custody,
            seats,
            dozes: false,
            buffer: Buffer::default(),
            events: Queue::default(),
            mail: Mail::new(),
            is_watched: Cell::new(false),
            unfinished: false,
            end: End::NotYet,
            launch: Some(launch),
            before_fork,
            reload: Reload::new(on_reload, rollout),
            sacrifice: Sacrifice::open(),
            threads_seen: None,
            drain_timeout,
            report,
            process,
            not_send: PhantomData,
        };
        master.supervisor.handle_start(now);
        master.act_at_once(now)?;
        Ok(master)
    }

    /// The cluster has ended: no worker lives and none will be forked.
    pub fn is_finished(&self) -> bool {
        !matches!(self.end, End::NotYet)
    }

    /// Forks one more worker, in the lowest free slot; if that slot is backing off, when its delay is over. Never
    /// returns in the child.
    ///
    /// **Errors**: the process runs a second thread ([`is_threads_running`](Error::is_threads_running)); the cluster is
    /// stopping; all slots of [`max_workers`](crate::Cluster::max_workers) are taken. A fork that the system refuses is
    /// an [`Event::ForkFailed`](crate::Event::ForkFailed), and tried again.
    pub fn fork(&mut self) -> Result<WorkerId> {
        actions::only_thread("fork")?;
        let now = Instant::now();
        let id = self.supervisor.handle_fork(now)?;
        self.act_at_once(now)?;
        Ok(id)
    }

    /// Sends a signal. If the worker ends by it, the cause is [`Cause::Killed`](crate::Cause::Killed) and the restart
    /// rules apply.
    ///
    /// **Errors**: no such worker ([`is_gone`](Error::is_gone)); no such signal.
    pub fn kill(&mut self, id: WorkerId, signal: Signal) -> Result<()> {
        if !(1..=64).contains(&signal.as_raw()) {
            return Err(Error::new(
                Kind::InvalidConfig,
                format!("kill: there is no signal {}, only 1 to 64", signal.as_raw()),
            ));
        }
        let now = Instant::now();
        self.supervisor.handle_kill(now, id, signal)?;
        self.act_at_once(now)
    }

    /// Asks one worker to finish and leave; it is not replaced. After `drain_timeout` it gets SIGTERM, after
    /// `terminate_timeout` SIGKILL. Nothing changes if it is leaving already.
    ///
    /// **Errors**: no such worker ([`is_gone`](Error::is_gone)).
    pub fn disconnect(&mut self, id: WorkerId) -> Result<()> {
        let now = Instant::now();
        self.supervisor.handle_drain(now, id)?;
        self.act_at_once(now)
    }

    /// Stops the cluster: all workers in parallel. `Now` may follow `Drain`. Done when
    /// [`is_finished`](Self::is_finished).
    pub fn shutdown(&mut self, how: Shutdown) {
        let now = Instant::now();
        self.supervisor.handle_stop(now, how, None);
        if let Err(error) = self.act_at_once(now) {
            log::error!(target: TARGET, "{error:#}");
        }
    }

    /// The cluster's addresses with their real ports, in the order of the builder; those that were
    /// [added](Self::add_address) later come behind, those that were removed are gone.
    pub fn addresses(&self) -> &[Address] {
        self.ports.addresses()
    }

    /// The workers in slot order: those that live (in a rollout a slot has two of them, and more while old ones finish),
    /// and [`State::Exited`](crate::State::Exited) for a
    /// slot whose worker has ended by itself and which is empty since. A slot that was left as asked is not listed.
    pub fn workers(&self) -> impl Iterator<Item = WorkerInfo> + '_ {
        self.supervisor.workers()
    }

    /// What the workers are doing and have done. It may be kept, cloned and read on any thread.
    pub fn scoreboard(&self) -> Scoreboard {
        self.seats.scoreboard()
    }

    /// The worker function may have captured this value: its descriptors are closed in that process.
    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(Error::new(Kind::Gone, format!("this master belongs to process {}, not to this one", self.process)))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            for child in std::mem::take(&mut self.crew).into_values() {
                child.kill_and_reap();
                // The program may still read the scoreboard.
                self.seats.give_back(child.into_seat());
            }
            self.shut_all();
        }
        // Workers run copies of it; whatever it captured was never the master's to end.
        std::mem::forget(self.launch.take());
    }
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Master")
            .field("addresses", &self.ports.addresses())
            .field("workers", &self.crew.len())
            .finish_non_exhaustive()
    }
}

impl AsFd for Master {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if !self.is_watched.replace(true) {
            if let Err(error) = self.ring() {
                log::error!(target: TARGET, "{error:#}");
            }
        }
        self.reactor.as_fd()
    }
}

pollable!(Master);

fn seats(settings: &Settings, ports: &Ports) -> Result<Seats> {
    let seats = Seats::new(settings.slots(), settings.processes(), ports.addresses());
    seats.map_err(|error| Error::system("making the scoreboard", error))
}

/// The workers wake it while the watch dozes.
fn watching(seats: &Seats) -> Result<Reactor> {
    let reactor = Reactor::new()?;
    let watched = reactor.add(seats.watch(), Ready::Stirred);
    watched.map_err(|error| Error::system("watching the scoreboard", error))?;
    Ok(reactor)
}

/// Different in every master, so that two clusters of one machine do not back off in step.
fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32)
}

pub(crate) const TARGET: &str = "mio_cluster::master";
