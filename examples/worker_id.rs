//! Who answers? Each request says which worker has served it.
//!
//! ```js
//! app.get('/cluster', (req, res) => res.send('Running on worker with id ==> ' + cluster.worker.id));
//! ```
//!
//! ```text
//! cargo run --example worker_id -- --workers 4
//! ```
//!
//! Try `curl http://127.0.0.1:8000/cluster` several times: the kernel chooses a worker for each connection, and on one
//! connection it is always the same. `kill -9` one of them, and its id is never seen again.

#[path = "support/get.rs"]
mod get;
#[path = "support/mod.rs"]
mod support;

use std::process::ExitCode;

use clap::Parser;
use mio_cluster::{Io, Service};

#[derive(Parser)]
#[command(version, about = "A server that says which worker answers", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::ServerOptions,
}

fn main() -> ExitCode {
    support::start_log();
    Options::parse().server.run(|| Ok(()), |worker| worker.serve(WorkerId))
}

struct WorkerId;

impl Service for WorkerId {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        get::answer(io, input, |io, path| match path {
            "/" => Some("Hello, World!".to_owned()),
            "/cluster" => Some(format!("Running on worker with id ==> {}", io.worker().1)),
            _ => None,
        })
    }
}
