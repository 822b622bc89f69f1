//! The worker: what runs after the fork.
//!
//! [`boot`] prepares the process and ends it; [`Worker`] is what the program's function gets; a [`Listener`] is a
//! socket for the program's own loop; [`control`] is the channel behind both.

#[cfg(feature = "tokio")]
mod asynchronous;
mod bell;
pub(crate) mod boot;
mod control;
mod exit;
mod handle;
mod hearing;
mod leaving;
mod link;
mod listen;
mod listener;
mod loans;
mod messages;
mod name;
mod pin;
mod places;
mod sockets;
mod word;

use std::{
    cell::Cell,
    fmt, io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use self::messages::Voice;
use self::{
    bell::{Bell, Wake},
    control::Control,
    places::Places,
};
pub use self::{
    exit::WorkerExit,
    handle::WorkerHandle,
    listener::{Listener, UnixListener},
};
use crate::{
    birth::Birth,
    config::{Bind, Wanted},
    error::{Error, Result},
    event::{Address, WorkerEvent},
    id::{Slot, WorkerId},
    net::Ports,
    pollable::pollable,
    scoreboard::{LAYOUT, Row, Seat},
    sys::owned::Owned,
    wire::Frame,
};

/// One worker process, as its function sees it.
///
/// Order of use: [`listen`](Self::listen) (or [`ready`](Self::ready) for a worker without addresses that asked for
/// [`ReadyWhen::Told`](crate::ReadyWhen::Told)), then a loop: [`poll`](Self::poll), look at
/// [`is_draining`](Self::is_draining), accept and serve, and return when all that was accepted is finished. Returning
/// ends the process.
///
/// **Privileges**: `listen()` first, then give them up, then the loop. Giving them up clears the signal that ends a
/// worker along with its master; the first use of the worker or of a listener afterwards sets it again.
///
/// **A cluster inside a worker** works, but the outer stop cannot ask such a worker: it gets SIGTERM at once, which its
/// inner master takes as a request to stop, and SIGKILL after the outer `terminate_timeout`.
///
/// It can be moved to another thread, but not shared. The channel to the master lives as long as it and its listeners.
///
/// **Signals**: SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTTIN and SIGTTOU do nothing here (a terminal sends them
/// to the whole group, but the master decides); SIGTERM asks a worker that looks at `is_draining` or `next_event`, or
/// waits in [`accept_blocking`](Listener::accept_blocking), to drain and ends any other. It goes on as before until the
/// master has said what becomes of its sockets, for half a second at most: a service manager tells master and workers
/// at once, and the machine may be slow to run the master. What the function installs itself wins.
///
/// **Its place in the system**: it is called `w0 server` where the master is called `server` (0: the slot), as `ps -o
/// comm` and `top` show, so `killall server` means the master; and its `oom_score_adj` is 100 above the master's, so
/// that the kernel, when memory runs out, ends a worker, which is replaced, and not the master. Programs that it starts
/// inherit the latter.
///
/// **Descriptors**: it has a copy of everything that the program had opened at the fork, unless it was told to
/// [close what it inherits](crate::Cluster::close_inherited). Those of stdin, stdout and stderr that the program has
/// closed are /dev/null here.
///
/// ```no_run
/// use std::time::Duration;
/// use mio_cluster::{Cluster, Worker, WorkerEvent};
///
/// // A worker without an address: it computes, and looks now and then whether it is to leave.
/// fn compute(mut worker: Worker) -> Result<(), mio_cluster::Error> {
///     while !worker.is_draining() {
///         // … a piece of work …
///         worker.dispatch()?;
///         while let Some(event) = worker.next_event() {
///             match event {
///                 WorkerEvent::ReopenLogs => { /* … */ }
///                 WorkerEvent::Drain { within } => println!("worker {} has {within:?} left", worker.id()),
///                 _ => {}
///             }
///         }
///     }
///     Ok(())
/// }
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// Cluster::new().workers(2).drain_timeout(Duration::from_secs(5)).run(compute)
/// # }
/// ```
pub struct Worker {
    id: WorkerId,
    slot: Slot,
    owner: u32,
    places: Places,
    /// Sockets that were there before this worker asked for one, by the place of their address.
    inherited: Vec<(usize, Owned)>,
    control: Arc<Control>,
    #[cfg(feature = "tokio")]
    registration: asynchronous::Registration,
    not_sync: PhantomData<Cell<()>>,
}

impl Worker {
    fn forked(mut birth: Birth, wake: Wake) -> Result<Self> {
        let (slot, id, owner, inherited) = (birth.slot, birth.id, birth.owner, std::mem::take(&mut birth.doors));
        let binds = Arc::clone(&birth.binds);
        let control = Arc::new(Control::forked(birth, wake)?);
        control.send(&Frame::hello(LAYOUT, std::process::id()))?;
        Ok(Self::new(slot, id, owner, &binds, inherited, control))
    }

    /// A worker without a fork and without a master, see [`Cluster::standalone`](crate::Cluster::standalone).
    pub(crate) fn standalone(wanted: Vec<Wanted>, drain_timeout: Duration) -> Result<Self> {
        let claims = Ports::claim(wanted)?;
        let (binds, owner) = (Arc::clone(claims.binds()), claims.owner());
        let mut inherited = claims.duplicates()?;
        for (place, bind) in binds.iter().flatten().enumerate().filter(|(_, bind)| !bind.shared) {
            inherited.push((place, listen::open(bind, owner)?));
        }
        let (slot, id) = (Slot::from_index(0), WorkerId::FIRST);
        let seat = Seat::alone(slot, id, binds.len());
        let seat = seat.map_err(|error| Error::system("making the scoreboard", error))?;
        let control = Arc::new(Control::standalone(claims, seat, drain_timeout, Bell::wake()?)?);
        Ok(Self::new(slot, id, owner, &binds, inherited, control))
    }

    fn new(
        slot: Slot,
        id: WorkerId,
        owner: u32,
        binds: &[Option<Bind>],
        inherited: Vec<(usize, Owned)>,
        control: Arc<Control>,
    ) -> Self {
        Self {
            id,
            slot,
            owner,
            places: Places::new(binds),
            inherited,
            control,
            #[cfg(feature = "tokio")]
            registration: asynchronous::Registration::default(),
            not_sync: PhantomData,
        }
    }

    /// This process: 1, 2, 3 …, never reused.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The stable place that this process fills.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The cluster's addresses with their names and real ports, in the order of the builder. Those that the master
    /// [adds](crate::Master::add_address) and [removes](crate::Master::remove_address) come and go, at the latest by
    /// the time that [`next_event`](Self::next_event) tells of them.
    pub fn addresses(&self) -> &[Address] {
        self.places.addresses()
    }

    /// Listens on the cluster's only address, an IP address; [`unix`](Self::unix) is for the others.
    ///
    /// Binds now, or takes over the socket of the worker that this one replaces, and waits for the master's go-ahead, a
    /// fraction of a millisecond; when it returns, connections are taken.
    ///
    /// **Errors**: the cluster has no address, or several (the error lists their names, see
    /// [`listen_on`](Self::listen_on)), or a Unix-domain one; this worker listens there already; binding fails, for
    /// example after giving up privileges; the master is gone.
    pub fn listen(&mut self) -> Result<Listener> {
        self.follow_changes();
        let index = self.only_address("listen", "listen_on")?;
        self.listen_at(index)
    }

    /// Listens on the address with this name, see [`Listen::name`](crate::Listen::name).
    ///
    /// **Errors**: there is no such name (the error lists those that exist), and as [`listen`](Self::listen).
    pub fn listen_on(&mut self, name: &str) -> Result<Listener> {
        self.follow_changes();
        let index = self.address_called("listen_on", name)?;
        self.listen_at(index)
    }

    /// Listens on the cluster's only address, a Unix-domain one: takes part in accepting on the socket that all workers
    /// share.
    ///
    /// **Errors**: the cluster has no address, or several (the error lists their names, see
    /// [`unix_on`](Self::unix_on)), or an IP address; this worker listens there already; the master is gone; no
    /// descriptor is left.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use mio_cluster::{Cluster, Listen};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("mio-cluster-doc-unix-{}", std::process::id()));
    /// let mut worker = Cluster::new().listen(Listen::unix(&path)).standalone()?;
    /// let listener = worker.unix()?;
    /// let _client = UnixStream::connect(&path)?;
    /// let (_connection, _peer) = listener.accept()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn unix(&mut self) -> Result<UnixListener> {
        self.follow_changes();
        let index = self.only_address("unix", "unix_on")?;
        self.unix_at(index)
    }

    /// As [`unix`](Self::unix), on the address with this name, see [`Listen::name`](crate::Listen::name).
    ///
    /// **Errors**: there is no such name (the error lists those that exist), and as [`unix`](Self::unix).
    pub fn unix_on(&mut self, name: &str) -> Result<UnixListener> {
        self.follow_changes();
        let index = self.address_called("unix_on", name)?;
        self.unix_at(index)
    }

    /// Tells the master that this worker may be counted on. Only needed with
    /// [`ReadyWhen::Told`](crate::ReadyWhen::Told).
    ///
    /// **Errors**: the master is gone.
    pub fn ready(&mut self) -> Result<()> {
        self.control.settle();
        self.control.send(&Frame::Ready)
    }

    /// Whether this worker is to finish what it has accepted and return. Costs four loads and no system call.
    ///
    /// Looking marks the worker as one that can be asked, as do [`next_event`](Self::next_event) and
    /// [`Listener::accept_blocking`]; a worker that does none of these gets SIGTERM instead.
    pub fn is_draining(&self) -> bool {
        self.control.settle();
        self.control.is_draining()
    }

    /// Whether it is to leave and has given up all sockets that the program took out of their listeners: accept until
    /// `WouldBlock` once more, then nobody else comes. See [`Listener::into_mio`], which has an example; a [`Listener`]
    /// looks after itself. Asking marks the worker as [`is_draining`](Self::is_draining) does.
    pub fn is_drained(&self) -> bool {
        self.is_draining() && !self.control.has_bare_sockets()
    }

    /// One turn of the program's loop: `poll.poll()`, then [`dispatch`](Self::dispatch) if there is anything to read.
    /// The [`Scoreboard`](crate::Scoreboard) shows the worker as busy from its return until the next call. So a program
    /// that has begun to call it goes on with that: a worker that waits elsewhere for long [hangs](crate::Hang), for all
    /// that the master can see.
    ///
    /// Returns without events when a signal interrupts the wait. For a drain to end the wait, a [`Listener`] or this
    /// worker must be registered in `poll`.
    ///
    /// **Errors**: those of `poll` and of `dispatch`.
    pub fn poll(
        &mut self,
        poll: &mut mio::Poll,
        events: &mut mio::Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.poll_busily(poll, events, timeout, Duration::ZERO).map(drop)
    }

    /// As `poll`; looks for events again and again for the time of `busy` before it sleeps. Returns when the wait was
    /// over, by the scoreboard's clock.
    pub(crate) fn poll_busily(
        &mut self,
        poll: &mut mio::Poll,
        events: &mut mio::Events,
        timeout: Option<Duration>,
        busy: Duration,
    ) -> io::Result<u64> {
        self.control.check_process()?;
        self.control.settle();
        self.control.remind();
        self.control.seat().idle();
        let polled = match look(poll, events, timeout.map_or(busy, |timeout| busy.min(timeout))) {
            Ok(()) if events.is_empty() => poll.poll(events, timeout.map(|timeout| timeout.saturating_sub(busy))),
            looked => looked,
        };
        let now = self.control.seat().busy();
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(error),
        }
        self.control.look(now)?;
        self.follow_changes();
        Ok(now)
    }

    /// Whether [`next_event`](Self::next_event) has something, for one relaxed load.
    pub(crate) fn has_events(&self) -> bool {
        self.control.has_events()
    }

    /// Reads what the master has sent; never blocks. Call it when this worker's descriptor is readable;
    /// [`poll`](Self::poll) does.
    ///
    /// **Errors**: the channel failed.
    pub fn dispatch(&mut self) -> Result<()> {
        self.control.settle();
        self.control.turn()?;
        self.follow_changes();
        Ok(())
    }

    /// The next thing that the master said and [`dispatch`](Self::dispatch) or [`poll`](Self::poll) has read; take all
    /// of them. Asking marks the worker as one that can be asked to drain.
    pub fn next_event(&mut self) -> Option<WorkerEvent> {
        self.control.settle();
        let event = self.control.next_event();
        self.follow_changes();
        event
    }

    /// This worker's line of the scoreboard, to count what only the program knows.
    pub fn row(&self) -> Row {
        Row::new(self.control.seat().share())
    }

    /// "I am leaving": counts as asked, so no replacement is forked. Go on as before: the master sees to it that nobody
    /// new comes to this worker, then asks it to drain ([`is_draining`](Self::is_draining) is true from then on, within
    /// about a second), and no client is refused for it. Without a master it is true at once. A worker that has nothing
    /// to finish may also return right away. For other threads there is [`handle`](Self::handle).
    ///
    /// **Errors**: the master is gone.
    pub fn disconnect(&mut self) -> Result<()> {
        self.control.disconnect()
    }

    /// A handle with which other threads can ask this worker to leave, and send to its master.
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(&self.control)
    }

    /// Whether clients of this address are accepted when they have sent something, see
    /// [`Listen::defer_accept`](crate::Listen::defer_accept).
    pub(crate) fn is_deferred(&self, index: usize) -> bool {
        self.places.bind(index).is_some_and(|bind| bind.defer_accept > 0)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("slot", &self.slot).field("id", &self.id).finish_non_exhaustive()
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // Who watches this descriptor wants what comes over it, even if a listener on another thread reads it first.
        self.control.expect_events();
        self.control.as_fd()
    }
}

pollable!(Worker);

/// Looks for events without sleeping, at least once if there is time at all.
fn look(poll: &mut mio::Poll, events: &mut mio::Events, time: Duration) -> io::Result<()> {
    events.clear();
    if time.is_zero() {
        return Ok(());
    }
    let start = Instant::now();
    while events.is_empty() && start.elapsed() < time {
        poll.poll(events, Some(Duration::ZERO))?;
    }
    Ok(())
}
