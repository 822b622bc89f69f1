//! Kills while every request comes on a connection of its own: who is lost, and where.
//!
//! The clients say how many connections were established and how many of them got no answer; the scoreboard says how
//! many were accepted, and how many of those were open when their worker died (`abandoned`). Who is established and was
//! never accepted was lost in a queue.
//!
//! A worker may be killed after the kernel has handed it a connection and before it has counted that: of each kill, one
//! connection may be missing from the scoreboard's counts, no more.

use std::{
    fmt,
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Master, State, Totals};
use nix::sys::signal::Signal;

use super::Row;
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    load::Counts,
    process::{Process, send},
    random::Random,
    serve::serve,
};

pub(super) const ROW: Row = Row {
    name: "kills-new-connections",
    what: "kill -9 of one of 2 workers every 500 ms for 10 s; 64 clients, each request on a new connection",
    bar: "0, 0, 0, abandoned (+ 1 per kill)",
    within: Duration::from_secs(90),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let (mut random, seed) = Random::new();
    let kept = Losses::measure(true, &mut random)?;
    let without = Losses::measure(false, &mut random)?;
    let met = kept.are_of_accepted_connections_only();
    let mut measured = kept.to_string();
    if !met {
        measured = format!("CHAOS_SEED={seed}: {measured}");
    }
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured,
        bar: ROW.bar.to_owned(),
        yardstick: format!("keep_listeners(false): {without}"),
        verdict: if met { Verdict::Met } else { Verdict::Failed },
    }])
}

/// By `KILLS` kills.
struct Losses {
    clients: Counts,
    server: Totals,
}

impl Losses {
    fn measure(keep: bool, random: &mut Random) -> Attempt<Self> {
        let cluster = Cluster::new().listen("127.0.0.1:0").workers(WORKERS).keep_listeners(keep);
        let mut master = cluster.start(serve)?;
        until_all_ready(&mut master)?;
        let address = master.addresses()[0].to_string();
        let mut load = Process::start(&["--load-new", &address, CLIENTS])?;
        watch(&mut master, PAUSE)?;
        for _ in 0..KILLS {
            until_all_ready(&mut master)?;
            let victim = master.workers().nth(random.below(WORKERS)).ok_or("no worker")?;
            send(victim.pid, Signal::SIGKILL)?;
            watch(&mut master, PAUSE)?;
        }
        load.nudge()?;
        let clients = Counts::from_line(&load.line()?.ok_or("the load generator failed")?)?;
        load.wait()?;
        let Counts { answered, established, lost, hung, .. } = clients;
        if hung == 0 && answered + lost != established {
            return Err(format!("{established} connections, but {answered} answered and {lost} broken").into());
        }
        Ok(Self { clients, server: master.scoreboard().total() })
    }

    fn failed(&self) -> u64 {
        self.clients.lost + self.clients.late + self.clients.hung
    }

    /// Established, as the clients know, and missing from the scoreboard's counts.
    fn never_accepted(&self) -> u64 {
        self.clients.established.saturating_sub(self.server.accepted)
    }

    /// But for one per kill, which may have been accepted and not counted.
    fn are_of_accepted_connections_only(&self) -> bool {
        let Totals { abandoned, .. } = self.server;
        let explained = self.failed() <= abandoned + KILLS && self.never_accepted() <= KILLS;
        explained && self.clients.refused == 0 && self.clients.hung == 0
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { refused, hung, .. } = self.clients;
        let (failed, abandoned, never) = (self.failed(), self.server.abandoned, self.never_accepted());
        let each = failed as f64 / KILLS as f64;
        write!(f, "refused {refused}, hung {hung}, never accepted {never}, ")?;
        write!(f, "failed {failed} ({each:.1} per kill), abandoned {abandoned}")
    }
}

pub(super) fn until_all_ready(master: &mut Master) -> Attempt<()> {
    let end = Instant::now() + READY_WITHIN;
    while master.workers().filter(|worker| worker.state == State::Ready).count() < WORKERS {
        if Instant::now() > end {
            return Err("a worker was not replaced".into());
        }
        watch(master, Duration::from_millis(1))?;
    }
    Ok(())
}

pub(super) fn watch(master: &mut Master, time: Duration) -> Attempt<()> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if master.wait(Some(left))?.is_none() && left.is_zero() {
            return if master.is_finished() { Err("the cluster ended".into()) } else { Ok(()) };
        }
    }
}

const WORKERS: usize = 2;
const KILLS: u64 = 20;
const PAUSE: Duration = Duration::from_millis(500);
const CLIENTS: &str = "64";
const READY_WITHIN: Duration = Duration::from_secs(10);
