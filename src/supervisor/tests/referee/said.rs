//! What is told of one worker, and in which order.

use std::time::Duration;

use crate::event::{Address, Cause, ExitStatus};

/// The events of one worker.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Said {
    Fork,
    Online,
    Listening(Address),
    Ready,
    Message,
    Hung(Duration),
    Recovered(Duration),
    Disconnect,
    Exit { status: ExitStatus, cause: Cause },
}

/// Their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    Fork,
    Online,
    Listening,
    Ready,
    Disconnect,
    Exit,
}

impl Said {
    /// `None`: it may come at any time, a message while the channel is open.
    pub(super) fn rank(&self) -> Option<Rank> {
        match self {
            Said::Fork => Some(Rank::Fork),
            Said::Online => Some(Rank::Online),
            Said::Listening(_) => Some(Rank::Listening),
            Said::Ready => Some(Rank::Ready),
            Said::Message | Said::Hung(_) | Said::Recovered(_) => None,
            Said::Disconnect => Some(Rank::Disconnect),
            Said::Exit { .. } => Some(Rank::Exit),
        }
    }
}
