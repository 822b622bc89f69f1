//! Rolling restarts under load. Nobody may notice.

use std::time::{Duration, Instant};

use super::{Outcome, Row, everybody};
use crate::{
    Attempt,
    figure::Figure,
    generator::{Clients, Generator},
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "rollouts",
    what: "SIGHUP after SIGHUP, each when the last rollout has ended; 2 workers, 64 clients",
    bar: "0 failed, all done",
    within: Duration::from_secs(300),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    everybody(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let count = amount(100, 5);
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &["--settle", SETTLE])?;
    let load = Generator::start(server.address()?, clients, &[])?;
    let begun = Instant::now();
    for _ in 0..count {
        server.roll_to_the_end()?;
    }
    let time = begun.elapsed();
    let report = load.finish()?;
    let mut wrongs = report.wrongs();
    wrongs.extend(server.stop()?);
    let measured = format!("{}; {count} in {:.1} s, {} answers", report.load, time.as_secs_f64(), report.load.answered);
    let yardstick = if user == User::all()[0] { yardstick(clients)? } else { "-".to_owned() };
    Ok(Outcome { measured, wrongs, yardstick })
}

/// The same without custody of the doors.
fn yardstick(clients: Clients) -> Attempt<String> {
    let count = amount(20, 2);
    let more = ["--settle", SETTLE, "--keep-listeners", "false"];
    let mut server = Server::start(Kind::Own, "127.0.0.1:0", WORKERS, &more)?;
    let load = Generator::start(server.address()?, clients, &[])?;
    for _ in 0..count {
        server.roll_to_the_end()?;
    }
    let report = load.finish()?;
    Ok(format!("keep_listeners(false): {} in {count}", report.load.failed()))
}

const WORKERS: usize = 2;

/// Milliseconds; the default is a second.
const SETTLE: &str = "50";
