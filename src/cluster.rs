//! The builder: from what the program wants to a running master.

mod rollout;
mod watch;

use std::{process::ExitCode, thread::available_parallelism, time::Duration};

use crate::{
    config::{Backoff, Balance, Intensity, Listen, ReadyWhen, Restart, Settings, Wanted, resolve},
    error::{Error, Kind, Result},
    event::Event,
    id::Slot,
    last_words::last_words,
    master::{BeforeFork, Master, OnReload, Plan, TARGET},
    worker::{Worker, WorkerExit, boot},
};

/// Builds a cluster: addresses, rules, then [`run`](Self::run) or [`start`](Self::start).
///
/// Bad values are kept until then and all reported together.
///
/// ```no_run
/// use std::time::Duration;
/// use mio_cluster::{Cluster, Listen, Worker};
///
/// fn serve(mut worker: Worker) -> Result<(), mio_cluster::Error> {
///     let http = worker.listen_on("http")?;
///     // … the program's loop …
/// #   drop(http);
///     Ok(())
/// }
///
/// fn main() -> std::process::ExitCode {
///     Cluster::new()
///         .listen(Listen::from("127.0.0.1:8000").name("http"))
///         .workers(4)
///         .drain_timeout(Duration::from_secs(10))
///         .main(serve)
/// }
/// ```
#[must_use = "a cluster does nothing until run() or start()"]
pub struct Cluster {
    settings: Settings,
    addresses: Vec<Listen>,
    signals: Option<bool>,
    boot: boot::Options,
    before_fork: Option<BeforeFork>,
    on_reload: Option<OnReload>,
}

impl Cluster {
    /// As many workers as this process may use CPUs (affinity and control group respected), no address, restart always.
    pub fn new() -> Self {
        let cpus = available_parallelism().map_or(1, usize::from);
        let (settings, addresses) = (Settings::with_workers(cpus), Vec::new());
        Self { settings, addresses, signals: None, boot: boot::Options::default(), before_fork: None, on_reload: None }
    }

    /// One address more. A cluster without any is legal: its workers serve no port.
    pub fn listen(mut self, at: impl Into<Listen>) -> Self {
        self.addresses.push(at.into());
        self
    }

