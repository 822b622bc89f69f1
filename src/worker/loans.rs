//! Doors of other slots that the master lends to this worker's listeners, from the link's side.

use std::os::fd::OwnedFd;

use super::{boot::TARGET, control::Control, link::Link};
use crate::{id::Slot, wire::Frame};

impl Control {
    /// The door goes to the listener at that address. If there is none, if it can take no more, or if the descriptor
    /// was lost on its way, the master is told to lend it to somebody else.
    pub(super) fn hear_lent(&self, link: &mut Link, loan: u32, slot: u32, address: u16, fds: Vec<OwnedFd>) {
        let slot = u16::try_from(slot).ok().map(|slot| Slot::from_index(slot.into()));
        let slot = slot.filter(|slot| self.seat().knows(*slot));
        let listener = link.listener(address).filter(|_| !self.seat().is_draining());
        let is_taken = match (slot, listener, fds.into_iter().next()) {
            (Some(slot), Some(listener), Some(door)) => listener.lend(loan, slot, door),
            (_, _, _) => false,
        };
        if !is_taken {
            self.tell_returned(link, loan);
        }
    }

    /// A listener does not accept there any more.
    pub(super) fn return_loan(&self, loan: u32) {
        self.tell_returned(&mut self.link(), loan);
    }

    /// A master that cannot be told sees that nobody looks there.
    fn tell_returned(&self, link: &mut Link, loan: u32) {
        if let Err(error) = self.tell(link, &Frame::Returned { loan }) {
            log::debug!(target: TARGET, "returning a door: {error}");
        }
    }
}
