//! From `kill -9` of a worker until the master has heard that its replacement listens. As in the yardstick, the killer
//! is the master's own process.

use std::{
    thread,
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Event, Master, WorkerRef};
use nix::sys::signal::Signal;

use super::Row;
use crate::{
    Attempt, bare,
    figure::{Figure, Verdict},
    process::send,
    serve::serve,
    times::Times,
};

pub(super) const ROW: Row = Row {
    name: "kill-9",
    what: "kill -9 of a worker until its replacement listens; 2 workers in turn, 200 kills 50 ms apart",
    bar: "median 1.5 ms, max 20 ms",
    within: Duration::from_secs(60),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let times = Times::new(kills()?)?;
    let met = times.median() <= MEDIAN && times.max() <= MAX;
    let yardstick = bare::times(&["kill", &KILLS.to_string(), &PAUSE.as_millis().to_string()])?;
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured: times.to_string(),
        bar: ROW.bar.to_owned(),
        yardstick: bare::cell(yardstick),
        verdict: Verdict::bar(met),
    }])
}

fn kills() -> Attempt<Vec<Duration>> {
    let mut master = Cluster::new().listen("127.0.0.1:0").workers(2).start(serve)?;
    let mut live: [WorkerRef; 2] = [listening(&mut master)?, listening(&mut master)?];
    let mut times = Vec::new();
    for kill in 0..KILLS {
        rest(&mut master, PAUSE)?;
        let victim = &mut live[kill % 2];
        let begun = Instant::now();
        send(victim.pid, Signal::SIGKILL)?;
        *victim = listening(&mut master)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn listening(master: &mut Master) -> Attempt<WorkerRef> {
    loop {
        match master.wait(None)? {
            Some(Event::Listening { worker, .. }) => return Ok(worker),
            Some(_other) => {}
            None => return Err("the cluster ended".into()),
        }
    }
}

/// Lets the master do what is left to do, then nothing.
fn rest(master: &mut Master, time: Duration) -> Attempt<()> {
    let end = Instant::now() + time;
    while master.wait(Some(QUIET))?.is_some() {}
    thread::sleep(end.saturating_duration_since(Instant::now()));
    Ok(())
}

const KILLS: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// Between a worker's first sign and its last.
const QUIET: Duration = Duration::from_millis(10);

const MEDIAN: Duration = Duration::from_micros(1500);
const MAX: Duration = Duration::from_millis(20);
