//! Which process the kernel ends when memory runs out: a worker, which is replaced, and not the master, with whom all
//! would end.
//!
//! A child inherits its parent's `oom_score_adj`, so the master raises its own while it forks. The way through the
//! child's own file takes ten times as long, as the kernel has to make the directory of a new process in /proc for it;
//! and it is closed to the children of a master that has given up being root.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
};

use super::TARGET;
use crate::sys::{
    fork::{Forked, Refused},
    owned::Owned,
};

/// The master's `oom_score_adj`.
pub(super) struct Sacrifice(Option<Owned<File>>);

impl Sacrifice {
    /// If that cannot be changed, workers are as likely to be ended as the master.
    pub(super) fn open() -> Self {
        let file = Owned::make(|| File::options().read(true).write(true).open(FILE), AsFd::as_fd);
        let file = file.inspect_err(|error| log::debug!(target: TARGET, "{FILE}: {error}"));
        Self(file.ok())
    }

    /// The child comes before the master, whose own turn does not change.
    pub(super) fn fork(&self, fork: impl FnOnce() -> Result<Forked, Refused>) -> Result<Forked, Refused> {
        let Some(file) = &self.0 else { return fork() };
        let raised = raise(file).inspect_err(|error| log::debug!(target: TARGET, "raising {FILE}: {error}"));
        let forked = fork();
        match (&forked, raised) {
            (Ok(Forked::Child), _) | (_, Err(_)) => {}
            (Ok(Forked::Parent { .. }) | Err(_), Ok(own)) => {
                if let Err(error) = write(file, own) {
                    log::warn!(target: TARGET, "{FILE} cannot be set back to {own}: {error}");
                }
            }
        }
        forked
    }
}

/// What it was. Read each time: somebody may have changed it.
fn raise(file: &File) -> io::Result<i32> {
    let mut text = [0; 8];
    let length = file.read_at(&mut text, 0)?;
    let own = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let own = own.ok_or(io::ErrorKind::InvalidData)?;
    write(file, (own + SOONER).min(MOST))?;
    Ok(own)
}

/// Everybody may raise it, and set it back to what it was.
fn write(file: &File, value: i32) -> io::Result<()> {
    file.write_all_at(value.to_string().as_bytes(), 0)
}

const FILE: &str = "/proc/self/oom_score_adj";

/// Of 1000, which stand for all memory: a worker counts as if it used a tenth of the machine's (or of the control
/// group's limit) more than it does. A master that uses more than that beyond its workers is the one to end.
const SOONER: i32 = 100;

/// The kernel's.
const MOST: i32 = 1000;
