//! A server that leaks on purpose, and whose clients never notice.
//!
//! Each request keeps some memory for ever. A worker that has more than the limit is recycled: its successor starts and
//! is ready before it leaves, so the leak costs memory, and no request.
//!
//! ```text
//! cargo run --release --example leaky -- --workers 2 --limit 64
//! cargo run --release --example load -- http://127.0.0.1:8000/ --rate 500 --duration 120
//! ```
//!
//! Watch the log while the load runs, and `ps -o pid,rss,args -C leaky`.

#[path = "support/get.rs"]
mod get;
#[path = "support/master.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use mio_cluster::{Io, Recycle, Result, Service};

#[derive(Parser)]
#[command(version, about = "A server that leaks on purpose, and whose clients never notice", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::MasterOptions,
    /// Memory of a worker that is to be replaced
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    limit: u64,
    /// Memory that each request keeps for ever
    #[arg(long, value_name = "KIB", default_value_t = 16)]
    leak: usize,
}

fn main() -> ExitCode {
    let Options { server, limit, leak } = Options::parse();
    support::main(|| master(server, limit, leak))
}

fn master(mut options: support::MasterOptions, limit: u64, leak: usize) -> Result<()> {
    let cluster = options.cluster().recycle(Recycle::new().memory(limit << 20));
    let mut master = cluster.start(move |worker| worker.serve(Leaky { leak, kept: Vec::new() }))?;
    while let Some(event) = master.wait(None)? {
        options.report(&event);
    }
    Ok(())
}

struct Leaky {
    /// KiB per request.
    leak: usize,
    kept: Vec<Vec<u8>>,
}

impl Service for Leaky {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        get::answer(io, input, |_io, _path| {
            // Written to: memory that nobody has touched is not there yet.
            self.kept.push(vec![1; self.leak << 10]);
            Some(format!("process {} has kept {} KiB\n", std::process::id(), self.kept.len() * self.leak))
        })
    }
}
