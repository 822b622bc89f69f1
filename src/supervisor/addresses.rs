//! Addresses that come and go while the cluster runs.
//!
//! A worker is ready with the addresses that it was born with; one that is added later concerns those that are forked
//! later. One that is removed is waited for no longer.

use std::time::Instant;

use super::{Course, Supervisor};
use crate::{
    config::ReadyWhen,
    error::{Error, Kind, Result},
    event::Address,
    id::WorkerId,
};

impl Supervisor {
    /// **Errors**: the cluster stops or has ended.
    pub(crate) fn may_grow(&self, step: &str) -> Result<()> {
        match self.course {
            Course::Running => Ok(()),
            Course::Stopping { .. } | Course::Finished => {
                Err(Error::new(Kind::Gone, format!("{step}: the cluster is stopping, nobody would listen there")))
            }
        }
    }

    /// At the next place.
    pub(crate) fn handle_address_added(&mut self, address: Address) {
        self.addresses.push(Some(address));
    }

    /// Its place is never given again.
    pub(crate) fn handle_address_removed(&mut self, now: Instant, place: usize) {
        if self.addresses.get_mut(place).and_then(Option::take).is_none() {
            return;
        }
        let mut hearing = Vec::new();
        for post in &mut self.posts {
            post.doors.condemn(now, place);
            for id in post.ids() {
                if let Some(process) = post.process_mut(id) {
                    process.no_longer_awaits(place);
                    process.accepts_no_more(Some(place));
                }
            }
            let hears = post.processes().filter(|process| process.is_online() && process.is_connected());
            hearing.extend(hears.map(|process| process.worker.id));
        }
        hearing.into_iter().for_each(|id| self.ready_if_it_listens(now, id));
        self.handle_timeout(now);
    }

    /// Everywhere, where that is what it takes.
    pub(super) fn ready_if_it_listens(&mut self, now: Instant, id: WorkerId) {
        let listens = self.process_mut(id).is_some_and(|process| process.listens_everywhere());
        if listens && self.settings.ready_when == ReadyWhen::Listening {
            self.became_ready(now, id);
        }
    }

    /// What is said of an address that is gone means nothing any more.
    pub(super) fn is_there(&self, place: usize) -> bool {
        self.addresses.get(place).is_some_and(Option::is_some)
    }

    /// Of all addresses that there are.
    pub(super) fn places(&self) -> Vec<usize> {
        (0..self.addresses.len()).filter(|place| self.addresses[*place].is_some()).collect()
    }
}
