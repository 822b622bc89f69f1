//! An HTTP/1 server on forked workers, each with its own mio loop; the target of load tests.
//!
//! ```text
//! cargo run --release --example http_server -- --listen 127.0.0.1:8000 --workers 2
//! ```
//!
//! `--single` instead of `--workers` serves in the process itself, for a debugger or a profiler.
//!
//! | path | answers |
//! |---|---|
//! | `/` | `Hello, World!` |
//! | `/cluster` | `Running on worker with id ==> N` |
//! | `/pid` | the worker's process id |
//! | `/sleep/MS` | after MS milliseconds, in which the worker does nothing else (at most 60 000) |
//! | `/bytes/N` | N bytes (at most 64 MiB), never held in memory |
//! | `/echo` | to POST: the content of the request (at most 1 MiB) |
//! | `/exit/CODE` | and then the worker ends with that code |
//!
//! The HTTP knows no sockets: `status` and `date`, `request`, `body`, `routes`, `answer`, `session`, each using only
//! those before it (and `request` the limit of `body`). The worker's loop is `output`, `connection` (a session and its
//! socket), `table`, `door` and `server`.

mod answer;
mod body;
mod connection;
mod date;
mod door;
mod output;
mod request;
mod routes;
mod server;
mod session;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod table;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about = "HTTP/1 server on forked workers", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::ServerOptions,
}

fn main() -> ExitCode {
    support::start_log();
    Options::parse().server.run(server::serve)
}