    /// How many workers; at least 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers;
        self
    }

    /// How many slots there are at most, for [`Master::fork`]. Default: 64, or the number of workers if that is
    /// greater; 1024 at most.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.settings.max_workers = Some(workers);
        self
    }

    /// Node's way: nothing is forked or replaced but by [`Master::fork`]. Ends when asked, or when no worker is left
    /// and the program forked none in answer to the last event.
    pub fn manual(mut self) -> Self {
        self.settings.manual = true;
        self
    }

    /// Whether the master keeps a duplicate of each worker's listening socket; default yes. The clients in the queue of
    /// a worker that dies are then served by its replacement instead of being reset. With `false` each worker's sockets
    /// end along with it.
    ///
    /// While the replacement is awaited, also through a back-off or a slow start, and while a worker hangs or is full, a
    /// sibling accepts at its socket, if one listens there by a [`Listener`](crate::Listener). If nobody can, the socket
    /// is shut after a second without a worker, or at once if the next one comes later than that, and whoever waits in
    /// its queue is reset. All of this is about addresses with a socket per worker; one that all workers share
    /// ([`Listen`]) is kept in either case.
    ///
    /// ```no_run
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// // A client that is reset tries again elsewhere at once: better than to wait for the replacement.
    /// Cluster::new().listen("127.0.0.1:8000").keep_listeners(false).run(|mut worker| worker.listen().map(drop))
    /// # }
    /// ```
    pub fn keep_listeners(mut self, keep: bool) -> Self {
        self.settings.keep_listeners = keep;
        self
    }

    /// Which worker gets a new connection; default [`Balance::Auto`].
    pub fn balance(mut self, how: Balance) -> Self {
        self.settings.balance = how;
        self
    }

    /// Which workers are followed by another one; default [`Restart::Always`].
    pub fn restart(mut self, policy: Restart) -> Self {
        self.settings.restart = policy;
        self
    }

    /// Exit codes (0 to 255) that end a slot for good.
    pub fn no_restart_on(mut self, codes: impl IntoIterator<Item = i32>) -> Self {
        self.settings.no_restart_on = codes.into_iter().collect();
        self
    }

    /// The delay before a restart after a start that failed, or when a slot has had 20 deaths within a second: `first`,
    /// doubled each time, at most `most`, ± 20 %; reset once a worker was ready for 10 s. Default 100 ms and 30 s.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.settings.backoff = Backoff { first, most };
        self
    }

    /// Gives up when more than `restarts` unplanned restarts, of all slots together, fall within `period`: the workers
    /// drain and [`run`](Self::run) returns an error with [`is_gave_up`](Error::is_gave_up). Off by default.
    pub fn intensity(mut self, restarts: usize, period: Duration) -> Self {
        self.settings.intensity = Some(Intensity { restarts, period });
        self
    }

    /// When a worker counts as ready; default [`ReadyWhen::Listening`].
    pub fn ready_when(mut self, when: ReadyWhen) -> Self {
        self.settings.ready_when = when;
        self
    }

    /// A worker that is not ready within this time is killed, and its start has failed. Default 60 s.
    pub fn ready_timeout(mut self, within: Duration) -> Self {
        self.settings.ready_timeout = within;
        self
    }

    /// A worker that was asked to leave gets SIGTERM after this time. Default 30 s; `Duration::MAX` is never.
    pub fn drain_timeout(mut self, within: Duration) -> Self {
        self.settings.drain_timeout = within;
        self
    }

    /// A worker that got SIGTERM gets SIGKILL after this time. Default 5 s.
    pub fn terminate_timeout(mut self, within: Duration) -> Self {
        self.settings.terminate_timeout = within;
        self
    }

    /// Whether the master owns the process's signals: TERM and INT drain (a second one: at once; INT and TERM within
    /// 250 ms of each other are one, and so is the same one within 50 ms), QUIT stops at once, HUP is a [rolling restart](Self::rollout), TTIN and
    /// TTOU add and remove a worker ([`Master::scale`]), USR1 has workers reopen their logs. Default: yes for [`run`](Self::run) and its like, no for [`start`](Self::start).
    pub fn signals(mut self, own: bool) -> Self {
        self.signals = Some(own);
        self
    }

    /// For a program that has sockets of its own beside the master: each worker then closes, before its function
    /// begins, every descriptor that it inherits, but for stdin, stdout, stderr (numbers 0, 1 and 2) and what this
    /// library keeps for it. Default: false, everything that the program has opened stays open in the workers.
    ///
    /// Without it a worker holds a copy of each listener, connection and pipe that the program had at the fork. When
    /// the program closes a connection its client sees no end before the last of these workers is gone; a port that the
    /// program no longer listens on stays taken; a reader of a pipe waits on; and a socket that was closed but not
    /// deregistered goes on to report events to the program's `Poll`.
    ///
    /// **The worker function must then own no descriptor** and use none that the program opened before: no captured
    /// file, socket or `Poll`, no logger that writes to a file or a syslog socket, no crate that holds a descriptor in
    /// a static. Their numbers are closed, and given to whatever the worker opens next: to use such a value fails or
    /// reaches something else, to drop it closes something else, or aborts the worker (by a check of the standard
    /// library in debug builds). Open files in the worker function; a logger on stderr is fine.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The program's own: workers forked now or later have no copy of it, nor of its connections.
    /// let admin = TcpListener::bind("127.0.0.1:9000")?;
    /// let path = String::from("/var/log/requests.log");
    /// let mut master = Cluster::new().listen("127.0.0.1:8000").close_inherited(true).start(move |mut worker| {
    ///     // Not a captured `File`: opened here, by its captured name.
    ///     let _log = std::fs::File::options().append(true).open(&path)?;
    ///     let _listener = worker.listen()?;
    ///     // … the worker's loop …
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # drop((admin, &mut master));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_inherited(mut self, on: bool) -> Self {
        self.boot.close_inherited = on;
        self
    }

    /// Whether each worker is bound to one CPU, that of its slot: slot 0 to the first one that this process may use
    /// (its affinity, as limited by a cpuset), slot 1 to the second, and from the first again when there are no more. A
    /// replacement gets the CPU of its slot. Default: false, the kernel moves workers to where there is room.
    ///
    /// It is for CPUs that do little else, and to be measured: caches stay warm, and a worker that polls busily has its
    /// CPU to itself. Beside other load it does harm, as a worker then waits for its CPU while another one is idle.
    /// Every thread that a worker starts is bound to the same CPU. If binding fails, a warning says so and the worker
    /// runs anywhere.
    ///
    /// **In containers**: a quota (`docker run --cpus`, `cpu.max`) limits time, not places: with it, this process may
    /// use every CPU of the machine, and the workers of each such container are bound to the same first ones. Give
    /// containers their own CPUs (`--cpuset-cpus`, `AllowedCPUs=`) before pinning workers in them.
    ///
    /// Real-time priorities, interrupts and isolated CPUs are the operator's (`chrt`, `CPUSchedulingPolicy=`).
    ///
    /// ```no_run
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// // As many workers as CPUs, which is the default, and one on each.
    /// Cluster::new().listen("127.0.0.1:8000").pin_workers(true).run(|mut worker| worker.listen().map(drop))
    /// # }
    /// ```
    pub fn pin_workers(mut self, on: bool) -> Self {
        self.boot.pin = on;
        self
    }

    /// Called in the master before each attempt to fork, for example to flush buffers that a child would inherit
    /// ([`docs::forking`](crate::docs::forking) has more of that kind). A panic in it unwinds through the call that
    /// forked.
    pub fn before_fork(mut self, hook: impl FnMut(Slot) + 'static) -> Self {
        self.before_fork = Some(Box::new(hook));
        self
    }

    /// Runs the cluster until it ends; returns in the master only. Each worker process runs its own copy of `worker`,
    /// as the captured values were at its fork, once, and ends inside this call. The master neither calls nor drops its
    /// own copy, so what it captured stays open there.
    ///
    /// `Ok`: stopped as asked, or no worker is left and each ended with 0 or a code of
    /// [`no_restart_on`](Self::no_restart_on).
    ///
    /// **Errors**: bad configuration; an address cannot be claimed; the process runs a second thread; another master of
    /// it owns the [`signals`](Self::signals); no worker ever became ready; restarting was given up; workers that may
    /// not be restarted ended badly.
    pub fn run<R: WorkerExit>(self, worker: impl FnOnce(Worker) -> R + 'static) -> Result<()> {
        self.run_with(worker, |_master, _event| {})
    }

    /// As [`run`](Self::run), with a look at every event. The closure may use the master, [`Master::fork`] included.
    pub fn run_with<R: WorkerExit>(
        self,
        worker: impl FnOnce(Worker) -> R + 'static,
        mut on_event: impl FnMut(&mut Master, Event),
    ) -> Result<()> {
        let mut master = self.begin(worker, true)?;
        while let Some(event) = master.wait(None)? {
            on_event(&mut master, event);
        }
        Ok(())
    }

    /// As [`run`](Self::run), for `fn main() -> ExitCode`: logs the error and turns it into an exit code (see
    /// [`Error::exit_code`]). Without a logger the error goes to stderr.
    pub fn main<R: WorkerExit>(self, worker: impl FnOnce(Worker) -> R + 'static) -> ExitCode {
        match self.run(worker) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                last_words(TARGET, format_args!("{error:#}"));
                ExitCode::from(error.exit_code())
            }
        }
    }

    /// Starts the cluster and returns its master. Forks here; touches no signal and no child that is not its own.
    ///
    /// Without [`signals(true)`](Self::signals) Ctrl-C and SIGTERM end the program as they end any other, and its
    /// workers at once along with it: catch them and call [`Master::shutdown`] for an orderly stop.
    ///
    /// When it returns, the addresses are claimed and the first workers forked, not yet listening.
    ///
    /// **Errors**: bad configuration; an address cannot be claimed; the process runs a second thread; with
    /// [`signals(true)`](Self::signals), another master of it owns them.
    pub fn start<R: WorkerExit>(self, worker: impl FnOnce(Worker) -> R + 'static) -> Result<Master> {
        self.begin(worker, false)
    }

    /// One worker in this process, without a fork and without a master: for unit tests, debuggers and profilers (see
    /// [`docs::testing`](crate::docs::testing)). It is worker 1 in slot 0, and a worker function cannot tell the
    /// difference. There may be several in a process, on any thread, with other threads running and beside a
    /// [`Master`].
    ///
    /// When it returns, the addresses are claimed as by [`run`](Self::run), and take connections: whoever connects
    /// waits until the worker listens there and accepts. All of it is given back when the worker and its listeners are
    /// dropped.
    ///
    /// It ends when its function returns. [`WorkerHandle::disconnect`](crate::WorkerHandle::disconnect) asks for that;
    /// nobody enforces it, so the deadlines do not apply, nor do the rules for starts and restarts. What the worker
    /// tells its master goes nowhere.
    ///
    /// No signal is touched: Ctrl-C and SIGTERM end the program as they end any other. [`is_worker`](crate::is_worker)
    /// and [`is_master`](crate::is_master) stay as they were.
    ///
    /// **Errors**: bad configuration, as for [`run`](Self::run); an address cannot be claimed.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut worker = Cluster::new().listen("127.0.0.1:0").standalone()?;
    /// let address = worker.addresses()[0].socket_addr().unwrap();
    /// let _client = TcpStream::connect(address)?; // waits in the queue
    /// let listener = worker.listen()?;
    /// assert_eq!(listener.local_addr()?, address);
    /// # Ok(())
    /// # }
    /// ```
    pub fn standalone(mut self) -> Result<Worker> {
        let (addresses, settings) = (self.addresses()?, self.settings.bounded());
        Worker::standalone(addresses, settings.drain_timeout)
    }

    fn begin<R: WorkerExit>(mut self, worker: impl FnOnce(Worker) -> R + 'static, signals: bool) -> Result<Master> {
        Master::start(Plan {
            addresses: self.addresses()?,
            settings: self.settings.bounded(),
            signals: self.signals.unwrap_or(signals),
            launch: boot::launch(worker, self.boot),
            before_fork: self.before_fork,
            on_reload: self.on_reload,
        })
    }

    /// The addresses, if everything is as it should be. Taken, not copied: no worker is to inherit a descriptor among
    /// them that nobody uses.
    fn addresses(&mut self) -> Result<Vec<Wanted>> {
        let mut problems = self.settings.problems();
        let wanted = resolve(std::mem::take(&mut self.addresses)).unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(Error::new(Kind::InvalidConfig, format!("invalid configuration: {}", problems.join("; "))));
        }
        Ok(wanted)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("settings", &self.settings)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
