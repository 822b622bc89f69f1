//! What is said at the end, for people or as JSON, and the line that is kept up to date until then.

use std::{
    fmt::{self, Display, Write},
    time::Duration,
};

use hdrhistogram::Histogram;

use crate::{
    failure::Failure,
    json::Json,
    tally::{Book, Tally},
};

pub(crate) struct Report<'a> {
    pub(crate) target: &'a str,
    pub(crate) workers: usize,
    pub(crate) has_load: bool,
    pub(crate) has_idle: bool,
    pub(crate) counts_bodies: bool,
    pub(crate) max_errors: Option<u64>,
    /// All workers have told everything.
    pub(crate) complete: bool,
    pub(crate) tally: &'a Tally,
}

impl Report<'_> {
    pub(crate) fn errors(&self) -> u64 {
        self.tally.load.errors() + self.tally.idle.errors()
    }

    pub(crate) fn passed(&self) -> bool {
        self.complete && self.max_errors.is_none_or(|most| self.errors() <= most)
    }

    pub(crate) fn json(&self) -> String {
        let tally = self.tally;
        let mut json = Json::object();
        json.text("event", "report")
            .text("target", self.target)
            .number("workers", self.workers as u64)
            .float("seconds", seconds(tally));
        json.boolean("complete", self.complete).boolean("passed", self.passed()).number("errors", self.errors());
        json.float("requests_per_second", self.per_second(tally.load.ok + tally.load.wrong()));
        json.float("bytes_per_second", self.per_second(tally.load.bytes));
        book(&mut json, &tally.load);
        json.inner("latency_us", |json| percentiles(json, &tally.latency));
        json.inner("connect_us", |json| percentiles(json, &tally.connect));
        if self.has_idle {
            json.inner("idle", |json| {
                book(json, &tally.idle);
                if tally.shortest_life < u64::MAX {
                    json.float("shortest_life_seconds", Duration::from_nanos(tally.shortest_life).as_secs_f64());
                }
            });
        }
        if self.counts_bodies {
            json.inner("bodies", |json| {
                for (body, times) in &tally.bodies {
                    json.number(&String::from_utf8_lossy(body), *times);
                }
            });
        }
        json.end()
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = seconds(self.tally);
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    fn write_book(&self, f: &mut fmt::Formatter<'_>, book: &Book) -> fmt::Result {
        let Book { started, established, closed, closed_while_idle, begun, ok, lost, unsent, .. } = book;
        let (failed, open, wrong) = (book.failed_connections(), book.open_connections(), book.wrong());
        writeln!(
            f,
            "connections  {started} started, {established} established: {closed} closed in order ({closed_while_idle} by the \
             server while idle), {failed} failed, {open} open"
        )?;
        if *begun > 0 || *unsent > 0 {
            let unanswered = book.open_requests();
            write!(
                f,
                "requests     {begun} begun: {ok} answered, {wrong} answered wrongly, {lost} lost, {unanswered} open"
            )?;
            writeln!(f, "{}", if *unsent > 0 { format!("; {unsent} due and never sent") } else { String::new() })?;
        }
        for failure in Failure::ALL.into_iter().filter(|failure| book.failed(*failure) > 0) {
            writeln!(f, "  {:>10}  {}: {}", book.failed(failure), failure.name(), failure.text())?;
        }
        Ok(())
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally;
        if self.has_load {
            self.write_book(f, &tally.load)?;
            let (rate, bytes) =
                (self.per_second(tally.load.ok + tally.load.wrong()), self.per_second(tally.load.bytes));
            writeln!(f, "rate         {rate:.1} answers/s, {:.2} MB/s, for {:.2} s", bytes / 1e6, seconds(tally))?;
            write_times(f, "latency", &tally.latency)?;
        }
        write_times(f, "connecting", &tally.connect)?;
        if self.has_idle {
            writeln!(f, "idle connections:")?;
            self.write_book(f, &tally.idle)?;
            if tally.shortest_life < u64::MAX {
                writeln!(f, "  the first was ended after {}", time(tally.shortest_life))?;
            }
        }
        if self.counts_bodies {
            writeln!(f, "bodies:")?;
            for (body, times) in &tally.bodies {
                writeln!(f, "  {times:>10}  {}", String::from_utf8_lossy(body).escape_debug())?;
            }
        }
        match self.errors() {
            0 => write!(f, "nothing has failed"),
            errors => write!(f, "{errors} failed"),
        }?;
        if self.complete { Ok(()) } else { write!(f, "; INCOMPLETE: a worker of this program has died") }
    }
}

/// How it stands.
pub(crate) fn progress(tally: &Tally, elapsed: Duration, per_second: f64) -> String {
    let (load, idle) = (&tally.load, &tally.idle);
    let open = load.open_connections() + idle.open_connections();
    let mut line = format!("{:>4} s  {per_second:>9.0} answers/s  {open} connections open", elapsed.as_secs());
    let _written = match load.errors() + idle.errors() {
        0 => Ok(()),
        errors => write!(line, "  {errors} failed"),
    };
    line
}

fn book(json: &mut Json, book: &Book) {
    json.inner("connections", |json| {
        json.number("started", book.started).number("established", book.established);
        json.number("closed", book.closed).number("closed_while_idle", book.closed_while_idle);
        json.number("failed", book.failed_connections()).number("open", book.open_connections());
        json.number("kept", book.kept);
    });
    json.inner("requests", |json| {
        json.number("begun", book.begun).number("ok", book.ok).number("wrong", book.wrong());
        json.number("lost", book.lost).number("open", book.open_requests()).number("unsent", book.unsent);
    });
    json.inner("failures", |json| {
        for failure in Failure::ALL {
            json.number(failure.name(), book.failed(failure));
        }
    });
}

fn percentiles(json: &mut Json, times: &Histogram<u64>) {
    json.number("count", times.len());
    if times.is_empty() {
        return;
    }
    json.float("min", times.min() as f64 / 1e3).float("mean", times.mean() / 1e3);
    for (name, quantile) in QUANTILES {
        json.float(name, times.value_at_quantile(quantile) as f64 / 1e3);
    }
    json.float("max", times.max() as f64 / 1e3);
}

fn write_times(f: &mut fmt::Formatter<'_>, name: &str, times: &Histogram<u64>) -> fmt::Result {
    if times.is_empty() {
        return Ok(());
    }
    write!(f, "{name:<11}  min {}  mean {}", time(times.min()), time(times.mean() as u64))?;
    for (name, quantile) in QUANTILES {
        write!(f, "  {} {}", name.replace('_', "."), time(times.value_at_quantile(quantile)))?;
    }
    writeln!(f, "  max {}", time(times.max()))
}

/// Three digits.
fn time(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        short if short < 1e6 => format!("{:.0} µs", short / 1e3),
        medium if medium < 1e9 => format!("{:.2} ms", medium / 1e6),
        long => format!("{:.2} s", long / 1e9),
    }
}

fn seconds(tally: &Tally) -> f64 {
    Duration::from_nanos(tally.lasted).as_secs_f64()
}

const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];
