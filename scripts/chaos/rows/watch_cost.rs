//! What the master does while its workers are under load: it looks after them, and nothing else.

use std::time::{Duration, Instant};

use super::{LATE, Outcome, Row, unprivileged};
use crate::{
    Attempt,
    figure::Figure,
    generator::{Clients, Generator},
    procfs,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "watch-cost",
    what: "CPU time of the master of 4 workers under full load, 20 s; 64 clients",
    bar: "0.5 % of a CPU",
    within: Duration::from_secs(90),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &[])?;
    let load = Generator::start(server.address()?, clients, &[])?;
    server.watch(BEFORE)?;
    let (begun, before) = (Instant::now(), procfs::cpu_time(server.master())?);
    server.watch(TIME)?;
    let spent = procfs::cpu_time(server.master())?.saturating_sub(before);
    let share = 100.0 * spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    let report = load.finish()?;
    let mut wrongs = report.wrongs();
    wrongs.extend(server.stop()?);
    if share > AT_MOST {
        wrongs.push(format!("{share:.1} % of a CPU"));
    }
    let is_late = if share > BAR { LATE } else { "" };
    let measured = format!("{share:.2} %{is_late}; {} answers", report.load.answered);
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

const WORKERS: usize = 4;
const BEFORE: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(20);

/// Percent.
const BAR: f64 = 0.5;

/// On every machine.
const AT_MOST: f64 = 5.0;
