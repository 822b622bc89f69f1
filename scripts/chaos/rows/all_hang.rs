//! All workers are stopped, and one of them comes back: it takes all who wait. Then the others come back, and nobody
//! was lost.

use std::time::Duration;

use super::{Outcome, Row, amount, hopeless, late_if, unprivileged};
use crate::{
    Attempt,
    figure::Figure,
    frozen::{freeze, thaw},
    generator::{Clients, Generator},
    server::{Kind, Server},
    times::millis,
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "all-hang",
    what: "SIGSTOP to all of 4 workers, one goes on after 2 s, the others a second later; 64 clients, then 64 newcomers",
    bar: "0 failed; newcomers within 200 ms",
    within: Duration::from_secs(60),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &[])?;
    let load = Generator::start(server.address()?, clients, &["--timeout", TIMEOUT])?;
    server.watch(BEFORE)?;
    let workers = server.workers.clone();
    workers.iter().try_for_each(|pid| freeze(*pid))?;
    server.watch(Duration::from_millis(amount(2000, 1000) as u64))?;
    let (first, others) = workers.split_first().ok_or("no workers")?;
    thaw(*first)?;
    // The master takes a look, and those who have waited come first.
    server.watch(TAKEN)?;
    let newcomers = Generator::start(server.address()?, clients, &[])?;
    server.watch(ALONE)?;
    let newcomers = newcomers.finish()?;
    others.iter().try_for_each(|pid| thaw(*pid))?;
    server.watch(AFTER)?;
    let report = load.finish()?;
    let mut wrongs = report.wrongs();
    wrongs.extend(newcomers.wrongs());
    wrongs.extend(hopeless(newcomers.slowest));
    wrongs.extend(server.stop()?);
    let answers = report.load.answered + newcomers.load.answered;
    let mut measured = format!("{}, {answers} answers; newcomers {}", report.load, millis(newcomers.slowest));
    measured += late_if(newcomers.slowest, WITHIN);
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

const WORKERS: usize = 4;
const BEFORE: Duration = Duration::from_millis(300);
const TAKEN: Duration = Duration::from_millis(200);
const ALONE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(300);
const WITHIN: Duration = Duration::from_millis(200);

/// Milliseconds; longer than all of that.
const TIMEOUT: &str = "20000";
