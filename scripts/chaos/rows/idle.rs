//! Whether an idle cluster sleeps, its master in a loop of its own or in the program's. It has worked before: requests
//! were answered and a worker replaced.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;

use super::{Row, is_long};
use crate::{
    Attempt, bare,
    figure::{Figure, Verdict},
    load::{Connections, Load},
    process::send,
    procfs,
    server::{Kind, Server},
};

pub(super) const ROW: Row = Row {
    name: "idle",
    what: "wake-ups of master and workers over 10 s (60 with --long), after some load and the replacement of a worker",
    bar: "0",
    within: Duration::from_secs(60),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let mut names: Vec<String> = Kind::all().iter().map(|kind| kind.name(ROW.name)).collect();
    let mut servers = Kind::all().iter().map(|kind| used(*kind, &[])).collect::<Attempt<Vec<Server>>>()?;
    names.push(format!("{} embedded master", ROW.name));
    servers.push(used(Kind::Own, &["--embedded"])?);
    let bare = Server::bare(WORKERS)?;
    thread::sleep(SETTLE);
    let before = servers.iter().map(Wakes::of).collect::<Attempt<Vec<Wakes>>>()?;
    let bare_before = bare.as_ref().map(Wakes::of).transpose()?;
    thread::sleep(if is_long() { LONG } else { WATCH });
    let yardstick = match (&bare, bare_before) {
        (Some(bare), Some(before)) => Wakes::of(bare)?.since(&before).to_string(),
        _none => bare::absent(),
    };
    let figure = |((server, before), row): ((&Server, &Wakes), String)| {
        let wakes = Wakes::of(server)?.since(before);
        Ok(Figure {
            row,
            measured: wakes.to_string(),
            bar: ROW.bar.to_owned(),
            yardstick: yardstick.clone(),
            verdict: Verdict::bar(wakes.master + wakes.workers == 0),
        })
    };
    servers.iter().zip(&before).zip(names).map(figure).collect()
}

/// A server that has served and has replaced a worker.
fn used(kind: Kind, more: &[&str]) -> Attempt<Server> {
    let mut server = Server::start(kind, "127.0.0.1:0", WORKERS, more)?;
    let victim = server.workers.remove(0);
    send(victim, Signal::SIGKILL)?;
    server.replacement()?;
    Load::new(server.address()?, 8, Connections::Mixed)?.run(Duration::from_millis(200))?;
    Ok(server)
}

struct Wakes {
    master: u64,
    workers: u64,
}

impl Wakes {
    fn of(server: &Server) -> Attempt<Self> {
        let workers = server.workers.iter().map(|pid| procfs::switches(*pid)).sum::<Attempt<u64>>()?;
        Ok(Self { master: procfs::switches(server.master())?, workers })
    }

    fn since(&self, before: &Self) -> Self {
        Self { master: self.master - before.master, workers: self.workers - before.workers }
    }
}

impl std::fmt::Display for Wakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "master {}, workers {}", self.master, self.workers)
    }
}

const WORKERS: usize = 2;

/// The load's connections close meanwhile, and the master takes its last looks when nothing has happened for a second.
const SETTLE: Duration = Duration::from_secs(3);

const WATCH: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);
