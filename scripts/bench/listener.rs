//! What a [`Listener`](mio_cluster::Listener) costs: CPU time of the server process per new connection, against a bare
//! mio listener.
//!
//! The servers are workers of one cluster, pinned to one CPU; this process, the master, is the client and pinned to
//! another. A server accepts and closes, nothing else, so that nothing else hides the difference; or it answers one
//! request as well. It says how much CPU time (user and system) each batch of connections took it. Clients leave by a
//! reset: no TIME_WAIT piles up.
//!
//! The servers take turns, batch by batch, in an order that rotates; each batch is set against that of the bare server
//! in the same round. Which pages of memory a process got makes a difference as well, so every few rounds all are
//! forked anew. A second bare server shows how far two equal servers come out apart.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program: its output is the table, its errors go to stderr"
)]

mod count;
mod cpus;
mod server;
mod statistics;

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    process::ExitCode,
    thread,
    time::Duration,
};

use mio_cluster::{Cluster, Event, Listen, Master, ReadyWhen, State};
use socket2::SockRef;

use crate::{
    cpus::Cpus,
    server::{Job, REPORT_EVERY},
    statistics::{confidence, median, sorted},
};

/// Whatever went wrong, in words.
type Attempt<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench listener: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Attempt<()> {
    let cpus = Cpus::of_this_process()?;
    cpus::take(cpus.client)?;
    println!(
        "CPU time of the server per new connection; median and ratio to the first in {} rounds\n",
        GROUPS * ROUNDS
    );
    for (job, what) in [(Job::Close, "accept, close"), (Job::Answer, "one request")] {
        let mut costs: [Costs; BURSTS.len()] = Default::default();
        for _ in 0..GROUPS {
            let mut servers = Servers::start(cpus, job)?;
            for (burst, costs) in BURSTS.iter().zip(&mut costs) {
                (0..ROUNDS).try_for_each(|round| servers.round(round, *burst, costs))?;
            }
        }
        for (burst, costs) in BURSTS.iter().zip(&costs) {
            costs.print(&format!("{what}; clients at once: {burst}"));
        }
    }
    println!("System calls per connection (accept, close; clients at once: 1):\n");
    let calls = Servers::start(cpus, Job::Close)?.count_calls()?;
    SERVERS.iter().zip(&calls).for_each(|(server, calls)| println!("- {server}: {calls}"));
    Ok(())
}

/// Nanoseconds of CPU per connection, by server, then by round.
#[derive(Default)]
struct Costs([Vec<f64>; SERVERS.len()]);

impl Costs {
    fn print(&self, head: &str) {
        let [bare, ..] = &self.0;
        println!("| {head:SERVER$} | CPU       | ratio | 95 % sure      | min to max   | bar  | verdict |");
        println!("| {:-<SERVER$} | --------- | ----- | -------------- | ------------ | ---- | ------- |", "");
        for (at, (server, costs)) in SERVERS.iter().zip(&self.0).enumerate() {
            let ratios = sorted(costs.iter().zip(bare).map(|(cost, bare)| cost / bare));
            let (ratio, (from, to)) = (median(&ratios), confidence(&ratios));
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            let (bar, verdict) = match at {
                WITH_A_BAR => (format!("{MOST:.2}"), if ratio <= MOST { "met" } else { "missed" }),
                _ => ("-".to_owned(), "-"),
            };
            let cost = median(&sorted(costs.iter().copied())) / 1e3;
            println!(
                "| {server:SERVER$} | {cost:6.2} us | {ratio:.3} | {from:.3} to {to:.3} | {least:.2} to {most:.2} | {bar:4} | {verdict:7} |"
            );
        }
        println!();
    }
}

/// One of each, in worker processes.
struct Servers {
    job: Job,
    master: Master,
    ends: Vec<End>,
}

/// This process's end of one server.
struct End {
    lines: BufReader<UnixStream>,
    address: SocketAddr,
}

