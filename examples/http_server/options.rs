//! The command line.

use std::{error::Error, num::NonZeroUsize, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use mio_cluster::Serve;
use rustls::ServerConfig;

use crate::{
    greeting::Greeting,
    service::Http,
    support,
    tls::{self, Tls},
};

#[derive(Parser)]
#[command(version, about = "HTTP/1 server on forked workers", long_about = None)]
pub(crate) struct Options {
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
    /// Answer `/` with the content of this file; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    greeting_file: Option<PathBuf>,
    /// Speak TLS: a certificate with the chain to its issuer, and its key, as PEM files
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"])]
    tls: Option<Vec<PathBuf>>,
}

impl Options {
    pub(crate) fn run(self) -> ExitCode {
        let serve = self.serve();
        let tls = match self.tls() {
            Ok(tls) => tls,
            Err(error) => {
                log::error!("--tls: {error}");
                return ExitCode::from(2);
            }
        };
        let greeting = match Greeting::new(self.greeting_file) {
            Ok(greeting) => greeting,
            Err(error) => {
                log::error!("--greeting-file {error}");
                return ExitCode::from(2);
            }
        };
        let again = greeting.clone();
        self.server.run(
            move || again.read(),
            move |worker| match tls {
                Some(config) => worker.serve_with(serve, Tls::new(config, Http::new(greeting.text()))),
                None => worker.serve_with(serve, Http::new(greeting.text())),
            },
        )
    }

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
