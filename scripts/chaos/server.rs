//! A running server: this program's own, the example `http_server`, or the bare yardstick.

use std::{
    env,
    fs::File,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{Attempt, bare, output::Heard, process::Process, user::User};

pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) workers: Vec<u32>,
    address: Option<SocketAddr>,
    /// The ends of workers that did not leave in order, as the server tells them.
    pub(crate) deaths: Vec<String>,
    /// All that it has told since it was ready.
    pub(crate) told: Vec<String>,
    /// Each with its slot.
    slots: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `serve.rs`.
    Own,
    /// `examples/http_server`, named by `CHAOS_HTTP_SERVER`.
    Example,
}

impl Kind {
    /// Those that there are.
    pub(crate) fn all() -> Vec<Kind> {
        if example().is_some() { vec![Kind::Own, Kind::Example] } else { vec![Kind::Own] }
    }

    /// What the table calls it.
    pub(crate) fn name(self, row: &str) -> String {
        match self {
            Kind::Own => row.to_owned(),
            Kind::Example => format!("{row} (http_server)"),
        }
    }
}

impl Server {
    pub(crate) fn start(kind: Kind, listen: &str, workers: usize, more: &[&str]) -> Attempt<Self> {
        Self::start_as(User::Own, kind, listen, workers, more)
    }

    pub(crate) fn start_as(user: User, kind: Kind, listen: &str, workers: usize, more: &[&str]) -> Attempt<Self> {
        Self::start_by(user, kind, listen, workers, more, Process::start)
    }

    /// The example, with what it logs in a file.
    pub(crate) fn start_logged(user: User, workers: usize, level: &str, log: File) -> Attempt<Self> {
        let start = |words: &[&str]| Process::start_logged(words, level, log);
        Self::start_by(user, Kind::Example, "127.0.0.1:0", workers, &[], start)
    }

    fn start_by(
        user: User,
        kind: Kind,
        listen: &str,
        workers: usize,
        more: &[&str],
        start: impl FnOnce(&[&str]) -> Attempt<Process>,
    ) -> Attempt<Self> {
        let count = workers.to_string();
        let example = match kind {
            Kind::Own => String::new(),
            Kind::Example => example().ok_or("CHAOS_HTTP_SERVER does not say where the example is")?,
        };
        let mut words = user.prefix().to_vec();
        match kind {
            Kind::Own => words.extend(["/proc/self/exe", "--serve"]),
            Kind::Example => words.extend([&*example, "--json"]),
        }
        words.extend(["--listen", listen, "--workers", &count]);
        words.extend(more);
        Self::up(start(&words)?)
    }

    /// Waits until all its workers are ready.
    pub(crate) fn up(mut process: Process) -> Attempt<Self> {
        let mut before: Vec<String> = Vec::new();
        while let Some(line) = process.line()? {
            if event(&line) == "all_ready" {
                let mut this = Self::new(process);
                this.address = Some(text(&line, "addresses\":[")?.parse()?);
                before.iter().try_for_each(|line| this.note(line))?;
                return Ok(this);
            }
            before.push(line);
        }
        Err(format!("the server ended before it was ready, with {}", process.wait()?).into())
    }

    fn new(process: Process) -> Self {
        let (workers, deaths, told, slots) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { process, workers, address: None, deaths, told, slots }
    }

    /// Waits until one worker more is ready.
    pub(crate) fn replacement(&mut self) -> Attempt<()> {
        self.until("ready").map(drop)
    }

