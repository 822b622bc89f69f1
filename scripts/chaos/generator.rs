//! The load generator `examples/load` as a process, and its report.

use std::{env, fmt, net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use crate::{Attempt, process::Process};

/// What its clients do after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    /// They take a new connection for every request.
    New,
    KeepAlive,
}

impl Clients {
    pub(crate) const ALL: [Self; 2] = [Self::New, Self::KeepAlive];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::KeepAlive => "keep-alive",
        }
    }
}

pub(crate) struct Generator(Process);

impl Generator {
    /// 64 clients that ask all the time.
    pub(crate) fn start(address: SocketAddr, clients: Clients, more: &[&str]) -> Attempt<Self> {
        let mut words = vec!["--connections", "64"];
        if clients == Clients::New {
            words.push("--new");
        }
        words.extend(more);
        Self::with(address, &words)
    }

    /// Returns when all of its workers are under way.
    pub(crate) fn with(address: SocketAddr, more: &[&str]) -> Attempt<Self> {
        let program = env::var("CHAOS_LOAD").map_err(|_| "CHAOS_LOAD does not say where the load generator is")?;
        let address = address.to_string();
        let mut words = vec!["--exec", &program, &address, "--json", "--duration", FOR_EVER];
        words.extend(more);
        let mut process = Process::start_heard(&words)?;
        let said = process.heard()?;
        if said.contains("under way: ") {
            Ok(Self(process))
        } else {
            Err(format!("the load generator says: {said}").into())
        }
    }

    /// Ends the load: all that was begun gets its answer.
    pub(crate) fn finish(self) -> Attempt<Report> {
        // Not SIGINT, which is ignored where a script has started all this in the background.
        self.0.signal(Signal::SIGTERM)?;
        self.report()
    }

    /// When it has ended by itself.
    pub(crate) fn report(mut self) -> Attempt<Report> {
        let line = self.0.line()?.ok_or("the load generator has no report")?;
        let report = Report::parse(&line)?;
        let complaint = self.0.complaint()?;
        self.0.wait()?;
        match report.complete && complaint.is_empty() {
            true => Ok(report),
            false => Err(format!("the load generator says: {complaint}").into()),
        }
    }
}

pub(crate) struct Report {
    complete: bool,
    pub(crate) load: Book,
    pub(crate) idle: Book,
    /// The longest that any request took which was answered.
    pub(crate) slowest: Duration,
    /// How often each body came.
    pub(crate) bodies: Vec<(String, u64)>,
}

/// What has become of connections and requests; see `examples/load/tally.rs`.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) started: u64,
    /// In order, by the server.
    pub(crate) closed_while_idle: u64,
    /// What is missing in the sum of all counts; those that have failed are in `failures`.
    open: u64,
    /// Counted at the end: those that the load has kept.
    kept: u64,
    pub(crate) answered: u64,
    unanswered: u64,
    /// By kind, those that there were.
    pub(crate) failures: Vec<(String, u64)>,
}

impl Report {
    fn parse(line: &str) -> Attempt<Self> {
        let (load, idle) = line.split_once("\"idle\":{").map_or((line, None), |(load, idle)| (load, Some(idle)));
        let bodies = part(line, "bodies").map_or(Ok(Vec::new()), numbers)?;
        let idle = idle.map_or_else(|| Ok(Book::default()), Book::parse)?;
        let complete = line.contains("\"complete\":true");
        Ok(Self { complete, load: Book::parse(load)?, idle, slowest: slowest(load)?, bodies })
    }

    /// What is wrong, but for so many failures of these kinds, and what there were of them.
    pub(crate) fn wrongs_but(&self, kinds: &[&str], most: u64) -> (Vec<String>, u64) {
        let failures = self.load.failures.iter();
        let excused: u64 = failures.filter(|(kind, _)| kinds.contains(&&**kind)).map(|(_, count)| count).sum();
        let is_other = |wrong: &String| !kinds.iter().any(|kind| wrong.ends_with(&format!(" {kind}")));
        let mut wrongs: Vec<String> = self.wrongs().into_iter().filter(is_other).collect();
        if excused > most {
            wrongs
                .push(format!("{excused} connections failed, of which {most} are explained: {:?}", self.load.failures));
        }
        (wrongs, excused)
    }

    /// What is wrong.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let kept = Some(self.load.kept).filter(|kept| *kept > 0);
        let kept = kept.map(|kept| format!("{kept} connections of the load not closed at its end"));
        self.load.wrongs().into_iter().chain(self.idle.wrongs()).chain(kept).collect()
    }
}

impl Book {
    fn parse(text: &str) -> Attempt<Self> {
        let inner = |name| numbers(part(text, name).ok_or_else(|| format!("no {name} in the report"))?);
        let (connections, requests) = (inner("connections")?, inner("requests")?);
        let failures = inner("failures")?.into_iter().filter(|(_, count)| *count > 0).collect();
        let of = |book: &[(String, u64)], name: &str| {
            book.iter().find(|(key, _)| key == name).map(|(_, count)| *count).ok_or(format!("no {name} in the report"))
        };
        Ok(Self {
            started: of(&connections, "started")?,
            closed_while_idle: of(&connections, "closed_while_idle")?,
            open: of(&connections, "open")?,
            kept: of(&connections, "kept")?,
            answered: of(&requests, "ok")?,
            unanswered: of(&requests, "open")?,
            failures,
        })
    }

    /// Connections, and answers that are not what was expected.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum()
    }

    fn wrongs(&self) -> Vec<String> {
        let mut wrongs: Vec<String> = self.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if self.unanswered > 0 {
            wrongs.push(format!("{} requests open at the end", self.unanswered));
        }
        if self.open != self.kept {
            wrongs.push(format!("{} connections open at the end, of which {} are there", self.open, self.kept));
        }
        wrongs
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} connections failed", self.failed(), self.started)
    }
}

/// 0 if nothing was answered.
fn slowest(text: &str) -> Attempt<Duration> {
    let times = part(text, "latency_us").ok_or("no latencies in the report")?;
    let most = times.split(',').find_map(|member| member.strip_prefix("\"max\":")).unwrap_or("0");
    Ok(Duration::from_secs_f64(most.parse::<f64>()? / 1e6))
}

/// What is between the braces of a member that holds only numbers.
fn part<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\"{name}\":{{"))?;
    rest.split('}').next()
}

fn numbers(part: &str) -> Attempt<Vec<(String, u64)>> {
    let member = |text: &str| {
        let (name, count) = text.rsplit_once(':').ok_or_else(|| format!("strange report: {text}"))?;
        Ok((name.trim_matches('"').to_owned(), count.parse()?))
    };
    part.split(',').filter(|text| !text.is_empty()).map(member).collect()
}

/// A connection that was accepted by a process which has died.
pub(crate) const CUT: [&str; 8] = [
    "reset_before_request",
    "reset_after_request",
    "eof_before_answer",
    "reset_on_reuse",
    "eof_on_reuse",
    "reset_inside_answer",
    "eof_inside_answer",
    "reset_while_idle",
];

/// Longer than any row.
const FOR_EVER: &str = "3600";
