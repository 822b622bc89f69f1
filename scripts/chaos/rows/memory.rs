//! What one idle worker more costs in memory.

use std::{thread, time::Duration};

use super::Row;
use crate::{
    Attempt, bare,
    figure::{Figure, Verdict},
    procfs,
    server::{Kind, Server},
};

pub(super) const ROW: Row = Row {
    name: "memory",
    what: "PSS of master and workers, 17 workers against 1, per worker",
    bar: "400 KiB",
    within: Duration::from_secs(30),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let yardstick = match (Server::bare(FEW)?, Server::bare(MANY)?) {
        (Some(few), Some(many)) => format!("{} KiB", per_worker(&few, &many)?),
        _none => bare::absent(),
    };
    let figure = |kind: Kind| {
        let few = Server::start(kind, "127.0.0.1:0", FEW, &[])?;
        let many = Server::start(kind, "127.0.0.1:0", MANY, &[])?;
        let each = per_worker(&few, &many)?;
        Ok(Figure {
            row: kind.name(ROW.name),
            measured: format!("{each} KiB"),
            bar: ROW.bar.to_owned(),
            yardstick: yardstick.clone(),
            verdict: Verdict::bar(each <= MOST_KIB),
        })
    };
    Kind::all().into_iter().map(figure).collect()
}

fn per_worker(few: &Server, many: &Server) -> Attempt<u64> {
    thread::sleep(SETTLE);
    let more = total(many)?.saturating_sub(total(few)?);
    Ok(more / (MANY - FEW) as u64)
}

fn total(server: &Server) -> Attempt<u64> {
    let workers = server.workers.iter().map(|pid| procfs::pss_kib(*pid)).sum::<Attempt<u64>>()?;
    Ok(workers + procfs::pss_kib(server.master())?)
}

const FEW: usize = 1;
const MANY: usize = 17;

/// Workers that are ready still touch a few pages in their first turn.
const SETTLE: Duration = Duration::from_millis(300);

const MOST_KIB: u64 = 400;
