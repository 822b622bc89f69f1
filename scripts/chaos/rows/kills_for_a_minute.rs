//! Kills under load: who is lost, and that the scoreboard explains each one.
//!
//! A worker may be killed after the kernel has handed it a connection and before it has counted that: of each kill, one
//! connection may be missing from the scoreboard's counts, no more.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Outcome, Row, unprivileged};
use crate::{
    Attempt,
    figure::Figure,
    generator::{CUT, Clients, Generator},
    process::send,
    random::Random,
    server::{Kind, Server, number},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "kills-for-a-minute",
    what: "kill -9 of one of 4 workers every 500 ms for 60 s; 64 clients",
    bar: "0 refused; failed <= accepted - closed (+ 1 per kill)",
    within: Duration::from_secs(240),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let (mut random, seed) = Random::new();
    let mut server = Server::start_as(user, Kind::Own, "127.0.0.1:0", WORKERS, &["--totals"])?;
    let load = Generator::start(server.address()?, clients, &[])?;
    server.watch(PAUSE)?;
    for kill in 1..=KILLS {
        let next = Instant::now() + PAUSE;
        let victim = server.workers[random.below(WORKERS)];
        send(victim, Signal::SIGKILL)?;
        server.replacement().map_err(|error| format!("CHAOS_SEED={seed}: kill {kill}: {error}"))?;
        server.until_ready(WORKERS, RESTORED_WITHIN)?;
        server.excuse(victim);
        server.watch(next.saturating_duration_since(Instant::now()))?;
    }
    let report = load.finish()?;
    let lost = abandoned(&mut server)?;
    let (mut wrongs, cut) = report.wrongs_but(&CUT, lost + KILLS);
    wrongs.extend(server.deaths);
    if !wrongs.is_empty() {
        wrongs.push(format!("CHAOS_SEED={seed}"));
    }
    let each = cut as f64 / KILLS as f64;
    let answers = report.load.answered;
    let measured = format!("{KILLS} kills: {cut} failed ({each:.1} each), {lost} were open there; {answers} answers");
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// Connections that were open when their worker ended, as the scoreboard has it when all have ended.
fn abandoned(server: &mut Server) -> Attempt<u64> {
    server.end()?;
    let totals = server.told("totals");
    Ok(number(totals.last().ok_or("the server has told no totals")?, "abandoned")?.into())
}

const WORKERS: usize = 4;
const KILLS: u64 = 120;
const PAUSE: Duration = Duration::from_millis(500);
const RESTORED_WITHIN: Duration = Duration::from_secs(10);
