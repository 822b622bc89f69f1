//! Clients that wait in the accept queue of a worker that is killed.
//!
//! The workers are stopped by SIGSTOP, so that nobody accepts; then the clients connect and ask, one worker is killed,
//! and the others go on.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::Row;
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    frozen::{freeze, thaw},
    load,
    process::send,
    procfs,
    server::{Kind, Server},
};

pub(super) const ONE_OF_TWO: Row = Row {
    name: "queued-one-of-two",
    what: "kill -9 of one of 2 stopped workers with 100 connected clients in their queues; 10 times",
    bar: "100 of 100 served",
    within: Duration::from_secs(90),
    is_short: false,
    measure: || measure(ONE_OF_TWO.name, 2),
};

pub(super) const ONLY: Row = Row {
    name: "queued-only",
    what: "kill -9 of the only worker, stopped, with 100 connected clients in its queue; 10 times",
    bar: "100 of 100 served",
    within: Duration::from_secs(90),
    is_short: false,
    measure: || measure(ONLY.name, 1),
};

fn measure(row: &str, workers: usize) -> Attempt<Vec<Figure>> {
    let without = Served::of_all(Kind::Own, workers, &["--keep-listeners", "false"])?;
    let figure = |kind: Kind| {
        let served = Served::of_all(kind, workers, &[])?;
        Ok(Figure {
            row: kind.name(row),
            measured: served.to_string(),
            bar: ONLY.bar.to_owned(),
            yardstick: format!("keep_listeners(false): min {}", without.least),
            verdict: if served.least == CLIENTS { Verdict::Met } else { Verdict::Failed },
        })
    };
    Kind::all().into_iter().map(figure).collect()
}

struct Served {
    least: usize,
    /// How many sat in the queue of the worker that was killed, at least and at most.
    struck: (u64, u64),
}

impl Served {
    fn of_all(kind: Kind, workers: usize, more: &[&str]) -> Attempt<Self> {
        let mut all = Self { least: CLIENTS, struck: (u64::MAX, 0) };
        for number in 0..ROUNDS {
            let (served, struck) = round(kind, workers, number % workers, more)?;
            all.least = all.least.min(served);
            all.struck = (all.struck.0.min(struck), all.struck.1.max(struck));
        }
        Ok(all)
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { least, struck: (few, many) } = self;
        let struck = if few == many { few.to_string() } else { format!("{few} to {many}") };
        write!(f, "min {least} of {CLIENTS} in {ROUNDS} rounds, {struck} queued at the killed one")
    }
}

/// How many clients were served, and how many waited for the worker that was killed.
fn round(kind: Kind, workers: usize, victim: usize, more: &[&str]) -> Attempt<(usize, u64)> {
    let mut server = Server::start(kind, "127.0.0.1:0", workers, more)?;
    server.workers.iter().try_for_each(|pid| freeze(*pid))?;
    let clients = (0..CLIENTS).map(|_| ask(server.address()?)).collect::<Attempt<Vec<TcpStream>>>()?;
    let victim = server.workers.swap_remove(victim);
    let queued = queued(server.address()?.port(), victim)?;
    send(victim, Signal::SIGKILL)?;
    for pid in &server.workers {
        thaw(*pid)?;
    }
    let end = Instant::now() + SERVED_WITHIN;
    let served = clients.iter().filter(|client| is_served(client, end)).count();
    server.replacement()?;
    Ok((served, queued))
}

/// Connected, and the request sent.
fn ask(address: SocketAddr) -> Attempt<TcpStream> {
    let mut client = TcpStream::connect_timeout(&address, CONNECTED_WITHIN)?;
    client.write_all(load::LAST_REQUEST)?;
    Ok(client)
}

/// What waits for this worker. **Errors**: somebody has accepted.
fn queued(port: u16, victim: u32) -> Attempt<u64> {
    let (queues, own) = (procfs::queues(port)?, procfs::sockets(victim)?);
    let all: u64 = queues.values().sum();
    if all != CLIENTS as u64 {
        return Err(format!("{all} clients wait in the queues, not {CLIENTS}").into());
    }
    Ok(queues.iter().filter(|(inode, _)| own.contains(inode)).map(|(_, waiting)| waiting).sum())
}

/// A whole answer, in time.
pub(super) fn is_served(mut client: &TcpStream, end: Instant) -> bool {
    let left = end.saturating_duration_since(Instant::now()).max(LOOK_EVERY);
    let mut answer = Vec::new();
    let read = client.set_read_timeout(Some(left)).and_then(|()| client.read_to_end(&mut answer));
    read.is_ok() && load::is_whole(&answer)
}

const CLIENTS: usize = 100;
const ROUNDS: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(1);
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// A replacement is there after milliseconds.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
