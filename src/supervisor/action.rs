//! What the supervisor wants done.

use std::time::Duration;

use super::{Outcome, Surrender, Worn};
use crate::{
    event::{Event, WorkerRef},
    id::{Signal, Slot, WorkerId},
    wire::Leave,
};

/// What the master has to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Fork a worker, in a rollout beside the one that is there; answered by `handle_spawned` or `handle_spawn_failed`.
    Spawn { slot: Slot, id: WorkerId },
    /// Lead newcomers past the doors of this slot, which is left for good; answered by `handle_parted`.
    Part { slot: Slot, id: WorkerId },
    /// Newcomers may come to this slot again.
    Stay { slot: Slot },
    /// Newcomers are to go past this slot, as none of its workers comes for them, or need not do so any more.
    Steer { slot: Slot, away: bool },
    /// Let this worker accept at the door of another slot, too; answered by `handle_returned` if it does not.
    Lend { loan: u32, slot: Slot, address: usize, to: WorkerId },
    /// It is to look into its queues, if it can.
    Nudge { id: WorkerId },
    /// It is to accept there no more.
    TakeBack { loan: u32, from: WorkerId },
    /// The watch sleeps until a worker begins a turn or somebody waits at a door, which is told by `handle_stirred`.
    Doze(bool),
    /// Ask a worker to drain; answered by `handle_deaf` if it cannot hear.
    Ask { id: WorkerId, within: Duration, leave: Leave },
    /// Send a signal.
    Signal { id: WorkerId, signal: Signal, why: Why },
    /// Shut the door of this slot at this address, by its place in the builder's order.
    Shut { slot: Slot, address: usize, why: Surrender },
    /// The cluster stops: let nobody new in anywhere; those who wait are served.
    Refuse,
    /// Say in the log what becomes of a worker.
    Note { worker: WorkerRef, what: Note },
    /// Hand an event to the program.
    Emit(Event),
    /// The cluster has ended. The last action, and the only one of its kind.
    Finish(Outcome),
}

/// What is no event, but worth a line.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Note {
    /// It has served for long enough and is replaced from now on.
    Worn(Worn),
    /// Its successor has failed; it serves on, and another one is tried after that time.
    PutOff { why: String, again: Duration },
}

/// Why a signal is sent; for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// The program's own `kill`.
    Program,
    /// The worker cannot be asked to drain.
    Deaf,
    /// It is asked to drain by a signal, for it does not read its channel.
    Stuck,
    /// It has not finished in time.
    DrainOverdue,
    /// It got SIGTERM and has not ended in time.
    TerminateOverdue,
    /// It was not ready in time.
    NotReady,
    /// It hangs.
    Hung,
    /// It was to leave a core, and has not ended in time.
    DumpOverdue,
    /// Everything is to end at once.
    AtOnce,
}

/// Why a fork did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SpawnFailure {
    /// The process runs more than one thread: nobody's crash, so nothing is charged for it.
    Threads,
    /// The system refused; it is tried again with the delays of a start that failed.
    Refused,
}
