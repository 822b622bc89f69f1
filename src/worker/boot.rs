//! The first and the last steps of a worker process.
//!
//! The child runs inside its parent's frames, which it must neither return into nor drop. So the exit code that is
//! returned here goes straight into `exit_now`: no destructor of the caller, no atexit handler.

use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    Worker, WorkerExit,
    bell::{Bell, Wake},
    name::take_name,
    pin::pin,
};
use crate::{
    birth::{Birth, Launch},
    error::{Error, Result},
    id::{Slot, WorkerId},
    last_words::{last_words, panic_text},
    role,
    sys::{owned, parent, signal, stdio},
};

/// What the builder wants of the first steps.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Options {
    /// The worker closes what it inherits of the program's descriptors.
    pub(crate) close_inherited: bool,
    /// It is bound to the CPU of its slot.
    pub(crate) pin: bool,
}

/// Wraps the user's function for the master.
pub(crate) fn launch<R: WorkerExit>(work: impl FnOnce(Worker) -> R + 'static, options: Options) -> Launch {
    Box::new(move |birth| boot(birth, work, options))
}

fn boot<R: WorkerExit>(birth: Birth, work: impl FnOnce(Worker) -> R, options: Options) -> i32 {
    let (slot, id) = (birth.slot, birth.id);
    role::become_worker();
    match prepare(birth, options) {
        Ok(Some(worker)) => {
            let handle = worker.handle();
            let code = run(slot, id, || work(worker).report());
            // A channel that is kept open until the end was not finished along with the worker.
            if let Some(control) = handle.control() {
                control.finish();
            }
            code
        }
        Ok(None) => ORPHANED,
        Err(error) => {
            last_words(TARGET, format_args!("worker {id} (slot {slot}) could not start: {error:#}"));
            FAILED
        }
    }
}

/// Signals early: until then all are blocked, and inherited handlers may write into pipes of the parent.
fn prepare(birth: Birth, options: Options) -> Result<Option<Worker>> {
    stdio::fill();
    let master = birth.master;
    let wake = Bell::wake()?;
    // The handler of SIGTERM may use it until the process ends: this count is never given back.
    let for_ever: &'static Wake = Box::leak(Box::new(Wake::clone(&wake)));
    signal::worker_table(master, birth.seat.flags_for_ever(), for_ever.as_fd())
        .map_err(|error| Error::system("setting the worker's signal handlers", error))?;
    if !parent::die_with(master) {
        return Ok(None);
    }
    if options.pin {
        pin(birth.slot, birth.id);
    }
    let doors = birth.doors.iter().map(|(_, door)| door.as_raw_fd());
    let own = [birth.channel.as_fd().as_raw_fd(), wake.as_raw_fd()].into_iter().chain(birth.seat.descriptor());
    let keep: Vec<RawFd> = own.chain(doors).collect();
    owned::keep_only(&keep);
    take_name(birth.slot, birth.id);
    birth.seat.occupy().map_err(|error| Error::system("making the others' part of the scoreboard read-only", error))?;
    if options.close_inherited {
        owned::close_inherited(&keep)
            .map_err(|error| Error::system("closing what was inherited (close_inherited)", error))?;
    }
    Worker::forked(birth, wake).map(Some)
}

fn run(slot: Slot, id: WorkerId, work: impl FnOnce() -> std::result::Result<(), String>) -> i32 {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            last_words(TARGET, format_args!("worker {id} (slot {slot}) failed: {error}"));
            FAILED
        }
        Err(panic) => {
            log::error!(target: TARGET, "worker {id} (slot {slot}) panicked: {}", panic_text(&*panic));
            // Its destructor could panic in turn.
            std::mem::forget(panic);
            PANICKED
        }
    }
}

pub(crate) const TARGET: &str = "mio_cluster::worker";

/// The exit codes of Rust's own `main`.
const FAILED: i32 = 1;
const PANICKED: i32 = 101;

/// Nobody is left to read it.
const ORPHANED: i32 = 1;
