//! A worker that needs 5 s to warm up takes the place of one that has crashed: siblings take its clients meanwhile.

use std::time::{Duration, Instant};

use super::{Outcome, Row, hopeless, late_if, unprivileged};
use crate::{
    Attempt, boot,
    figure::Figure,
    folder::Folder,
    frozen::AtRest,
    generator::{CUT, Clients, Generator},
    server::{Kind, Server},
    times::millis,
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "slow-start",
    what: "kill -9 of one of 4 workers whose successor needs 5 s before it listens; 64 clients",
    bar: "0 failed but those that it had open; within 200 ms",
    within: Duration::from_secs(60),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let folder = Folder::new()?;
    let file = folder.file(FILE).to_string_lossy().into_owned();
    let mut server = Server::start_as(user, Kind::Own, "127.0.0.1:0", WORKERS, &["--boot", &file])?;
    let rest = AtRest::of(&server)?;
    let load = Generator::start(server.address()?, clients, &[])?;
    server.watch(BEFORE)?;
    folder.write(FILE, &boot::slow(VICTIM, WARM_UP))?;
    let (begun, victim) = (Instant::now(), server.of_slot(VICTIM)?);
    let open = rest.kill(victim)?;
    server.replacement()?;
    let time = begun.elapsed();
    server.watch(AFTER)?;
    let report = load.finish()?;
    server.end()?;
    server.excuse(victim);
    let (mut wrongs, cut) = report.wrongs_but(&CUT, open);
    if time < WARM_UP {
        wrongs.push(format!("the successor was ready after {time:?}"));
    }
    wrongs.extend(hopeless(report.slowest));
    wrongs.extend(server.deaths);
    let slowest = format!("{}{}", millis(report.slowest), late_if(report.slowest, WITHIN));
    let measured =
        format!("{cut} failed, {open} open there; ready after {:.1} s; slowest {slowest}", time.as_secs_f64());
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

const FILE: &str = "boot";
const WORKERS: usize = 4;
const VICTIM: u32 = 1;
const BEFORE: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_millis(200);
