//! A chat of lines: what one client says is heard by all, on whatever worker they are.
//!
//! A worker knows only its own clients, so it sends each line to the master, and the master sends it to all workers.
//!
//! ```text
//! cargo run --example chat -- --workers 4
//! ```
//!
//! Try `nc 127.0.0.1 8000` in several terminals; the first line that each of them says is its name. After a `kill -HUP`
//! of the master new workers serve whoever comes; those who are there are told, and have some seconds to come again.

#[path = "support/master.rs"]
mod support;

use std::{collections::HashSet, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use mio_cluster::{Closed, Event, Io, Key, Posted, Result, Serve, Service, Turn, WorkerEvent};

#[derive(Parser)]
#[command(version, about = "A chat across all workers", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::MasterOptions,
    /// Seconds that clients may stay with a worker that leaves
    #[arg(long, default_value_t = 5)]
    stay: u64,
}

fn main() -> ExitCode {
    let Options { server, stay } = Options::parse();
    support::main(|| master(server, Duration::from_secs(stay)))
}

fn master(mut options: support::MasterOptions, stay: Duration) -> Result<()> {
    // Somebody who only listens is welcome.
    let patient = Serve::new().first_byte_timeout(None).idle_timeout(None);
    let chat = Chat { clients: HashSet::new(), stay };
    let mut master = options.cluster().start(|worker| worker.serve_with(patient, chat))?;
    while let Some(event) = master.wait(None)? {
        options.report(&event);
        if let Event::Message { message, .. } = event {
            for (worker, error) in master.broadcast(message) {
                log::warn!("the clients of worker {worker} miss a line: {error:#}");
            }
        }
    }
    Ok(())
}

/// A worker's part: the clients that it has.
struct Chat {
    clients: HashSet<Key>,
    stay: Duration,
}

struct Client {
    key: Key,
    /// What it has said first.
    name: Option<String>,
}

impl Service for Chat {
    type Conn = Client;

    fn opened(&mut self, io: &mut Io<'_>) -> Client {
        self.clients.insert(io.key());
        io.set_drain_deadline(Some(self.stay));
        io.write(b"Your name?\n");
        Client { key: io.key(), name: None }
    }

    fn received(&mut self, client: &mut Client, io: &mut Io<'_>, input: &[u8]) -> usize {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        let line = String::from_utf8_lossy(&input[..end]);
        let text = line.trim_end();
        let said = match &client.name {
            Some(name) => format!("{name}: {text}\n"),
            None => format!("{} is here\n", client.name.insert(text.to_owned())),
        };
        if let Err(error) = io.turn().send(said) {
            log::warn!("{error:#}");
            io.write(b"(nobody has heard that, say it again)\n");
        }
        end + 1
    }

    /// A line for all of this worker's clients, the one who has said it, too.
    fn event(&mut self, turn: &mut Turn<'_>, event: WorkerEvent) {
        if let WorkerEvent::Message(message) = event {
            let line: Arc<[u8]> = message.bytes.into();
            self.clients.iter().for_each(|client| turn.post(*client, Arc::clone(&line)));
        }
    }

    fn posted(&mut self, _client: &mut Client, io: &mut Io<'_>, line: Posted) {
        if let Ok(line) = line.downcast::<Arc<[u8]>>() {
            io.write(&line);
        }
    }

    fn draining(&mut self, _client: &mut Client, io: &mut Io<'_>) {
        io.write(format!("(this worker leaves, please come again within {:?})\n", self.stay).as_bytes());
    }

    fn closed(&mut self, client: Client, _turn: &mut Turn<'_>, _why: Closed) {
        self.clients.remove(&client.key);
    }
}
