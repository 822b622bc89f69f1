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
//! those before it (and `request` the limit of `body`). `service` gives it to the worker's loop.

mod answer;
mod body;
mod date;
mod request;
mod routes;
mod service;
mod session;
mod status;
#[path = "../support/mod.rs"]
mod support;
#[cfg(test)]
mod tests;
#[path = "../support/tls.rs"]
mod tls;

use std::{error::Error, num::NonZeroUsize, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use mio_cluster::Serve;
use rustls::ServerConfig;

use crate::{service::Http, tls::Tls};

#[derive(Parser)]
#[command(version, about = "HTTP/1 server on forked workers", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::ServerOptions,
    /// Close a connection that asks nothing for so long; 0: never [default: 75, and 30 before the first request]
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<u64>,
    /// Refuse a request that takes longer to arrive; 0: never [default: 30]
    #[arg(long, value_name = "SECONDS")]
    request_timeout: Option<u64>,
    /// Connections that a worker has open at once; others wait [default: unlimited]
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    /// Look for events for so long before sleeping; takes a whole CPU per worker
    #[arg(long, value_name = "MICROS", default_value_t = 0)]
    busy_poll: u64,
    /// Speak TLS: a certificate with the chain to its issuer, and its key, as PEM files
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"])]
    tls: Option<Vec<PathBuf>>,
}

impl Options {
    fn serve(&self) -> Serve {
        let time = |seconds| (seconds > 0).then(|| Duration::from_secs(seconds));
        let mut serve = Serve::new().busy_poll(Duration::from_micros(self.busy_poll));
        if let Some(seconds) = self.idle_timeout {
            serve = serve.idle_timeout(time(seconds)).first_byte_timeout(time(seconds));
        }
        if let Some(seconds) = self.request_timeout {
            serve = serve.request_timeout(time(seconds));
        }
        if let Some(connections) = self.max_connections {
            serve = serve.max_connections(connections.get());
        }
        serve
    }

    fn tls(&self) -> Result<Option<Arc<ServerConfig>>, Box<dyn Error>> {
        let Some([certificate, key]) = self.tls.as_deref() else { return Ok(None) };
        let mut config = tls::config(certificate, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config)))
    }
}

fn main() -> ExitCode {
    support::start_log();
    let options = Options::parse();
    let serve = options.serve();
    let tls = match options.tls() {
        Ok(tls) => tls,
        Err(error) => {
            log::error!("--tls: {error}");
            return ExitCode::from(2);
        }
    };
    options.server.run(move |worker| match tls {
        Some(config) => worker.serve_with(serve, Tls::new(config, Http::new())),
        None => worker.serve_with(serve, Http::new()),
    })
}
