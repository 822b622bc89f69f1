//! A running server: this program's own, the example `http_server`, or the bare yardstick.

use std::{env, net::SocketAddr};

use nix::sys::signal::Signal;

use crate::{Attempt, bare, process::Process, user::User};

pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) workers: Vec<u32>,
    address: Option<SocketAddr>,
    /// The ends of workers that did not leave in order, as the server tells them.
    pub(crate) deaths: Vec<String>,
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
        Self::up(Process::start(&words)?)
    }

    /// Waits until all its workers are ready.
    pub(crate) fn up(mut process: Process) -> Attempt<Self> {
        let mut workers = Vec::new();
        while let Some(line) = process.line()? {
            match event(&line) {
                "ready" => workers.push(number(&line, "pid")?),
                "all_ready" => {
                    let address = Some(text(&line, "addresses\":[")?.parse()?);
                    return Ok(Self { process, workers, address, deaths: Vec::new() });
                }
                _other => {}
            }
        }
        Err(format!("the server ended before it was ready, with {}", process.wait()?).into())
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
        Ok(line)
    }

    fn note(&mut self, line: &str) -> Attempt<()> {
        match event(line) {
            "ready" => self.workers.push(number(line, "pid")?),
            "exit" => {
                let pid = number(line, "pid")?;
                self.workers.retain(|worker| *worker != pid);
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
        while let Some(line) = self.process.line()? {
            self.note(&line)?;
        }
        let status = self.process.wait()?;
        if status.code() != Some(0) {
            self.deaths.push(format!("the server ended with {status}"));
        }
        Ok(self.deaths)
    }

    /// The yardstick, if there is one.
    pub(crate) fn bare(workers: usize) -> Attempt<Option<Self>> {
        let Some(mut process) = bare::start(&["hold", &workers.to_string()])? else { return Ok(None) };
        let mut pids = Vec::new();
        while let Some(line) = process.line()? {
            if line == "ready" {
                return Ok(Some(Self { process, workers: pids, address: None, deaths: Vec::new() }));
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
