//! What steering costs: CPU time of client and workers together per new connection, with
//! [`Balance::Auto`](mio_cluster::Balance::Auto) against [`Balance::Kernel`](mio_cluster::Balance::Kernel).
//!
//! The kernel chooses the worker where the client's SYN arrives, on loopback in the client's own system call, so the
//! client counts, too. All are pinned to one CPU. Three clusters of eight workers take turns, batch by batch, in an order
//! that rotates: one with each setting, and a second with `Kernel`, which shows how far two equal clusters come out
//! apart. First as they are, where no program is attached; then while two of eight workers leave, where the kernel runs
//! one that chooses among the other six; with `Kernel` the two have gone, and it chooses among six as well.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program: its output is the table, its errors go to stderr"
)]

mod statistics;

use std::{
    error::Error,
    fs, io,
    io::Read,
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use mio_cluster::{
    Balance, Cluster, Event, Master, State, Worker,
    mio::{Events, Interest, Poll, Token},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    },
    unistd::Pid,
};
use socket2::SockRef;

use crate::statistics::{confidence, median, sorted};

/// Whatever went wrong, in words.
type Attempt<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench steering: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Attempt<()> {
    take_one_cpu()?;
    println!("CPU time of client and workers per new connection; median, and ratio to the first of the same round\n");
    let mut steady: Costs = Default::default();
    let mut leaving: Costs = Default::default();
    for group in 0..GROUPS {
        let mut servers = BALANCES.into_iter().map(Server::start).collect::<Attempt<Vec<Server>>>()?;
        (0..ROUNDS).try_for_each(|round| rounds(&mut servers, group + round, &mut steady))?;
        servers.iter_mut().try_for_each(Server::two_leave)?;
        // Half of the second for which they serve on.
        let until = Instant::now() + Duration::from_millis(500);
        let mut round = group;
        while Instant::now() < until {
            rounds(&mut servers, round, &mut leaving)?;
            round += 1;
        }
        if servers[STEERED].exits()? > 0 {
            return Err("the workers that leave were gone before the measurement was over".into());
        }
    }
    print("eight workers", &steady);
    print("two of eight leave", &leaving);
    Ok(())
}

/// The last that this process may use; workers inherit that.
fn take_one_cpu() -> Attempt<()> {
    let allowed = sched_getaffinity(MYSELF)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut set = CpuSet::new();
    set.set(last.ok_or("there is no CPU")?)?;
    Ok(sched_setaffinity(MYSELF, &set)?)
}

/// Nanoseconds of CPU per connection, by server, then by round.
type Costs = [Vec<f64>; BALANCES.len()];

/// Each once.
fn rounds(servers: &mut [Server], round: usize, costs: &mut Costs) -> Attempt<()> {
    for turn in 0..servers.len() {
        let at = (round + turn) % servers.len();
        let cost = servers[at].batch()?;
        costs[at].push(cost);
    }
    Ok(())
}

fn print(head: &str, costs: &Costs) {
    println!("| {head:NAME$} | CPU       | ratio | 95 % sure      | bar  | verdict |");
    println!("| {:-<NAME$} | --------- | ----- | -------------- | ---- | ------- |", "");
    let [first, ..] = costs;
    for (at, (name, costs)) in NAMES.iter().zip(costs).enumerate() {
        let ratios = sorted(costs.iter().zip(first).map(|(cost, first)| cost / first));
        let (ratio, (from, to)) = (median(&ratios), confidence(&ratios));
        let (bar, verdict) = match at {
            STEERED => (format!("{MOST:.2}"), if ratio <= MOST { "met" } else { "missed" }),
            _ => ("-".to_owned(), "-"),
        };
        let cost = median(&sorted(costs.iter().copied())) / 1e3;
        println!("| {name:NAME$} | {cost:6.2} us | {ratio:.3} | {from:.3} to {to:.3} | {bar:4} | {verdict:7} |");
    }
    println!("\n{} rounds of {BATCH} connections each\n", first.len());
}

