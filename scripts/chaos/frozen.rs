//! Workers that are stopped by SIGSTOP, and whom they had accepted.

use std::{
    collections::HashSet,
    io, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{Attempt, process::send, procfs, server::Server};

/// Returns when it is.
pub(crate) fn freeze(pid: u32) -> Attempt<()> {
    send(pid, Signal::SIGSTOP)?;
    let end = Instant::now() + STOPPED_WITHIN;
    while procfs::state(pid)? != 'T' {
        if Instant::now() > end {
            return Err(format!("process {pid} does not stop").into());
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

pub(crate) fn thaw(pid: u32) -> Attempt<()> {
    Ok(send(pid, Signal::SIGCONT)?)
}

/// The sockets that the workers have without any client: their doors, which they may lend to each other, and channels.
pub(crate) struct AtRest(HashSet<u64>);

impl AtRest {
    pub(crate) fn of(server: &Server) -> Attempt<Self> {
        let sockets = server.workers.iter().map(|pid| procfs::sockets(*pid)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self(sockets.into_iter().flatten().collect()))
    }

    /// Stops the worker; how many connections it has accepted and not closed.
    pub(crate) fn freeze(&self, pid: u32) -> Attempt<u64> {
        freeze(pid)?;
        Ok(procfs::sockets(pid)?.difference(&self.0).count() as u64)
    }

    /// The same, and then its end.
    pub(crate) fn kill(&self, pid: u32) -> Attempt<u64> {
        let guests = self.freeze(pid)?;
        send(pid, Signal::SIGKILL)?;
        Ok(guests)
    }
}

const STOPPED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(1);
