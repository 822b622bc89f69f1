//! An HTTP/1 server on forked workers, each with its own mio loop; the target of load tests.
//!
//! ```text
//! cargo run --release --example http_server -- --listen 127.0.0.1:8000 --workers 2
//! ```
//!
//! `--tls CERT KEY` makes it HTTPS. A certificate to try it with:
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
//! ```
//!
//! `--greeting-file FILE` answers `/` with what is in the file. SIGHUP reads it again and replaces the workers, one after
//! the other: new configuration without a lost request. A file that cannot be read changes nothing.
//!
//! `--single` instead of `--workers` serves in the process itself, for a debugger or a profiler.
//!
//! | path | answers |
//! |---|---|
//! | `/` | `Hello, World!`, or what is in the file of `--greeting-file` |
//! | `/cluster` | `Running on worker with id ==> N` |
//! | `/pid` | the worker's process id |
//! | `/sleep/MS` | after MS milliseconds, in which the worker does nothing else (at most 60 000) |
//! | `/bytes/N` | N bytes (at most 64 MiB), never held in memory |
//! | `/echo` | to POST: the content of the request (at most 1 MiB) |
//! | `/exit/CODE` | and then the worker ends with that code |
//!
//! The HTTP knows no sockets: `status` and `date`, `request`, `body`, `routes`, `answer`, `session`, each using only
//! those before it (and `request` the limit of `body`). `service` gives it to the worker's loop, as
//! `options` tell. Its tests are in `tests`, and run by tests/http_server.rs.

mod answer;
mod body;
mod date;
mod greeting;
mod options;
mod request;
mod routes;
mod service;
mod session;
mod status;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls.rs"]
mod tls;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    support::start_log();
    options::Options::parse().run()
}
