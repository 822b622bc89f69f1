//! A hundred starts on one port at the same moment: one wins, the others say why not.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::{fcntl::OFlag, sys::signal::Signal, unistd::pipe2};

use super::{Row, fixed_address};
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    process::Process,
    server::Server,
};

pub(super) const ROW: Row = Row {
    name: "simultaneous-starts",
    what: "100 starts on one port at the same moment, 20 times",
    bar: "1 winner each time; the others exit 1, with address and reason",
    within: Duration::from_secs(120),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let address = fixed_address()?;
    for round in 1..=ROUNDS {
        race(&address).map_err(|error| format!("start {round} of {ROUNDS} on {address}: {error}"))?;
    }
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured: format!("{ROUNDS} times 1 winner, {} losers with address and reason", STARTERS - 1),
        bar: ROW.bar.to_owned(),
        yardstick: "-".to_owned(),
        verdict: Verdict::Met,
    }])
}

fn race(address: &str) -> Attempt<()> {
    // All starters read from one pipe; its end, when the only writer goes, lets them all through at once.
    let (gate, latch) = pipe2(OFlag::O_CLOEXEC)?;
    let words = ["--serve", "--listen", address, "--workers", "1", "--wait"];
    let start = |_| Process::start_at_gate(&words, gate.try_clone()?);
    let mut starters = (0..STARTERS).map(start).collect::<Attempt<Vec<Process>>>()?;
    for starter in &mut starters {
        starter.line()?.ok_or("a starter did not come to the gate")?;
    }
    drop(latch);
    let end = Instant::now() + SETTLED_WITHIN;
    while starters.len() > 1 && Instant::now() < end {
        starters = remaining(starters, address)?;
        thread::sleep(LOOK_EVERY);
    }
    let winner = starters.pop().ok_or("nobody won")?;
    if !starters.is_empty() {
        return Err(format!("{} winners", starters.len() + 1).into());
    }
    let mut winner = Server::up(winner)?;
    winner.process.signal(Signal::SIGTERM)?;
    match winner.process.wait()?.code() {
        Some(0) => Ok(()),
        code => Err(format!("the winner was stopped and exited {code:?}").into()),
    }
}

/// Those that still run. Judges the others.
fn remaining(starters: Vec<Process>, address: &str) -> Attempt<Vec<Process>> {
    let mut remaining = Vec::new();
    for mut starter in starters {
        match starter.ended()? {
            None => remaining.push(starter),
            Some(status) => {
                let complaint = starter.complaint()?;
                if status.code() != Some(1) || !complaint.contains(address) || !complaint.contains(REASON) {
                    return Err(format!("a loser ended with {status} and said: {complaint}").into());
                }
            }
        }
    }
    Ok(remaining)
}

const STARTERS: usize = 100;
const ROUNDS: usize = 20;
const REASON: &str = "Address already in use";
const LOOK_EVERY: Duration = Duration::from_millis(2);
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
