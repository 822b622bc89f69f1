//! What every example server has in common: its command line, its log, its events on stdout and its exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use mio_cluster::{Balance, Cluster, Event, Listen, Recycle, Rollout, Worker, WorkerExit, WorkerRef};

#[derive(Args)]
pub(crate) struct ServerOptions {
    /// Address to serve, IP:PORT or unix:PATH; repeatable; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: Vec<String>,
    /// Worker processes [default: the CPUs that this process may use]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Serve in this process, without workers: for debuggers and profilers; Ctrl-C ends it at once
    #[arg(long, conflicts_with_all = ["workers", "pin"])]
    single: bool,
    /// Which worker gets a new connection: auto (the kernel's choice, but none that leaves) or kernel
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = balance)]
    balance: Balance,
    /// Rollouts (SIGHUP): workers that are replaced at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    surge: usize,
    /// Rollouts: how long a new worker has to be ready before the old one leaves
    #[arg(long, value_name = "MILLIS", default_value_t = 1000)]
    settle: u64,
    /// Replace a worker when it has accepted about so many connections [default: never]
    #[arg(long, value_name = "N")]
    recycle_connections: Option<u64>,
    /// Bind each worker to a CPU of its own
    #[arg(long)]
    pin: bool,
    /// Accept a connection when its first bytes are there, or after so long [without a value: 3]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    defer_accept: Option<u64>,
    /// Print the cluster's events on stdout, one JSON object per line
    #[arg(long)]
    json: bool,
}

impl ServerOptions {
    /// Runs the cluster until it is stopped and says how it went, in the log and as the exit code. SIGHUP calls `reload`
    /// before it replaces the workers.
    pub(crate) fn run<R: WorkerExit>(
        self,
        reload: impl FnMut() -> Result<(), String> + 'static,
        worker: impl FnOnce(Worker) -> R + 'static,
    ) -> ExitCode {
        let deferred = Duration::from_secs(self.defer_accept.unwrap_or(0));
        let listen = self.listen.into_iter().map(|address| Listen::from(address).defer_accept(deferred));
        let mut cluster = listen.fold(Cluster::new(), Cluster::listen).pin_workers(self.pin).balance(self.balance);
        let plan = Rollout::new().surge(self.surge).settle(Duration::from_millis(self.settle));
        cluster = cluster.rollout(plan).on_reload(reload);
        if let Some(workers) = self.workers {
            cluster = cluster.workers(workers);
        }
        if let Some(connections) = self.recycle_connections {
            cluster = cluster.recycle(Recycle::new().connections(connections));
        }
        if self.single {
            return run_single(cluster, self.json, worker);
        }
        let mut json = self.json;
        match cluster.run_with(worker, move |_master, event| json = json && print(&event)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    }
}

fn run_single<R: WorkerExit>(cluster: Cluster, json: bool, work: impl FnOnce(Worker) -> R) -> ExitCode {
    let worker = match cluster.standalone() {
        Ok(worker) => worker,
        Err(error) => return failed(&error),
    };
    announce(&worker, json);
    match work(worker).report() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The addresses take connections by now. As JSON these are events that a cluster reports, too, so a script need not
/// know which of the two it has started.
fn announce(worker: &Worker, json: bool) {
    let (pid, addresses) = (std::process::id(), worker.addresses());
    addresses.iter().for_each(|address| log::info!("listening on {address}, in this process only (pid {pid})"));
    if !json {
        return;
    }
    let this = WorkerRef { slot: worker.slot(), id: worker.id(), pid };
    let listening = addresses.iter().map(|address| Event::Listening { worker: this, address: address.clone() });
    let ready = Event::AllReady { pid, addresses: addresses.to_vec(), workers: 1 };
    let _still_read = listening.chain([ready]).all(|event| print(&event));
}

fn failed(error: &mio_cluster::Error) -> ExitCode {
    log::error!("{error:?}");
    ExitCode::from(error.exit_code())
}

/// To stderr; `RUST_LOG` overrides the level.
pub(crate) fn start_log() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
}

/// Whether there is still somebody who reads: a server outlives the script that started it.
fn print(event: &Event) -> bool {
    let mut out = io::stdout().lock();
    let printed = writeln!(out, "{}", event.to_json()).and_then(|()| out.flush());
    if let Err(error) = &printed {
        log::warn!("stdout: {error}; no more events are printed");
    }
    printed.is_ok()
}

fn balance(text: &str) -> Result<Balance, String> {
    match text {
        "auto" => Ok(Balance::Auto),
        "kernel" => Ok(Balance::Kernel),
        "least-loaded" | "cpu" | "source-ip" => Err("not available in this version, use auto or kernel".to_owned()),
        _unknown => Err("expected auto or kernel".to_owned()),
    }
}
