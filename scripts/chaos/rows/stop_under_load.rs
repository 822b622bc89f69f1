//! INT to the process group and TERM to every process, at once and under load: what a terminal and a service manager do
//! together.
//!
//! What counts as an accepted request is said in `load.rs`.

use std::time::{Duration, Instant};

use nix::{errno::Errno, sys::signal::Signal};

use super::Row;
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    load::{Connections, Counts, Load},
    process::send,
    server::{Kind, Server, event, number},
    times::Times,
};

pub(super) const ROW: Row = Row {
    name: "stop-under-load",
    what: "INT to the group and TERM to every process at once; 10 stops of 4 workers under load, 10 idle, 10 just started",
    bar: "orderly stop, 0 accepted requests reset",
    within: Duration::from_secs(90),
    is_short: false,
    measure,
};

/// What the workers do when the signals come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Load,
    /// They end at once, and so meet the master's own requests in other places.
    Idle,
    /// Ready, and still in their first turn. Who has not looked yet whether it is to leave dies of the TERM, by design.
    Start,
}

fn measure() -> Attempt<Vec<Figure>> {
    Kind::all().into_iter().map(figure).collect()
}

fn figure(kind: Kind) -> Attempt<Figure> {
    let mut total = Counts::default();
    let mut times = Vec::new();
    let mut wrongs = Vec::new();
    for moment in [Moment::Load, Moment::Idle, Moment::Start] {
        for stop in 0..STOPS {
            let (counts, time, wrong) = stop_once(kind, moment, stop)?;
            total.answered += counts.answered;
            total.lost += counts.lost;
            total.late += counts.late;
            times.push(time);
            wrongs.extend(wrong);
        }
    }
    let Counts { answered, lost, late, .. } = total;
    let times = Times::new(times)?;
    let mut measured = format!("{lost} of {} accepted reset, {late} later connections; {times}", answered + lost);
    if !wrongs.is_empty() {
        measured = format!("{measured}; not orderly: {}", wrongs.join(", "));
    }
    let verdict = if lost == 0 && wrongs.is_empty() { Verdict::Met } else { Verdict::Failed };
    Ok(Figure { row: kind.name(ROW.name), measured, bar: ROW.bar.to_owned(), yardstick: "-".to_owned(), verdict })
}

/// The requests, the time from the signals to the end, and what was not orderly.
fn stop_once(kind: Kind, moment: Moment, stop: usize) -> Attempt<(Counts, Duration, Vec<String>)> {
    let mut server = Server::start(kind, "127.0.0.1:0", WORKERS, &[])?;
    let clients = if moment == Moment::Load { CLIENTS } else { 0 };
    let mut load = Load::new(server.address()?, clients, Connections::Mixed)?;
    if moment != Moment::Start {
        load.run(BEFORE)?;
    }
    load.expect_stop();
    let begun = Instant::now();
    signal_all(&server, stop)?;
    load.run_out(ORDERLY_WITHIN)?;
    let mut wrongs = Vec::new();
    while let Some(line) = server.process.line()? {
        if event(&line) == "exit" && moment != Moment::Start && !in_order(&line, &server.workers)? {
            wrongs.push(line);
        }
    }
    let (status, time) = (server.process.wait()?, begun.elapsed());
    if status.code() != Some(0) {
        wrongs.push(format!("the master ended with {status}"));
    }
    if time > ORDERLY_WITHIN {
        wrongs.push(format!("it took {time:.1?}"));
    }
    Ok((load.into_counts(), time, wrongs))
}

/// A worker that ended before the master had read its own signal was replaced: such a replacement may be ended like one
/// that has just started.
fn in_order(exit: &str, workers: &[u32]) -> Attempt<bool> {
    Ok(exit.contains("\"code\":0,") || !workers.contains(&number(exit, "pid")?))
}

/// In different orders: INT first and TERM from the top, or TERM from the bottom and INT last.
fn signal_all(server: &Server, stop: usize) -> Attempt<()> {
    let mut processes = vec![server.master()];
    processes.extend(&server.workers);
    let group_first = stop % 2 == 0;
    if group_first {
        server.process.signal_group(Signal::SIGINT)?;
    } else {
        processes.reverse();
    }
    for pid in processes {
        match send(pid, Signal::SIGTERM) {
            // A worker may have stopped already.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !group_first {
        server.process.signal_group(Signal::SIGINT)?;
    }
    Ok(())
}

const STOPS: usize = 10;
const WORKERS: usize = 4;
const CLIENTS: usize = 64;
const BEFORE: Duration = Duration::from_millis(200);

/// Longer than any server waits for idle connections, shorter than the cluster's own deadlines, of which the first is
/// 30 s.
const ORDERLY_WITHIN: Duration = Duration::from_secs(5);
