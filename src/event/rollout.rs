//! How a rolling restart has ended.

use std::fmt;

use crate::{error::Error, id::Slot};

/// What has become of a rollout; in [`Event::RolloutEnded`](crate::Event::RolloutEnded).
///
/// ```
/// use mio_cluster::{Event, RolloutResult};
///
/// fn failed_release(event: &Event) -> Option<String> {
///     match event {
///         Event::RolloutEnded { result: RolloutResult::Aborted { why, .. }, .. } => Some(why.to_string()),
///         _ => None,
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum RolloutResult {
    /// Every slot has a new worker that is ready, and no old one accepts any more: who connects from now on meets the
    /// new generation. Old workers have ended, too, but for those whose connections take longer than 2 s to finish.
    Done,
    /// It went no further: workers that were not replaced before serve on.
    Aborted {
        /// Whose successor failed; `None`: [`Cluster::on_reload`](crate::Cluster::on_reload) did, and no worker was
        /// touched.
        slot: Option<Slot>,
        /// Why.
        why: Error,
    },
    /// A later request took its place.
    Superseded,
    /// The cluster stops.
    Stopped,
}

impl RolloutResult {
    pub(super) fn word(&self) -> &'static str {
        match self {
            RolloutResult::Done => "done",
            RolloutResult::Aborted { .. } => "aborted",
            RolloutResult::Superseded => "superseded",
            RolloutResult::Stopped => "stopped",
        }
    }
}

impl fmt::Display for RolloutResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RolloutResult::Aborted { why, .. } => write!(f, "aborted: {why:#}"),
            RolloutResult::Done | RolloutResult::Superseded | RolloutResult::Stopped => f.write_str(self.word()),
        }
    }
}
