//! Threads beside the loop, for what would block it: jobs in by a bounded queue, results out by the loop's mailbox.
//!
//! A job whose `submit` was `Ok` ends exactly once in the mailbox, with a result or with the text of its panic, unless
//! the pool is dropped before. No thread ever waits for the loop: the mailbox takes every end of a job, and the queue
//! wakes whoever waits for a job when the pool is dropped. In return, nothing is submitted while the mailbox is full.
//!
//! **Signals.** The kernel gives a signal of the process to its first thread, which in a worker is the loop's, and to
//! another one only if the first has blocked it or one already waits there. This library's handlers do the same on any
//! thread (an atomic and a write to an eventfd), and system calls of a job go on after them (SA_RESTART; a bare
//! `nanosleep`, `poll` or the like returns EINTR). So the threads block nothing, for a program that a job starts
//! would inherit that, and could not be terminated. They inherit the mask of the thread that starts them: a program
//! that reads signals from a signalfd blocks them before it serves.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    mailbox::{Mailbox, Posted},
    table::Key,
};
use crate::{
    error::{Error, Kind, Result},
    last_words::panic_text,
};

/// Dropping it ends the threads that wait, drops the jobs that do, and lets those that run go on: nobody waits for
/// them, their results go nowhere, and the end of the process cuts them off.
pub(super) struct Pool {
    jobs: Sender<(Key, Job)>,
    /// To empty it at the end.
    waiting: Receiver<(Key, Job)>,
    threads: usize,
    outbox: Mailbox,
}

pub(super) type Job = Box<dyn FnOnce() -> Posted + Send>;

impl Pool {
    /// In the worker, as nothing forks beside threads. `queue`: how many jobs may wait for a thread.
    ///
    /// **Errors**: a thread cannot be started; those that were end again.
    pub(super) fn start(threads: usize, queue: usize, outbox: Mailbox) -> Result<Self> {
        // Without threads it has no queue either, which would be memory.
        let (jobs, waiting) = bounded(if threads == 0 { 0 } else { queue });
        let pool = Self { jobs, waiting, threads, outbox };
        (1..=threads).try_for_each(|number| pool.start_thread(number))?;
        Ok(pool)
    }

    /// **Errors**: [`is_would_block`](Error::is_would_block): too many jobs, or results, wait;
    /// [`is_invalid_config`](Error::is_invalid_config): there are no threads.
    pub(super) fn submit(&self, key: Key, job: Job) -> Result<()> {
        if self.threads == 0 {
            let text = "spawn: this worker has no threads beside its loop; ask for some by Serve::threads";
            return Err(Error::new(Kind::InvalidConfig, text));
        }
        if self.outbox.is_full() {
            let text = "spawn: too many results wait for the loop already; submit fewer jobs at a time";
            return Err(Error::new(Kind::WouldBlock, text));
        }
        // Full it must be, not disconnected, as the pool holds a receiver itself.
        self.jobs.try_send((key, job)).map_err(|_| self.full())
    }

    fn full(&self) -> Error {
        let text = format!(
            "spawn: {} jobs wait for the worker's {} threads already; answer that the server is busy, or raise Serve::queue for \
             more patience or Serve::threads for more speed",
            self.jobs.capacity().unwrap_or_default(),
            self.threads
        );
        Error::new(Kind::WouldBlock, text)
    }

    fn start_thread(&self, number: usize) -> Result<()> {
        let (jobs, outbox) = (self.waiting.clone(), self.outbox.clone());
        // The kernel shows 15 bytes.
        let thread = thread::Builder::new().name(format!("job-{number}"));
        let started = thread.spawn(move || jobs.iter().for_each(|(key, job)| outbox.job_ended(key, end_of(job))));
        let step = || format!("starting thread {number} of the {} of Serve::threads", self.threads);
        started.map(drop).map_err(|error| Error::system(step(), error))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.waiting.try_iter().for_each(drop);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads)
            .field("waiting", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

/// What the job has captured is its own and ends with it, so a panic leaves nothing half-done in the pool.
fn end_of(job: Job) -> Result<Posted, String> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic_text(&*panic).to_owned();
        // Its destructor could panic in turn, and the job would never have ended.
        std::mem::forget(panic);
        text
    })
}

#[cfg(test)]
mod tests;