impl Servers {
    fn start(cpus: Cpus, job: Job) -> Attempt<Self> {
        let pairs = SERVERS.iter().map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
        let (ours, theirs): (Vec<UnixStream>, Vec<UnixStream>) = pairs.into_iter().unzip();
        let address = |name| Listen::from((Ipv4Addr::LOCALHOST.into(), 0)).name(name);
        let cluster = Cluster::new().listen(address(server::PLAIN)).listen(address(server::WORKER));
        let mut master = cluster.workers(SERVERS.len()).ready_when(ReadyWhen::Told).start(move |worker| {
            cpus::take(cpus.server)?;
            let report = &theirs[worker.slot().index()];
            server::work(worker, job, report)
        })?;
        while master.workers().any(|worker| worker.state != State::Ready) {
            let event = master.wait(Some(PATIENCE))?.ok_or("the servers did not start")?;
            if let Event::Exit { status, .. } = event {
                return Err(format!("a server ended: {status}").into());
            }
        }
        let ends = ours.into_iter().map(End::new).collect::<Attempt<Vec<End>>>()?;
        Ok(Self { job, master, ends })
    }

    /// Each once: in turn, from another one on each time, forwards or backwards.
    fn round(&mut self, round: usize, burst: usize, costs: &mut Costs) -> Attempt<()> {
        for turn in 0..SERVERS.len() {
            let turn = if round % 2 == 0 { turn } else { SERVERS.len() - 1 - turn };
            let server = (round / 2 + turn) % SERVERS.len();
            let cost = self.batch(server, burst)?;
            costs.0[server].push(cost);
        }
        Ok(())
    }

    /// The first part of it warms the caches up and does not count.
    fn batch(&mut self, server: usize, burst: usize) -> Attempt<f64> {
        let end = &mut self.ends[server];
        for _ in 0..PARTS * REPORT_EVERY / burst {
            connect(end.address, self.job, burst)?;
        }
        let parts = (0..PARTS).map(|_| end.line()).collect::<Attempt<Vec<f64>>>()?;
        Ok(parts[1..].iter().sum::<f64>() / ((PARTS - 1) * REPORT_EVERY) as f64)
    }

    /// The servers sleep between two connections.
    fn count_calls(&self) -> Attempt<Vec<String>> {
        let mut workers: Vec<_> = self.master.workers().collect();
        workers.sort_by_key(|worker| worker.slot.index());
        let connect = |server: usize| {
            thread::sleep(PAUSE);
            connect(self.ends[server].address, self.job, 1)
        };
        let count = |(server, pid): (usize, u32)| count::calls(pid, COUNTED, || connect(server));
        workers.iter().map(|worker| worker.pid).enumerate().map(count).collect()
    }
}

impl End {
    fn new(stream: UnixStream) -> Attempt<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut end = Self { lines: BufReader::new(stream), address: (Ipv4Addr::LOCALHOST, 0).into() };
        end.address = end.line()?;
        Ok(end)
    }

    fn line<T: std::str::FromStr<Err: Error + 'static>>(&mut self) -> Attempt<T> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim_end().parse()?)
    }
}

/// So many at once; each stays until the server has closed it.
fn connect(address: SocketAddr, job: Job, burst: usize) -> Attempt<()> {
    let mut clients = Vec::with_capacity(burst);
    for _ in 0..burst {
        let mut client = TcpStream::connect(address)?;
        if job == Job::Answer {
            client.write_all(server::REQUEST)?;
        }
        clients.push(client);
    }
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE))?;
        let mut count = 0;
        while client.read(&mut [0; 1024])? > 0 {
            count += 1;
        }
        if (count > 0) != (job == Job::Answer) {
            return Err("not answered as expected".into());
        }
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// By slot, see `server.rs`. The first is what the others are compared with.
const SERVERS: [&str; 4] =
    ["bare mio listener", "another bare one", "Listener, plain mio loop", "Listener, Worker::poll, is_draining"];

/// The one whose loop is that of the first. What [`Worker::poll`](mio_cluster::Worker::poll) adds, with its look at the
/// clock for the scoreboard, is shown without one.
const WITH_A_BAR: usize = 2;

/// Clients at once: one wake-up of the server per connection, and many connections per wake-up.
const BURSTS: [usize; 2] = [1, 50];

const GROUPS: usize = 5;
const ROUNDS: usize = 100;

/// Of a batch: short, so that what disturbs the machine spoils few of them.
const PARTS: usize = 3;

/// Connections under strace, and what is longer than strace takes for one.
const COUNTED: usize = 300;
const PAUSE: Duration = Duration::from_millis(3);

/// The width of a column.
const SERVER: usize = 37;

const MOST: f64 = 1.02;

/// For what takes less than a second.
const PATIENCE: Duration = Duration::from_secs(20);
