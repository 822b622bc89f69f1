//! A program that restarts its workers by itself: nothing is forked but by it.
//!
//! ```js
//! cluster.on('exit', (worker, code, signal) => {
//!   console.log(`worker ${worker.process.pid} died`);
//!   cluster.fork();
//! });
//! ```
//!
//! ```text
//! cargo run --example restart_on_exit -- --workers 4
//! ```
//!
//! Try `curl http://127.0.0.1:8000/`, and `kill -9` the worker whose pid it answers. Without `manual()` the library
//! does this and says so in the log; there is no need to write it.

#[path = "support/get.rs"]
mod get;
#[path = "support/master.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use mio_cluster::{Event, Io, Result, Service};

#[derive(Parser)]
#[command(version, about = "A program that restarts its workers by itself", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::MasterOptions,
}

fn main() -> ExitCode {
    let Options { server } = Options::parse();
    support::main(|| master(server))
}

fn master(mut options: support::MasterOptions) -> Result<()> {
    let mut master = options.cluster().manual().start(|worker| worker.serve(Hello))?;
    support::say(&format!("Master {} is running", std::process::id()));
    for _ in 0..options.workers() {
        master.fork()?;
    }
    while let Some(event) = master.wait(None)? {
        options.report(&event);
        if let Event::Ready(worker) = event {
            support::say(&format!("Worker {} started", worker.pid));
        } else if let Event::Exit { worker, cause, .. } = event {
            support::say(&format!("worker {} died", worker.pid));
            // Not one that was asked to leave. In a slot whose workers die too fast the next one starts later.
            if !cause.asked() {
                master.fork()?;
            }
        }
    }
    Ok(())
}

struct Hello;

impl Service for Hello {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        get::answer(io, input, |_io, _path| Some(format!("hello world from process {}\n", std::process::id())))
    }
}
