//! From the call of `start()` until 64 workers are ready.

use std::time::{Duration, Instant};

use mio_cluster::{Cluster, Event};

use super::Row;
use crate::{
    Attempt, bare,
    figure::{Figure, Verdict},
    serve::serve,
    times::Times,
};

pub(super) const ROW: Row = Row {
    name: "start-64",
    what: "from start() until 64 workers are ready; 20 starts",
    bar: "median 20 ms",
    within: Duration::from_secs(30),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let times = (0..STARTS).map(|_| start()).collect::<Attempt<Vec<Duration>>>()?;
    let times = Times::new(times)?;
    let yardstick = bare::times(&["start", &WORKERS.to_string(), &STARTS.to_string()])?;
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured: times.to_string(),
        bar: ROW.bar.to_owned(),
        yardstick: bare::cell(yardstick),
        verdict: Verdict::bar(times.median() <= MEDIAN),
    }])
}

fn start() -> Attempt<Duration> {
    let begun = Instant::now();
    let mut master = Cluster::new().listen("127.0.0.1:0").workers(WORKERS).start(serve)?;
    while let Some(event) = master.wait(None)? {
        if let Event::AllReady { .. } = event {
            return Ok(begun.elapsed());
        }
    }
    Err("the cluster ended".into())
}

const WORKERS: usize = 64;
const STARTS: usize = 20;
const MEDIAN: Duration = Duration::from_millis(20);
