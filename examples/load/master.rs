//! The master: starts the workers together, adds up what they tell, shows how it stands, and says how it went.

use std::{
    collections::HashSet,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Error, Event, Master, Restart};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    options::Options,
    plan::Plan,
    report::{Report, progress},
    tally::Tally,
    worker,
};

/// The exit code.
pub(crate) fn run(options: &Options) -> ExitCode {
    let plan = match options.plan() {
        Ok(plan) => plan,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::from(2);
        }
    };
    raise_limit();
    let mut watch = Watch::new();
    let ended = load(&plan, &mut watch, &options.target);
    watch.clear_line();
    let complete = ended.unwrap_or_else(|error| {
        log::error!("{error:#}");
        false
    });
    let report = Report {
        target: &options.target,
        workers: plan.workers,
        has_load: plan.connections > 0,
        has_idle: plan.idle > 0,
        counts_bodies: plan.count_bodies,
        max_errors: options.max_errors,
        complete,
        tally: &watch.tally,
    };
    let text = if options.json { report.json() } else { report.to_string() };
    let said = writeln!(io::stdout().lock(), "{text}");
    if report.passed() && said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all workers have told everything: they do before they exit with 0.
fn load(plan: &Plan, watch: &mut Watch, target: &str) -> Result<bool, Error> {
    let mut master = start(plan)?;
    let (mut heard, mut complete) = (HashSet::new(), true);
    while let Some(event) = master.wait(None)? {
        if matches!(event, Event::AllReady { .. }) {
            watch.go(&mut master);
        }
        if let Event::Exit { status, .. } = &event {
            complete &= status.success();
        }
        let Event::Message { worker, message } = event else { continue };
        let tally = Tally::decode(&message.bytes);
        watch.add(tally.unwrap_or_else(|| panic!("{worker} says what only another version understands")));
        // From now on a script may do to the server what it is about.
        if heard.insert(worker.id) && heard.len() == plan.workers {
            watch.clear_line();
            log::info!("under way: {} connections to {target}", plan.connections + plan.idle);
        }
    }
    Ok(complete)
}

/// A worker that dies is not replaced: what it had counted since it told so last is lost, and the report says so.
fn start(plan: &Plan) -> Result<Master, Error> {
    let work = plan.clone();
    Cluster::new()
        .workers(plan.workers)
        .max_workers(plan.workers)
        .restart(Restart::Never)
        .signals(true)
        .on_reload(|| Err("these workers are in the middle of a load, and have no successors".to_owned()))
        .drain_timeout(plan.last_answer() + MARGIN)
        .start(move |worker| worker::work(worker, &work))
}

/// What is known so far, and the line on the terminal.
struct Watch {
    tally: Tally,
    begin: Instant,
    is_terminal: bool,
    shown: (Instant, u64),
}

impl Watch {
    fn new() -> Self {
        let now = Instant::now();
        Self { tally: Tally::new(), begin: now, is_terminal: io::stderr().is_terminal(), shown: (now, 0) }
    }

    fn go(&mut self, master: &mut Master) {
        for (worker, error) in master.broadcast(&b"go"[..]) {
            log::error!("{worker}: {error:#}");
        }
        self.begin = Instant::now();
        self.shown = (self.begin, 0);
    }

    fn add(&mut self, tally: Tally) {
        self.tally.merge(tally);
        let (since, answers) = (self.shown.0.elapsed(), self.tally.load.ok + self.tally.load.wrong());
        if self.is_terminal && since >= LINE {
            let per_second = (answers - self.shown.1) as f64 / since.as_secs_f64();
            self.say(&format!("\r\x1b[K{}", progress(&self.tally, self.begin.elapsed(), per_second)));
            self.shown = (Instant::now(), answers);
        }
    }

    fn clear_line(&self) {
        if self.is_terminal {
            self.say("\r\x1b[K");
        }
    }

    /// Nobody need listen.
    fn say(&self, text: &str) {
        let mut out = io::stderr().lock();
        let _heard = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Each connection is a descriptor.
fn raise_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        log::warn!("the limit of open files stays as it is: {error}");
    }
}

/// From the time-out of the last request to the end of its worker.
const MARGIN: Duration = Duration::from_secs(2);

const LINE: Duration = Duration::from_millis(500);