    /// The next event of this name, as its line. `workers` are those that have become ready and have not ended.
    pub(crate) fn until(&mut self, name: &str) -> Attempt<String> {
        loop {
            let line = self.next().map_err(|error| format!("before it told {name}: {error}"))?;
            if event(&line) == name {
                return Ok(line);
            }
        }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Attempt<String> {
        let line = self.process.line()?.ok_or("the server ended")?;
        self.note(&line)?;
        self.told.push(line.clone());
        Ok(line)
    }

    /// Notes what it tells meanwhile.
    pub(crate) fn watch(&mut self, time: Duration) -> Attempt<()> {
        let end = Instant::now() + time;
        loop {
            match self.process.line_before(Some(end))? {
                Heard::Line(line) => {
                    self.note(&line)?;
                    self.told.push(line);
                }
                Heard::Nothing => return Ok(()),
                Heard::End => return Err("the server ended".into()),
            }
        }
    }

    /// Waits until so many workers are ready.
    pub(crate) fn until_ready(&mut self, workers: usize, within: Duration) -> Attempt<()> {
        let end = Instant::now() + within;
        while self.workers.len() != workers {
            if Instant::now() > end {
                return Err(format!("{} ready workers, not {workers}, after {within:?}", self.workers.len()).into());
            }
            self.watch(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// The worker of a slot, if it is ready.
    pub(crate) fn of_slot(&self, slot: u32) -> Attempt<u32> {
        let found = self.slots.iter().find(|(pid, of)| *of == slot && self.workers.contains(pid));
        found.map(|(pid, _)| *pid).ok_or_else(|| format!("slot {slot} has no ready worker").into())
    }

    /// What it has told of this kind.
    pub(crate) fn told(&self, name: &str) -> Vec<&str> {
        self.told.iter().map(String::as_str).filter(|line| event(line) == name).collect()
    }

    /// It was killed on purpose.
    pub(crate) fn excuse(&mut self, pid: u32) {
        self.deaths.retain(|line| number(line, "pid").ok() != Some(pid));
    }

    fn note(&mut self, line: &str) -> Attempt<()> {
        match event(line) {
            "ready" => {
                let pid = number(line, "pid")?;
                self.workers.push(pid);
                self.slots.push((pid, number(line, "slot")?));
            }
            "exit" => {
                let pid = number(line, "pid")?;
                self.workers.retain(|worker| *worker != pid);
                self.slots.retain(|(worker, _)| *worker != pid);
                if !line.contains("\"code\":0,") {
                    self.deaths.push(line.to_owned());
                }
            }
            _other => {}
        }
        Ok(())
    }

    /// Asks for a rollout and waits for its end: the line that tells it.
    pub(crate) fn roll(&mut self) -> Attempt<String> {
        self.process.signal(Signal::SIGHUP)?;
        self.until("rollout_ended")
    }

    /// The same, where nothing else will do.
    pub(crate) fn roll_to_the_end(&mut self) -> Attempt<()> {
        let end = self.roll()?;
        if end.contains("\"result\":\"done\"") { Ok(()) } else { Err(end.into()) }
    }

    /// Stops it in order; what was not.
    pub(crate) fn stop(self) -> Attempt<Vec<String>> {
        self.process.signal(Signal::SIGTERM)?;
        self.has_stopped()
    }

    /// Waits for its end; what was not in order.
    pub(crate) fn has_stopped(mut self) -> Attempt<Vec<String>> {
        self.ends()?;
        Ok(self.deaths)
    }

    /// Stops it in order, and keeps what it has told.
    pub(crate) fn end(&mut self) -> Attempt<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.ends()
    }

    fn ends(&mut self) -> Attempt<()> {
        while let Some(line) = self.process.line()? {
            self.note(&line)?;
            self.told.push(line);
        }
        let status = self.process.wait()?;
        if status.code() != Some(0) {
            self.deaths.push(format!("the server ended with {status}"));
        }
        Ok(())
    }

    /// The yardstick, if there is one.
    pub(crate) fn bare(workers: usize) -> Attempt<Option<Self>> {
        let Some(mut process) = bare::start(&["hold", &workers.to_string()])? else { return Ok(None) };
        let mut pids = Vec::new();
        while let Some(line) = process.line()? {
            if line == "ready" {
                return Ok(Some(Self { workers: pids, ..Self::new(process) }));
            }
            pids.push(line.parse()?);
        }
        Err("bare_fork did not start".into())
    }

    pub(crate) fn address(&self) -> Attempt<SocketAddr> {
        self.address.ok_or_else(|| "this server has no address".into())
    }

    pub(crate) fn master(&self) -> u32 {
        self.process.pid()
    }
}

/// The name of an event printed as JSON.
pub(crate) fn event(line: &str) -> &str {
    text(line, "event\":").unwrap_or_default()
}

pub(crate) fn number(line: &str, key: &str) -> Attempt<u32> {
    let rest = after(line, &format!("{key}\":")).ok_or_else(|| format!("no {key} in {line}"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Ok(rest[..end].parse()?)
}

fn text<'a>(line: &'a str, key: &str) -> Attempt<&'a str> {
    let rest = after(line, key).and_then(|rest| rest.strip_prefix('"'));
    rest.and_then(|rest| rest.split('"').next()).ok_or_else(|| format!("no {key} in {line}").into())
}

fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key).map(|(_, rest)| rest)
}

fn example() -> Option<String> {
    env::var("CHAOS_HTTP_SERVER").ok().filter(|path| !path.is_empty())
}
