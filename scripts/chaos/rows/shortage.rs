//! Workers that run out of descriptors while clients come.
//!
//! More clients connect than the workers may have descriptors for, and say nothing for a while: the workers must
//! neither spin over those that they cannot accept nor lose them. Then all clients ask, and those that are served make
//! room for the others.

use std::{
    io::{self, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Worker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    Row,
    kills_new_connections::{until_all_ready, watch},
    queued::is_served,
};
use crate::{
    Attempt,
    figure::{Figure, Verdict},
    load, procfs,
    serve::serve,
};

pub(super) const ROW: Row = Row {
    name: "shortage",
    what: "2 workers with at most 40 descriptors, 200 clients: silent for 3 s, then each asks",
    bar: "200 of 200 served, 25 wake-ups a second",
    within: Duration::from_secs(60),
    is_short: false,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let mut master = Cluster::new().listen("127.0.0.1:0").workers(2).start(serve_with_few_descriptors)?;
    until_all_ready(&mut master)?;
    let address = master.addresses()[0].socket_addr().ok_or("no address")?;
    let mut clients = (0..CLIENTS).map(|_| TcpStream::connect(address)).collect::<io::Result<Vec<_>>>()?;
    // Whoever can be accepted is.
    watch(&mut master, Duration::from_millis(200))?;
    let waiting: u64 = procfs::queues(address.port())?.values().sum();
    if waiting == 0 {
        return Err("no client waits: there was no shortage".into());
    }
    let pids: Vec<u32> = master.workers().map(|worker| worker.pid).collect();
    let switches = || pids.iter().map(|pid| procfs::switches(*pid)).collect::<Attempt<Vec<u64>>>();
    let before = switches()?;
    watch(&mut master, SILENCE)?;
    let woken = switches()?.iter().zip(before).map(|(after, before)| after - before).max().unwrap_or(0);
    let a_second = woken as f64 / SILENCE.as_secs_f64();
    let served = served(&mut clients)?;
    Ok(vec![Figure {
        row: ROW.name.to_owned(),
        measured: format!("{served} of {CLIENTS} served, {waiting} had to wait; {a_second:.1} wake-ups a second"),
        bar: ROW.bar.to_owned(),
        yardstick: "-".to_owned(),
        verdict: if served == CLIENTS && a_second <= 25.0 { Verdict::Met } else { Verdict::Failed },
    }])
}

fn serve_with_few_descriptors(worker: Worker) -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, most)?;
    serve(worker)
}

/// All ask before anybody listens to the answer.
fn served(clients: &mut [TcpStream]) -> Attempt<usize> {
    clients.iter_mut().try_for_each(|client| client.write_all(load::LAST_REQUEST))?;
    let end = Instant::now() + SERVED_WITHIN;
    Ok(clients.iter().filter(|client| is_served(client, end)).count())
}

const CLIENTS: usize = 200;
const DESCRIPTORS: u64 = 40;
const SILENCE: Duration = Duration::from_secs(3);
/// In turns of 50 ms, some forty at a time.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
