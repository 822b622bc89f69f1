//! The rows of the table.

mod all_hang;
mod bad_release;
mod busy;
mod crash_at_boot;
mod greeting;
mod healthy;
mod idle;
mod idle_keep_alive;
mod kill_9;
mod kills_for_a_minute;
mod kills_new_connections;
mod kills_under_load;
mod long_lived;
mod master_killed;
mod memory;
mod queued;
mod recycling;
mod rollouts;
mod scale;
mod shortage;
mod simultaneous_starts;
mod slow_start;
mod start_64;
mod steering_overhead;
mod stop_under_load;
mod stopped;
mod term_under_load;
mod watch_cost;

use std::{env, fmt::Display, net::TcpListener, time::Duration};

use crate::{
    Attempt,
    figure::{Figure, Verdict},
    generator::Clients,
    times::millis,
    user::User,
};

pub(crate) struct Row {
    /// As the command line and the README call it.
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) bar: &'static str,
    /// Several times what it takes on an idle machine.
    pub(crate) within: Duration,
    /// Part of the short version.
    pub(crate) is_short: bool,
    pub(crate) measure: fn() -> Attempt<Vec<Figure>>,
}

impl Row {
    /// By its name, or by the first words of it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    pub(crate) fn failed(&self, why: impl Display) -> Figure {
        Figure::failed(self.name, self.bar, why)
    }
}

pub(crate) const ROWS: [Row; 29] = [
    kill_9::ROW,
    start_64::ROW,
    memory::ROW,
    idle::ROW,
    kills_under_load::ROW,
    kills_new_connections::ROW,
    queued::ONE_OF_TWO,
    queued::ONLY,
    shortage::ROW,
    master_killed::ROW,
    simultaneous_starts::ROW,
    stop_under_load::ROW,
    rollouts::ROW,
    greeting::ROW,
    scale::ROW,
    bad_release::ROW,
    term_under_load::ROW,
    idle_keep_alive::ROW,
    long_lived::ROW,
    steering_overhead::ROW,
    stopped::ROW,
    busy::ROW,
    all_hang::ROW,
    crash_at_boot::ROW,
    slow_start::ROW,
    kills_for_a_minute::ROW,
    recycling::ROW,
    healthy::ROW,
    watch_cost::ROW,
];

/// What a row has found for one user and one way to connect. A bar of time is missed if [`LATE`] is in it.
struct Outcome {
    measured: String,
    /// None of them is a matter of time.
    wrongs: Vec<String>,
    yardstick: String,
}

/// For each user, with a new connection per request, and with keep-alive.
fn everybody(row: &Row, one: impl Fn(User, Clients) -> Attempt<Outcome>) -> Attempt<Vec<Figure>> {
    let ways = User::all().into_iter().flat_map(|user| Clients::ALL.map(|clients| (user, clients)));
    Ok(ways
        .map(|(user, clients)| {
            figure(row, &user.name(&format!("{}, {}", row.name, clients.name())), one(user, clients))
        })
        .collect())
}

/// For somebody without any privilege, with a new connection per request, and with keep-alive.
fn unprivileged(row: &Row, one: impl Fn(User, Clients) -> Attempt<Outcome>) -> Attempt<Vec<Figure>> {
    let user = User::unprivileged();
    let name = |clients: Clients| user.name(&format!("{}, {}", row.name, clients.name()));
    Ok(Clients::ALL.map(|clients| figure(row, &name(clients), one(user, clients))).into())
}

fn figure(row: &Row, name: &str, outcome: Attempt<Outcome>) -> Figure {
    let Outcome { mut measured, wrongs, yardstick } = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return Figure::failed(name, row.bar, error),
    };
    let verdict = if wrongs.is_empty() { Verdict::bar(!measured.contains(LATE)) } else { Verdict::Failed };
    if !wrongs.is_empty() {
        measured = format!("{measured}; WRONG: {}", wrongs.join("; "));
    }
    Figure { row: name.to_owned(), measured, bar: row.bar.to_owned(), yardstick, verdict }
}

/// Of the short version, or else of the whole.
fn amount(whole: usize, short: usize) -> usize {
    if is_short() { short } else { whole }
}

fn is_short() -> bool {
    env::var_os(SHORT).is_some()
}

fn is_long() -> bool {
    env::var_os(LONG).is_some()
}

/// For a bar of time.
fn late_if(time: Duration, bar: Duration) -> &'static str {
    if time > bar { LATE } else { "" }
}

/// A client waited for so long that no noise explains it.
fn hopeless(time: Duration) -> Option<String> {
    (time > AT_THE_LATEST).then(|| format!("a client waited for {}", millis(time)))
}

/// In the environment of a row.
pub(crate) const SHORT: &str = "CHAOS_SHORT";
pub(crate) const LONG: &str = "CHAOS_LONG";

/// On every machine; the bars are a fifth of it and less.
const AT_THE_LATEST: Duration = Duration::from_secs(1);

const LATE: &str = " (late)";

/// A fixed address on which nobody listens, below the range from which the kernel takes the ports of clients.
fn fixed_address() -> Attempt<String> {
    let start = 20_000 + std::process::id() % 10_000;
    let mut addresses = (start..start + 1000).map(|port| format!("127.0.0.1:{port}"));
    addresses.find(|address| TcpListener::bind(address.as_str()).is_ok()).ok_or_else(|| "no free port".into())
}
