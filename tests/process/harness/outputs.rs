//! What a process tree says, as channels that are waited for together: lines of stdout and of stderr, the end of the
//! leader, a deadline.

use std::{
    io::{BufRead, BufReader, Read},
    process::Child,
    thread,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, at, never, select};
use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};

use super::pid_of;

pub(super) struct Outputs {
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    leader: Receiver<()>,
    /// Pipes that some process of the tree still holds.
    pipes: usize,
    alive: bool,
}

pub(super) enum News {
    Fact(String),
    Log(String),
    /// A pipe was closed by its last holder, or the leader has ended.
    Less,
    Deadline,
}

impl Outputs {
    pub(super) fn of(child: &mut Child) -> Self {
        Self {
            stdout: lines(child.stdout.take().expect("it is piped")),
            stderr: lines(child.stderr.take().expect("it is piped")),
            leader: end_of(pid_of(child.id())),
            pipes: 2,
            alive: true,
        }
    }

    /// The leader runs. Afterwards it is a zombie until it is waited for, so its number stays its own.
    pub(super) fn is_alive(&self) -> bool {
        self.alive
    }

    /// Some process can still say something.
    pub(super) fn is_open(&self) -> bool {
        self.pipes > 0
    }

    pub(super) fn next(&mut self, deadline: Instant) -> News {
        select! {
            recv(self.stdout) -> line => match line {
                Ok(line) => return News::Fact(line),
                Err(_) => { self.stdout = never(); self.pipes -= 1; }
            },
            recv(self.stderr) -> line => match line {
                Ok(line) => return News::Log(plain(line)),
                Err(_) => { self.stderr = never(); self.pipes -= 1; }
            },
            recv(self.leader) -> _ => { self.leader = never(); self.alive = false; }
            recv(at(deadline)) -> _ => return News::Deadline,
        }
        News::Less
    }
}

/// A line of `env_logger`, `[2026-01-01T00:00:00Z INFO  target] text`, as fixtures write it: `INFO target: text`.
fn plain(line: String) -> String {
    let parts = line.strip_prefix('[').and_then(|line| line.split_once("] "));
    let Some((head, text)) = parts else { return line };
    match head.split_whitespace().collect::<Vec<&str>>()[..] {
        [_time, level, target] => format!("{level} {target}: {text}"),
        _ => line,
    }
}

/// Disconnected at the end of the pipe: when the last process that holds it has ended.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn end_of(leader: Pid) -> Receiver<()> {
    let (alive, receiver): (Sender<()>, _) = crossbeam_channel::bounded(0);
    thread::spawn(move || {
        while waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        drop(alive);
    });
    receiver
}
