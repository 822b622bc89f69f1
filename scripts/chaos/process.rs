//! Processes that this program starts: they die with it, and are killed and reaped when their handle is dropped.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getppid},
};

use crate::{
    Attempt,
    output::{Heard, Output},
    procfs::{self, Relative},
};

/// The leader of a process group of its own.
pub(crate) struct Process {
    child: Child,
    output: Output,
    complaints: Option<BufReader<ChildStderr>>,
}

impl Process {
    pub(crate) fn start(words: &[&str]) -> Attempt<Self> {
        let mut command = this_program(words);
        command.stdin(Stdio::piped());
        Self::spawn(&mut command)
    }

    /// With stderr kept for [`Process::complaint`].
    pub(crate) fn start_at_gate(words: &[&str], gate: OwnedFd) -> Attempt<Self> {
        let mut command = this_program(words);
        command.stdin(gate).stderr(Stdio::piped());
        Self::spawn(&mut command)
    }

    /// With its log, as detailed as `level`, in a file.
    pub(crate) fn start_logged(words: &[&str], level: &str, log: File) -> Attempt<Self> {
        let mut command = this_program(words);
        command.stdin(Stdio::piped()).stderr(log).env("RUST_LOG", level);
        Self::spawn(&mut command)
    }

    /// The load generator, with stderr for [`Process::heard`] and [`Process::complaint`].
    pub(crate) fn start_heard(words: &[&str]) -> Attempt<Self> {
        let mut command = this_program(words);
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).env("RUST_LOG", "warn,load=info");
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Attempt<Self> {
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let complaints = child.stderr.take().map(BufReader::new);
        Ok(Self { child, output: Output::new(stdout), complaints })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its stdout; `None` at the end of it.
    pub(crate) fn line(&mut self) -> Attempt<Option<String>> {
        match self.line_before(None)? {
            Heard::Line(line) => Ok(Some(line)),
            Heard::Nothing | Heard::End => Ok(None),
        }
    }

    /// The same, if it comes before `end`; `None`: waits for ever.
    pub(crate) fn line_before(&mut self, end: Option<Instant>) -> Attempt<Heard> {
        Ok(self.output.line(end)?)
    }

    /// The next line of its stderr.
    pub(crate) fn heard(&mut self) -> Attempt<String> {
        let mut line = String::new();
        self.complaints.as_mut().ok_or("no stderr")?.read_line(&mut line)?;
        Ok(line)
    }

    /// The rest of it.
    pub(crate) fn complaint(&mut self) -> Attempt<String> {
        let mut text = String::new();
        if let Some(stderr) = &mut self.complaints {
            stderr.read_to_string(&mut text)?;
        }
        Ok(text)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Attempt<()> {
        Ok(send(self.pid(), signal)?)
    }

    pub(crate) fn signal_group(&self, signal: Signal) -> Attempt<()> {
        Ok(killpg(Pid::from_raw(self.pid().try_into()?), signal)?)
    }

    /// Writes a line end to its stdin. To close that would not be enough beside a `Master`: workers inherit what is not
    /// its own.
    pub(crate) fn nudge(&mut self) -> Attempt<()> {
        Ok(self.child.stdin.as_mut().ok_or("no stdin")?.write_all(b"\n")?)
    }

    pub(crate) fn ended(&mut self) -> Attempt<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) fn wait(&mut self) -> Attempt<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended and was reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program in another role.
pub(crate) fn this_program(words: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(words).env(STARTER, std::process::id().to_string());
    // The log of the servers: deaths are what is measured here, not news.
    if env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    command
}

/// Called first in every role that another process of this program has started.
pub(crate) fn die_with_the_starter() -> Attempt<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let starter = env::var(STARTER).map_err(|_| "this role is started by scripts/chaos/run only")?;
    if getppid().to_string() == starter { Ok(()) } else { Err("the starter is gone".into()) }
}

pub(crate) fn send(pid: u32, signal: Signal) -> nix::Result<()> {
    kill(Pid::from_raw(pid.try_into().map_err(|_| nix::Error::ESRCH)?), signal)
}

/// Of all that descends from this process, orphans come here, where they are found, and not to init.
pub(crate) fn adopt_orphans() -> Attempt<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Reaps every child, and kills and returns those that do not end by themselves. For when everything known has been
/// stopped.
pub(crate) fn end_orphans() -> Attempt<Vec<Relative>> {
    let end = Instant::now() + GONE_WITHIN;
    let mut killed = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(killed),
            Err(error) => return Err(error.into()),
            Ok(WaitStatus::StillAlive) if Instant::now() > end => {
                for child in procfs::children()? {
                    send(child.pid, Signal::SIGKILL)?;
                    killed.push(child);
                }
            }
            Ok(WaitStatus::StillAlive) => {}
            Ok(_ended) => continue,
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Time for the workers of a master that was killed.
const GONE_WITHIN: Duration = Duration::from_secs(1);

const LOOK_EVERY: Duration = Duration::from_millis(2);

const STARTER: &str = "CHAOS_STARTER";
