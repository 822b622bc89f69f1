//! A worker that is stopped under load. Whoever it had accepted waits for it; nobody else does, those in its queue
//! included.
//!
//! A client gives up after [`TIMEOUT`] and comes again, so those who were lost to the stopped worker are the ones that
//! give up, and no answer took longer than the others had to wait.

use std::time::Duration;

use super::{Outcome, Row, amount, is_short, late_if, unprivileged};
use crate::{
    Attempt,
    figure::Figure,
    frozen::{AtRest, thaw},
    generator::{Clients, Generator},
    server::{Kind, Server, number},
    times::millis,
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "stopped",
    what: "SIGSTOP to one of 4 workers; 64 clients",
    bar: "unanswered <= its open connections; others within 200 ms, newcomers within 100 ms",
    within: Duration::from_secs(60),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &[])?;
    let rest = AtRest::of(&server)?;
    let timeout = TIMEOUT.as_millis().to_string();
    let load = Generator::start(server.address()?, clients, &["--timeout", &timeout])?;
    server.watch(BEFORE)?;
    let victim = server.of_slot(VICTIM)?;
    let open = rest.freeze(victim)?;
    // Whoever comes from now on has nothing to do with it.
    let newcomers = Generator::start(server.address()?, clients, &["--timeout", &timeout])?;
    server.watch(Duration::from_millis(amount(4000, 1200) as u64))?;
    let (report, newcomers) = (load.finish()?, newcomers.finish()?);
    thaw(victim)?;
    server.end()?;
    let (mut wrongs, unanswered) = report.wrongs_but(&["answer_timeout"], open);
    wrongs.extend(newcomers.wrongs());
    wrongs.extend(accused(&server, &[victim]));
    wrongs.extend(server.deaths);
    let mut measured = format!("{unanswered} unanswered, {open} open there; others {}", millis(report.slowest));
    measured += late_if(report.slowest, WITHIN);
    measured += &format!(", newcomers {}{}", millis(newcomers.slowest), late_if(newcomers.slowest, DETECTED_WITHIN));
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// Hung are exactly these, says the master. In the short version it may not have come to that.
pub(super) fn accused(server: &Server, guilty: &[u32]) -> Option<String> {
    let told: Vec<u32> = server.told("hung").iter().filter_map(|line| number(line, "pid").ok()).collect();
    let is_complete = is_short() || guilty.iter().all(|pid| told.contains(pid));
    let is_just = told.iter().all(|pid| guilty.contains(pid));
    (!is_complete || !is_just).then(|| format!("{guilty:?} hang, told were {told:?}"))
}

const WORKERS: usize = 4;
const VICTIM: u32 = 1;
const BEFORE: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_millis(200);
const DETECTED_WITHIN: Duration = Duration::from_millis(100);

/// Nobody whom the stopped worker had not accepted waits for so long, on any machine.
const TIMEOUT: Duration = Duration::from_secs(1);
