//! TERM to the master under load: whom a worker has, or has waiting at its door, is answered, and whoever comes later is
//! refused at once. Also where a worker is busy when the signal comes.
//!
//! What counts as an accepted request is said in `load.rs`. Here the clients are in this process, because only they know
//! what was before the signal.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Outcome, Row, everybody, late_if};
use crate::{
    Attempt,
    figure::Figure,
    generator::Clients,
    load::{Connections, Counts, Load},
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "term-under-load",
    what: "SIGTERM to the master of 4 workers, 64 clients, and a newcomer every millisecond; every other time one worker is in a request of 300 ms",
    bar: "0 reset; refused from 50 ms",
    within: Duration::from_secs(200),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    everybody(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let connections = match clients {
        Clients::New => Connections::New,
        Clients::KeepAlive => Connections::Kept,
    };
    let mut counts = Counts::default();
    let (mut wrongs, mut free, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for stop in 0..amount(20, 2) {
        let is_busy = stop % 2 == 1;
        let (stop, wrong) = stop_once(user, connections, is_busy)?;
        counts.answered += stop.counts.answered;
        counts.lost += stop.counts.lost;
        counts.late += stop.counts.late;
        wrongs.extend(wrong);
        if is_busy { busy.push(stop) } else { free.push(stop) }
    }
    let Counts { answered, lost, late, .. } = counts;
    if lost + late > 0 {
        wrongs.push(format!("{lost} accepted reset, {late} that came later"));
    }
    let (free, busy) = (Stop::latest(&free)?, Stop::latest(&busy)?);
    let mut measured = format!("{lost} of {} accepted reset, {late} later; ", answered + lost);
    measured += &format!("refused from {free}, busy {busy}");
    measured += late_if(free.refused_from.max(busy.refused_from), REFUSED_FROM);
    if free.is_hopeless() || busy.is_hopeless() {
        wrongs.push(format!("not refused {AT_THE_LATEST:?} after the master had the signal"));
    }
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

struct Stop {
    counts: Counts,
    /// When the last newcomer was not refused.
    refused_from: Duration,
    /// When the master had the signal: where the machine has no time for it, nobody is refused either.
    taken: Duration,
}

impl Stop {
    fn latest(stops: &[Stop]) -> Result<&Stop, &'static str> {
        stops.iter().max_by_key(|stop| stop.refused_from).ok_or("there was no stop")
    }

    /// On every machine.
    fn is_hopeless(&self) -> bool {
        self.refused_from.saturating_sub(self.taken) > AT_THE_LATEST
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:.1} ms (taken at {:.1})", millis(self.refused_from), millis(self.taken))
    }
}

/// And what was not in order.
fn stop_once(user: User, connections: Connections, is_busy: bool) -> Attempt<(Stop, Vec<String>)> {
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &[])?;
    let address = server.address()?;
    let mut load = Load::new(address, CLIENTS, connections)?;
    load.run(BEFORE)?;
    let mut slow = is_busy.then(|| busy(address)).transpose()?;
    load.run(BUSY)?;
    let over = AtomicBool::new(false);
    load.expect_stop();
    server.process.signal(Signal::SIGTERM)?;
    let begun = Instant::now();
    let (refused_from, taken) = thread::scope(|scope| {
        let newcomers = scope.spawn(|| newcomers(address, begun, &over));
        let stopping = || server.until("stopping").map(|_| begun.elapsed()).map_err(|error| error.to_string());
        let taken = scope.spawn(stopping);
        let ran = load.run_out(ANSWERED_WITHIN);
        over.store(true, Ordering::Relaxed);
        let refused_from = newcomers.join().map_err(|_| "the newcomers panicked")?;
        let taken = taken.join().map_err(|_| "the reader panicked")?;
        ran.and(Ok((refused_from?, taken?)))
    })?;
    let mut wrongs = server.has_stopped()?;
    if let Some(stream) = &mut slow {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            wrongs.push("the request that keeps a worker busy was not answered".to_owned());
        }
    }
    Ok((Stop { counts: load.into_counts(), refused_from, taken }, wrongs))
}

/// Keeps the worker that gets it busy.
fn busy(address: SocketAddr) -> Attempt<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
    stream.write_all(b"GET /sleep/300 HTTP/1.1\r\nHost: a\r\n\r\n")?;
    Ok(stream)
}

/// Connects every millisecond: when the last one was not refused.
fn newcomers(address: SocketAddr, begun: Instant, over: &AtomicBool) -> Result<Duration, &'static str> {
    let mut last = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let time = begun.elapsed();
        match TcpStream::connect_timeout(&address, ANSWERED_WITHIN) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err("a newcomer hung"),
            Ok(_) | Err(_) => last = time,
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(last)
}

const WORKERS: usize = 4;
const CLIENTS: usize = 64;
const BEFORE: Duration = Duration::from_millis(200);
const BUSY: Duration = Duration::from_millis(50);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const REFUSED_FROM: Duration = Duration::from_millis(50);
const AT_THE_LATEST: Duration = Duration::from_millis(500);
