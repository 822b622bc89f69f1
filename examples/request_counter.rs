//! The workers tell their master of each request, and it prints the sum each second.
//!
//! ```js
//! setInterval(() => console.log(`numReqs = ${numReqs}`), 1000);
//! worker.on('message', (msg) => { if (msg.cmd === 'notifyRequest') numReqs += 1; });
//! // in the worker: process.send({ cmd: 'notifyRequest' });
//! ```
//!
//! ```text
//! cargo run --release --example request_counter -- --workers 4
//! ```
//!
//! Try `curl http://127.0.0.1:8000/`. Messages that follow each other closely share a packet, so that one per request
//! costs next to nothing; `--uncounted` is for the comparison. (A program that only wants the number reads it from
//! `Master::scoreboard`, without any message: `get::answer` counts there, too.)

#[path = "support/get.rs"]
mod get;
#[path = "support/master.rs"]
mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use mio_cluster::{Event, Io, Result, Service};

#[derive(Parser)]
#[command(version, about = "Counts the requests of all workers by messages", long_about = None)]
struct Options {
    #[command(flatten)]
    server: support::MasterOptions,
    /// Send no messages, to see what they cost
    #[arg(long)]
    uncounted: bool,
}

fn main() -> ExitCode {
    let Options { server, uncounted } = Options::parse();
    support::main(|| master(server, uncounted))
}

fn master(mut options: support::MasterOptions, uncounted: bool) -> Result<()> {
    let mut master = options.cluster().start(move |worker| worker.serve(Counted { uncounted, unsaid: 0 }))?;
    let (mut requests, mut next) = (0, Instant::now() + SECOND);
    while !master.is_finished() {
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            support::say(&format!("numReqs = {requests}"));
            next += SECOND;
        }
        let mut next_event = master.wait(Some(left))?;
        while let Some(event) = next_event {
            if let Event::Message { message, .. } = &event {
                requests += number(&message.bytes);
            } else {
                options.report(&event);
            }
            next_event = master.next_event();
        }
    }
    support::say(&format!("numReqs = {requests}"));
    Ok(())
}

/// What a worker says: how many requests it has served since it said so last.
fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

struct Counted {
    uncounted: bool,
    /// Requests of which the master does not know yet.
    unsaid: u64,
}

impl Service for Counted {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        let taken = get::answer(io, input, |_io, _path| Some("hello world\n".to_owned()));
        if taken > 0 && !self.uncounted {
            self.unsaid += 1;
            // A master that is stopped takes no more at some time: then these go with the next one.
            match io.turn().send(&self.unsaid.to_le_bytes()[..]) {
                Ok(()) => self.unsaid = 0,
                Err(error) => log::debug!("{error:#}"),
            }
        }
        taken
    }
}

const SECOND: Duration = Duration::from_secs(1);
