//! TERM to the master under load: whom a worker has, or has waiting at its door, is answered, and whoever comes later is
//! refused at once. Also where a worker is busy when the signal comes.
//!
//! What counts as an accepted request is said in `load.rs`. Here the clients are in this process, because only they know
//! what was before the signal.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Outcome, Row, everybody};
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    generator::Clients,
    load::{Connections, Counts, Load},
    rows::amount,
    server::{Kind, Server},
    times::{Times, millis},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "term-under-load",
    what: "SIGTERM to the master of 4 workers, 64 clients, and a newcomer every millisecond; every other time one worker is in a request of 300 ms",
    bar: "0 accepted reset; refused from 50 ms",
    within: Duration::from_secs(200),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let mut figures = everybody(&ROW, one)?;
    for figure in &mut figures {
        if figure.verdict == Verdict::Met && figure.measured.contains(LATE) {
            figure.verdict = Verdict::Missed;
        }
    }
    Ok(figures)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let connections = match clients {
        Clients::New => Connections::New,
        Clients::KeepAlive => Connections::Kept,
    };
    let (mut lost, mut hung, mut answered, mut late) = (0, 0, 0, 0);
    let (mut wrongs, mut free, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for stop in 0..amount(20, 2) {
        let is_busy = stop % 2 == 1;
        let (counts, refused_from, wrong) = stop_once(user, connections, is_busy)?;
        lost += counts.lost;
        hung += counts.hung;
        answered += counts.answered;
        late += counts.late;
        wrongs.extend(wrong);
        if is_busy { busy.push(refused_from) } else { free.push(refused_from) }
    }
    if lost + hung > 0 {
        wrongs.push(format!("{lost} accepted reset, {hung} not answered"));
    }
    let (free, busy) = (Times::new(free)?, Times::new(busy)?);
    let mut measured = format!("{lost} of {} accepted reset, {late} later; ", answered + lost);
    measured += &format!("refused from {}, busy {}", millis(free.max()), millis(busy.max()));
    if free.max().max(busy.max()) > REFUSED_FROM {
        measured += LATE;
    }
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// The requests, when the last newcomer was not refused, and what was not in order.
fn stop_once(user: User, connections: Connections, is_busy: bool) -> Attempt<(Counts, Duration, Vec<String>)> {
    let server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &[])?;
    let address = server.address()?;
    let mut load = Load::new(address, CLIENTS, connections)?;
    load.run(BEFORE)?;
    let mut slow = is_busy.then(|| busy(address)).transpose()?;
    load.run(BUSY)?;
    let over = AtomicBool::new(false);
    load.expect_stop();
    server.process.signal(Signal::SIGTERM)?;
    let begun = Instant::now();
    let refused_from = thread::scope(|scope| {
        let newcomers = scope.spawn(|| newcomers(address, begun, &over));
        let ran = load.run_out(ANSWERED_WITHIN);
        over.store(true, Ordering::Relaxed);
        let refused_from = newcomers.join().map_err(|_| "the newcomers panicked")?;
        ran.and(Ok(refused_from?))
    })?;
    let mut wrongs = server.has_stopped()?;
    if let Some(stream) = &mut slow {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            wrongs.push("the request that keeps a worker busy was not answered".to_owned());
        }
    }
    Ok((load.into_counts(), refused_from, wrongs))
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
const LATE: &str = " (later than wanted)";
