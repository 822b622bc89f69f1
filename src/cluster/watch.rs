//! What the master looks after in workers that live.

use super::Cluster;
use crate::config::{Hang, Recycle};

impl Cluster {
    /// When a worker that does not come back to its loop is told of, and when it is killed; default [`Hang::new`].
    pub fn hang(mut self, rule: Hang) -> Self {
        self.settings.hang = rule;
        self
    }

    /// After how much service a worker is replaced; default [`Recycle::new`], never.
    pub fn recycle(mut self, rule: Recycle) -> Self {
        self.settings.recycle = rule;
        self
    }
}
