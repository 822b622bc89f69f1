//! The yardstick: `bare_fork.c`, compiled by `scripts/chaos/run`, which names it in `CHAOS_BARE_FORK`.

use std::{env, time::Duration};

use crate::{Attempt, process::Process, times::Times};

/// What it measures; `None` if there is no yardstick.
pub(crate) fn times(what: &[&str]) -> Attempt<Option<Times>> {
    let Some(mut process) = start(what)? else { return Ok(None) };
    let mut times = Vec::new();
    while let Some(line) = process.line()? {
        times.push(Duration::from_secs_f64(line.parse::<f64>()? / 1e6));
    }
    Ok(Some(Times::new(times)?))
}

/// For the table.
pub(crate) fn cell(times: Option<Times>) -> String {
    times.map_or_else(absent, |times| times.to_string())
}

pub(crate) fn absent() -> String {
    "-".to_owned()
}

pub(crate) fn start(what: &[&str]) -> Attempt<Option<Process>> {
    let Some(program) = env::var("CHAOS_BARE_FORK").ok().filter(|path| !path.is_empty()) else { return Ok(None) };
    let words: Vec<&str> = ["--exec", &program].into_iter().chain(what.iter().copied()).collect();
    Process::start(&words).map(Some)
}
