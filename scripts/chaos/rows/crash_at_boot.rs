//! A slot whose workers crash while they start: siblings take its clients, and it is tried again less and less often.

use std::time::Duration;

use super::{Outcome, Row, hopeless, late_if, unprivileged};
use crate::{
    Attempt, boot,
    figure::Figure,
    folder::Folder,
    frozen::AtRest,
    generator::{CUT, Clients, Generator},
    server::{Kind, Server, number},
    times::millis,
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "crash-at-boot",
    what: "kill -9 of one of 4 workers whose successors exit before they listen, for 10 s; 64 clients",
    bar: "0 failed but those that it had open; back-off as configured; within 200 ms",
    within: Duration::from_secs(120),
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
    folder.write(FILE, &boot::crash(VICTIM))?;
    let open = rest.kill(server.of_slot(VICTIM)?)?;
    server.watch(CRASHING)?;
    folder.write(FILE, "")?;
    server.until_ready(WORKERS, RESTORED_WITHIN)?;
    let report = load.finish()?;
    server.end()?;
    let (mut wrongs, cut) = report.wrongs_but(&CUT, open);
    let delays = delays(&server)?;
    wrongs.extend(strange(&delays));
    // Killed, and then the crashes.
    server.deaths.retain(|line| !line.contains(&format!("\"slot\":{VICTIM},")));
    wrongs.extend(hopeless(report.slowest));
    wrongs.extend(server.deaths);
    let delays: Vec<String> = delays.iter().map(|delay| format!("{:.1}", delay.as_secs_f64())).collect();
    let measured = format!(
        "{cut} failed, {open} open there; back-off {} s; slowest {}{}",
        delays.join(" "),
        millis(report.slowest),
        late_if(report.slowest, WITHIN)
    );
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// From the first failed start on.
fn delays(server: &Server) -> Attempt<Vec<Duration>> {
    let delay = |line: &&str| Ok(Duration::from_millis(number(line, "delay_ms")?.into()));
    server.told("backoff").iter().map(delay).collect()
}

/// Each is twice the one before, within the jitter.
fn strange(delays: &[Duration]) -> Option<String> {
    let mut wanted = FIRST;
    let mut is_as_configured = |delay: &Duration| {
        let is_so = *delay >= wanted.mul_f64(1.0 - JITTER) - MILLI && *delay <= wanted.mul_f64(1.0 + JITTER);
        wanted = (wanted * 2).min(MOST);
        is_so
    };
    let is_strange = delays.len() < AT_LEAST || !delays.iter().all(&mut is_as_configured);
    is_strange.then(|| format!("back-off {delays:?}"))
}

const FILE: &str = "boot";
const WORKERS: usize = 4;
const VICTIM: u32 = 1;
const BEFORE: Duration = Duration::from_millis(500);
const CRASHING: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_millis(200);

/// The last delay was begun before the end of the crashes.
const RESTORED_WITHIN: Duration = Duration::from_secs(30);

/// The defaults of the library.
const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(30);
const JITTER: f64 = 0.2;

/// Events tell whole milliseconds.
const MILLI: Duration = Duration::from_millis(1);

/// Within 10 s: 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 s, and the next.
const AT_LEAST: usize = 6;
