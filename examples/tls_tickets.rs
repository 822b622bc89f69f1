//! A secret that all workers share because it was made before the fork: the key of TLS session tickets. A client that
//! comes back is recognised by whatever worker it reaches, and saves the expensive part of the handshake.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
//! cargo run --example tls_tickets -- cert.pem key.pem --workers 4
//! ```
//!
//! Try `openssl s_client -connect 127.0.0.1:8000 -sess_out ticket`, with `GET / HTTP/1.0` and an empty line, then the
//! same with `-sess_in ticket`, several times: `Reused, TLSv1.3` whoever answers. With `--own-tickets` each worker
//! makes a key of its own, after the fork, and it is `New` whenever another one answers.

#[path = "support/mod.rs"]
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use mio_cluster::{Io, Service, Worker};
use rustls::{ServerConfig, crypto::ring::Ticketer};

use self::tls::Tls;

#[derive(Parser)]
#[command(version, about = "TLS sessions that resume on any worker", long_about = None)]
struct Options {
    /// Certificate with the chain to its issuer, as a PEM file
    cert: PathBuf,
    /// Its key, as a PEM file
    key: PathBuf,
    /// Make the key of the tickets in each worker, to see what is lost
    #[arg(long)]
    own_tickets: bool,
    #[command(flatten)]
    server: support::ServerOptions,
}

fn main() -> ExitCode {
    support::start_log();
    let Options { cert, key, own_tickets, server } = Options::parse();
    // Before the fork: the ticketer is in it.
    let config = match tls::config(&cert, &key) {
        Ok(config) => config,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::from(2);
        }
    };
    server.run(|| Ok(()), move |worker| serve(worker, config, own_tickets))
}

fn serve(worker: Worker, mut config: ServerConfig, own_tickets: bool) -> Result<(), Box<dyn std::error::Error>> {
    if own_tickets {
        config.ticketer = Ticketer::new()?;
    }
    Ok(worker.serve(Tls::new(Arc::new(config), Hello))?)
}

struct Hello;

impl Service for Hello {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        if !input.ends_with(b"\r\n\r\n") {
            return 0;
        }
        let answer = format!("HTTP/1.0 200 OK\r\n\r\nHello from worker {}\n", io.worker().1);
        io.write(answer.as_bytes());
        io.close();
        input.len()
    }
}
