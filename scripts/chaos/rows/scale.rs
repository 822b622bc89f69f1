//! More workers and fewer under load. Nobody may notice.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Outcome, Row, everybody};
use crate::{
    Attempt,
    figure::Figure,
    generator::{Clients, Generator},
    procfs,
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "scale",
    what: "SIGTTIN from 1 worker to 8 and SIGTTOU back to 1; 64 clients",
    bar: "0 failed",
    within: Duration::from_secs(400),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    everybody(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let count = amount(20, 1);
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", 1, &[])?;
    let load = Generator::start(server.address()?, clients, &[])?;
    let begun = Instant::now();
    for _ in 0..count {
        each(&mut server, Signal::SIGTTIN, "ready")?;
        each(&mut server, Signal::SIGTTOU, "exit")?;
    }
    let time = begun.elapsed();
    let report = load.finish()?;
    let mut wrongs = report.wrongs();
    wrongs.extend(server.stop()?);
    let measured =
        format!("{}; {count} times in {:.1} s, {} answers", report.load, time.as_secs_f64(), report.load.answered);
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// Seven steps at once, and what is told of each.
fn each(server: &mut Server, signal: Signal, event: &str) -> Attempt<()> {
    for _ in 0..STEPS {
        server.process.signal(signal)?;
        // Of two that wait the kernel delivers one.
        while procfs::is_pending(server.master(), signal)? {
            thread::sleep(Duration::from_millis(1));
        }
    }
    (0..STEPS).try_for_each(|_| server.until(event).map(drop))
}

/// From 1 worker to 8.
const STEPS: usize = 7;
