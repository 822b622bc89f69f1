//! A worker that computes: nobody but the client that asked for it waits.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{Outcome, Row, amount, hopeless, is_short, late_if, queued::is_served, unprivileged};
use crate::{
    Attempt,
    figure::Figure,
    generator::{Clients, Generator},
    server::{Kind, Server, number},
    times::millis,
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "busy",
    what: "one of 4 workers in a request of 10 s, 200 newcomers at once; and 200 more when that was noticed",
    bar: "400 of 400 served within 200 ms, and the one that asked",
    within: Duration::from_secs(90),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    unprivileged(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &[])?;
    let busy_for = Duration::from_millis(amount(10_000, 1000) as u64);
    let begun = Instant::now();
    let mut asker = TcpStream::connect(server.address()?)?;
    write!(asker, "GET /sleep/{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", busy_for.as_millis())?;
    server.watch(ACCEPTED)?;
    let waves = [newcomers(&server, clients)?, {
        server.watch(NOTICED)?;
        newcomers(&server, clients)?
    }];
    let took = begun.elapsed();
    let mut wrongs: Vec<String> = waves.iter().flat_map(|wave| wave.wrongs.clone()).collect();
    if took >= busy_for {
        wrongs.push(format!("the newcomers took {took:?}, longer than the worker was busy"));
    }
    if !is_served(&asker, begun + busy_for + Duration::from_secs(5)) {
        wrongs.push("the one that asked was not answered".to_owned());
    }
    server.end()?;
    let hung: Vec<u32> = server.told("hung").iter().filter_map(|line| number(line, "pid").ok()).collect();
    if hung.len() > 1 || hung.is_empty() && !is_short() {
        wrongs.push(format!("one worker hangs, told were {hung:?}"));
    }
    wrongs.extend(server.deaths);
    let served: u64 = waves.iter().map(|wave| wave.served).sum();
    let times = waves.map(|wave| format!("{}{}", millis(wave.slowest), late_if(wave.slowest, WITHIN)));
    let measured = format!("{served} of {} served, slowest {}, later {}", 2 * NEWCOMERS, times[0], times[1]);
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

struct Wave {
    served: u64,
    slowest: Duration,
    wrongs: Vec<String>,
}

/// Each asks once.
fn newcomers(server: &Server, clients: Clients) -> Attempt<Wave> {
    let count = NEWCOMERS.to_string();
    let words = ["--connections", &count, "--requests", &count, "--workers", "1", "--new"];
    let words = if clients == Clients::New { &words[..] } else { &words[..words.len() - 1] };
    let report = Generator::with(server.address()?, words)?.report()?;
    let (served, slowest, mut wrongs) = (report.load.answered, report.slowest, report.wrongs());
    if served != NEWCOMERS {
        wrongs.push(format!("{served} of {NEWCOMERS} served"));
    }
    wrongs.extend(hopeless(slowest));
    Ok(Wave { served, slowest, wrongs })
}

const WORKERS: usize = 4;
const NEWCOMERS: u64 = 200;
const WITHIN: Duration = Duration::from_millis(200);

/// The request has reached its worker.
const ACCEPTED: Duration = Duration::from_millis(10);

/// By then newcomers are led elsewhere.
const NOTICED: Duration = Duration::from_millis(300);