/// One cluster; this process is its master.
struct Server {
    master: Master,
    address: SocketAddr,
}

impl Server {
    fn start(balance: Balance) -> Attempt<Self> {
        let cluster = Cluster::new().listen("127.0.0.1:0").workers(WORKERS).balance(balance);
        let mut master = cluster.start(accept)?;
        while master.workers().any(|worker| worker.state != State::Ready) {
            master.wait(Some(PATIENCE))?.ok_or("the workers did not start")?;
        }
        let address = master.addresses()[0].socket_addr().ok_or("it is an IP address")?;
        Ok(Self { master, address })
    }

    fn two_leave(&mut self) -> Attempt<()> {
        let ids: Vec<_> = self.master.workers().map(|worker| worker.id).collect();
        self.master.disconnect(ids[1])?;
        self.master.disconnect(ids[4])?;
        Ok(())
    }

    /// How many workers have ended since the last look.
    fn exits(&mut self) -> Attempt<usize> {
        self.master.dispatch()?;
        let events = std::iter::from_fn(|| self.master.next_event());
        Ok(events.filter(|event| matches!(event, Event::Exit { .. })).count())
    }

    fn batch(&mut self) -> Attempt<f64> {
        // Whoever has left by now is not among the workers, and has done nothing since.
        self.exits()?;
        let before = self.spent()?;
        for _ in 0..BATCH / BURST {
            connect(self.address)?;
        }
        Ok((self.spent()? - before) / BATCH as f64)
    }

    /// Nanoseconds of CPU, user and system, that this process and the workers have had.
    fn spent(&self) -> Attempt<f64> {
        let own = getrusage(UsageWho::RUSAGE_SELF)?;
        let mut spent = (own.user_time().num_microseconds() + own.system_time().num_microseconds()) as f64 * 1e3;
        for worker in self.master.workers() {
            let line = fs::read_to_string(format!("/proc/{}/schedstat", worker.pid))?;
            spent += line.split(' ').next().ok_or("schedstat is empty")?.parse::<f64>()?;
        }
        Ok(spent)
    }
}

/// The worker: accepts and closes, nothing else, so that nothing else hides the difference.
fn accept(mut worker: Worker) -> io::Result<()> {
    let mut listener = worker.listen()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    loop {
        worker.poll(&mut poll, &mut events, None)?;
        let last_turn = worker.is_draining();
        while listener.accept().is_ok() {}
        if last_turn {
            return Ok(());
        }
    }
}

/// So many at once; each stays until the worker has closed it, and leaves by a reset: no TIME_WAIT piles up.
fn connect(address: SocketAddr) -> Attempt<()> {
    let clients = (0..BURST).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;
    for mut client in clients {
        client.set_read_timeout(Some(PATIENCE))?;
        if client.read(&mut [0])? > 0 {
            return Err("a worker has said something".into());
        }
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

const MYSELF: Pid = Pid::from_raw(0);

/// The first is what the others are compared with.
const BALANCES: [Balance; 3] = [Balance::Kernel, Balance::Kernel, Balance::Auto];
const NAMES: [&str; BALANCES.len()] = ["Kernel", "another with Kernel", "Auto"];

/// The one with a bar.
const STEERED: usize = 2;

const MOST: f64 = 1.02;

const WORKERS: usize = 8;

/// New clusters, as which pages of memory a process got makes a difference, too.
const GROUPS: usize = 20;

/// Of each group while nobody leaves.
const ROUNDS: usize = 10;

/// Connections: short, so that what disturbs the machine spoils few of them.
const BATCH: usize = 480;

/// Clients at once.
const BURST: usize = 16;

/// The width of a column.
const NAME: usize = 19;

/// For what takes less than a second.
const PATIENCE: Duration = Duration::from_secs(20);
