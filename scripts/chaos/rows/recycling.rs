//! Workers that are replaced when they have accepted so many connections. Nobody may notice.

use std::time::Duration;

use super::{Outcome, Row, figure};
use crate::{
    Attempt,
    figure::Figure,
    generator::{Clients, Generator},
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "recycling",
    what: "each of 4 workers is replaced after 2000 connections, for 60 s; 64 clients with a new connection per request, 64 with keep-alive",
    bar: "0 failed",
    within: Duration::from_secs(180),
    is_short: false,
    measure,
};

/// Only new connections use a worker up, so both kinds of clients come at once.
fn measure() -> Attempt<Vec<Figure>> {
    let user = User::unprivileged();
    Ok(vec![figure(&ROW, &user.name(ROW.name), one(user))])
}

fn one(user: User) -> Attempt<Outcome> {
    let more = ["--settle", SETTLE, "--recycle-connections", CONNECTIONS];
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &more)?;
    let loads = Clients::ALL.map(|clients| Generator::start(server.address()?, clients, &[]));
    server.watch(TIME)?;
    let (mut wrongs, mut answers, mut failed) = (Vec::new(), 0, 0);
    for load in loads {
        let report = load?.finish()?;
        wrongs.extend(report.wrongs());
        answers += report.load.answered;
        failed += report.load.failed();
    }
    server.end()?;
    let recycled = server.told("exit").iter().filter(|line| line.contains("\"cause\":\"recycled\"")).count();
    if recycled == 0 {
        wrongs.push("no worker was recycled".to_owned());
    }
    wrongs.extend(server.deaths);
    let measured = format!("{failed} failed; {recycled} workers recycled, {answers} answers");
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

const WORKERS: usize = 4;
const CONNECTIONS: &str = "2000";
const TIME: Duration = Duration::from_secs(60);

/// Milliseconds; the default is a second.
const SETTLE: &str = "50";
