//! Healthy workers under as much load as they can bear: nobody is accused, and no door is lent for nothing.
//!
//! Loans are counted in the master's log. A worker that gets no CPU for two looks is helped out by a sibling, as it
//! should be; on a machine that does nothing else that is rare.

use std::{fs, fs::File, time::Duration};

use super::{LATE, Outcome, Row, is_long, stopped::accused, unprivileged};
use crate::{
    Attempt,
    figure::Figure,
    folder::Folder,
    generator::{Clients, Generator},
    server::Server,
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "healthy",
    what: "full load on 4 workers for 60 s (10 min with --long); 64 clients",
    bar: "0 failed, 0 told to hang; 1 loan per minute",
    within: Duration::from_secs(180),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let folder = Folder::new()?;
    let log = folder.file(FILE);
    let mut server = Server::start_logged(user, WORKERS, LEVEL, File::create(&log)?)?;
    let minutes = if is_long() { 10 } else { 1 };
    let load = Generator::start(server.address()?, clients, &[])?;
    server.watch(MINUTE * minutes)?;
    let report = load.finish()?;
    server.end()?;
    let mut wrongs = report.wrongs();
    wrongs.extend(accused(&server, &[]));
    let loans = fs::read_to_string(&log)?.lines().filter(|line| line.contains(LENT)).count();
    if loans > (AT_MOST * minutes) as usize {
        wrongs.push(format!("{loans} loans"));
    }
    wrongs.extend(server.deaths);
    let hung = server.told.iter().filter(|line| line.contains("\"event\":\"hung\"")).count();
    let mut measured = format!("{}; {hung} told to hang, {loans} loans in {minutes} min", report.load);
    measured += &format!(", {} answers", report.load.answered);
    if loans > minutes as usize {
        measured += LATE;
    }
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

const WORKERS: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);
const FILE: &str = "log";
const LEVEL: &str = "warn,mio_cluster::master=debug";
const LENT: &str = "clients wait at its socket";

/// A minute, on every machine: more is a door that goes to and fro.
const AT_MOST: u32 = 240;
