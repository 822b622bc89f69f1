//! What the tests say to a supervisor.

use crate::{
    config::Rollout,
    event::{ExitStatus, Shutdown},
    id::{Signal, WorkerId},
    supervisor::{SpawnFailure, Worn},
};

/// Everything that can be said to a supervisor. Addresses are named by their place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Input {
    Spawned(WorkerId, u32),
    SpawnFailed(WorkerId, SpawnFailure),
    Online(WorkerId),
    Listening(WorkerId, usize),
    ListenerClosed(WorkerId, usize),
    Ready(WorkerId),
    /// The worker sends a message.
    Said(WorkerId),
    Leaving(WorkerId),
    /// A signal tells it to leave, and it waits for the master's word.
    Retires(WorkerId),
    /// Newcomers are led past it, or they cannot be.
    Parted(WorkerId, bool),
    Deaf(WorkerId),
    /// The watch is woken.
    Stirred,
    /// It does not accept at the door that it was lent, or no longer.
    Returned(WorkerId, u32),
    ChannelClosed(WorkerId),
    Exited(WorkerId, ExitStatus),
    Fork,
    Drain(WorkerId),
    Kill(WorkerId, Signal),
    Stop(Shutdown, Option<Signal>),
    Scale(usize),
    Rollout(Rollout),
    /// The program's hook, before a rollout.
    ReloadFailed,
    /// It has reached one of its limits.
    Worn(WorkerId, Worn),
    /// At the next place.
    AddressAdded,
    AddressRemoved(usize),
}

impl Input {
    /// Of the program, or by a signal; the others are what happens.
    pub(super) fn is_request(&self) -> bool {
        match self {
            Input::Fork | Input::Drain(_) | Input::Kill(..) | Input::Stop(..) => true,
            Input::Scale(_) | Input::Rollout(_) | Input::ReloadFailed => true,
            Input::AddressAdded | Input::AddressRemoved(_) => true,
            Input::Spawned(..) | Input::SpawnFailed(..) | Input::Online(_) | Input::Listening(..) => false,
            Input::ListenerClosed(..) | Input::Ready(_) | Input::Said(_) | Input::Leaving(_) | Input::Deaf(_) => false,
            Input::ChannelClosed(_) | Input::Exited(..) | Input::Retires(_) | Input::Parted(..) => false,
            Input::Worn(..) => false,
            Input::Stirred | Input::Returned(..) => false,
        }
    }
}
