//! `kill -9` of the master: its workers go with it, one that spins too, and the port is free for the next one at once.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use super::{Row, fixed_address};
use crate::{
    Attempt, bare,
    figure::{Figure, Verdict},
    server::{Kind, Server},
    times::Times,
};

pub(super) const ROW: Row = Row {
    name: "master-killed",
    what: "kill -9 of the master while one of its 4 workers spins, until all are gone; 20 masters on one port",
    bar: "max 100 ms, port free",
    within: Duration::from_secs(60),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let address = fixed_address()?;
    let times = (0..KILLS).map(|_| kill(&address)).collect::<Attempt<Vec<Duration>>>()?;
    // Each start proves that the master before has left the port; this one stands for the last.
    let mut server = Server::start(Kind::Own, &address, 1, &[])?;
    server.process.signal(Signal::SIGTERM)?;
    server.process.wait()?;
    let times = Times::new(times)?;
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured: format!("{times}, port free each time"),
        bar: ROW.bar.to_owned(),
        yardstick: bare_times()?,
        verdict: Verdict::bar(times.max() <= MAX),
    }])
}

fn kill(address: &str) -> Attempt<Duration> {
    let server = Server::start(Kind::Own, address, WORKERS, &["--spin"])
        .map_err(|error| format!("{address} is not free: {error}"))?;
    // Open connections must not keep the port either.
    let clients = (0..8).map(|_| TcpStream::connect(server.address()?).map_err(Into::into));
    let _clients = clients.collect::<Attempt<Vec<TcpStream>>>()?;
    until_gone(server)
}

fn bare_times() -> Attempt<String> {
    let mut times = Vec::new();
    for _ in 0..KILLS {
        match Server::bare(WORKERS)? {
            Some(server) => times.push(until_gone(server)?),
            None => return Ok(bare::absent()),
        }
    }
    Ok(bare::cell(Some(Times::new(times)?)))
}

/// Kills the master; its orphans become children of this process, which is a subreaper.
fn until_gone(mut server: Server) -> Attempt<Duration> {
    let begun = Instant::now();
    server.process.signal(Signal::SIGKILL)?;
    while !server.workers.is_empty() {
        if begun.elapsed() > GIVE_UP {
            return Err(format!("workers outlive their master: {:?}", server.workers).into());
        }
        server.workers.retain(|pid| !gone(*pid));
        thread::sleep(LOOK_EVERY);
    }
    let time = begun.elapsed();
    server.process.wait()?;
    Ok(time)
}

fn gone(pid: u32) -> bool {
    match waitpid(Pid::from_raw(pid.try_into().unwrap_or(i32::MAX)), Some(WaitPidFlag::WNOHANG)) {
        // No child of ours as long as the master lives.
        Err(Errno::ECHILD) => false,
        Ok(status) => status.pid().is_some(),
        Err(_) => false,
    }
}

const KILLS: usize = 20;
const WORKERS: usize = 4;
const MAX: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_micros(200);
const GIVE_UP: Duration = Duration::from_secs(3);
