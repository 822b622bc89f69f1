//! What the example servers have in common whose own master has something to do: command line, log, events on stdout,
//! exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread::available_parallelism,
};

use clap::Args;
use mio_cluster::{Cluster, Event, Result};

#[derive(Args)]
pub(crate) struct MasterOptions {
    /// Address to serve; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: String,
    /// Worker processes [default: the CPUs that this process may use]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Print the cluster's events on stdout, one JSON object per line
    #[arg(long)]
    json: bool,
}

impl MasterOptions {
    /// It owns the signals, as `run` does.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new().listen(&self.listen).workers(self.workers()).signals(true)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
    }

    /// Prints an event, if that is wanted and somebody still reads.
    pub(crate) fn report(&mut self, event: &Event) {
        self.json = self.json && say(&event.to_json());
    }
}

/// A line on stdout. False: nobody reads any more, which is no reason to stop.
pub(crate) fn say(line: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// Logs to stderr (`RUST_LOG` overrides the level) and says how it went, there and as the exit code.
pub(crate) fn main(master: impl FnOnce() -> Result<()>) -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match master() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:?}");
            ExitCode::from(error.exit_code())
        }
    }
}
