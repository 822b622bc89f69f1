//! The master's duplicates of the workers' listening sockets: the doors. It never accepts on them.
//!
//! A socket whose process dies stays open through its duplicate, and with it the clients in its queue; a replacement
//! that is forked meanwhile inherits the descriptor and goes on where its predecessor ended. When to give a door up is
//! decided by the [supervisor](crate::supervisor).
//!
//! All joins and leaves of the kernel's groups happen here, so this is also where new connections are
//! [steered](crate::steering).

use std::{collections::BTreeSet, io, mem};

use super::TARGET;
use crate::{
    config::{Balance, Bind},
    error::Result,
    id::Slot,
    net::door::{self, Offer},
    steering::{Away, Doors, Steering},
    sys::owned::Owned,
};

/// By slot and by the place of the address in the builder's order.
pub(super) struct Custody {
    doors: Doors,
    /// False: workers keep their sockets to themselves.
    on: bool,
    steering: Steering,
}

impl Custody {
    pub(super) fn new(on: bool, balance: Balance) -> Self {
        Self { doors: Doors::new(), on, steering: Steering::new(balance, on) }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Checks the socket, opens it for connections and keeps it. `Some`: another one of this slot listens there, which is
    /// the slot's door, queue and all; the worker is to accept on that.
    ///
    /// **Errors**: those of [`door::examine`] and of opening it; nothing has changed.
    pub(super) fn admit(&mut self, bind: &Bind, slot: Slot, address: usize, door: Owned) -> Result<Option<&Owned>> {
        match door::examine(bind, &door, self.doors.get(&(slot, address)))? {
            Offer::Second => return Ok(self.doors.get(&(slot, address))),
            Offer::Fresh => self.join(bind, slot, address, &door)?,
            Offer::Held => {}
        }
        self.doors.insert((slot, address), door);
        self.steering.after_join(&self.doors, address);
        Ok(None)
    }

    fn join(&mut self, bind: &Bind, slot: Slot, address: usize, door: &Owned) -> Result<()> {
        self.steering.before_join(&self.doors, address);
        door::open(bind, door)?;
        if let Some(at) = bind.ip() {
            self.steering.joined(&self.doors, slot, address, at, door);
        }
        Ok(())
    }

    /// Shuts the door for all who have it, the kernel included, and tells how many clients waited behind it; they are
    /// reset. `None`: it was shut before, or never held.
    pub(super) fn give_up(&mut self, slot: Slot, address: usize) -> io::Result<Option<u32>> {
        self.doors.remove(&(slot, address)).map_or(Ok(None), |door| self.shut(slot, address, &door))
    }

    /// Nobody new comes to the doors of the addresses that are `meant`; their queues stay.
    pub(super) fn refuse_newcomers(&mut self, meant: impl Fn(usize) -> bool) {
        let addresses: BTreeSet<usize> =
            self.doors.keys().map(|(_, address)| *address).filter(|at| meant(*at)).collect();
        for address in addresses {
            let last = self.steering.gather(&self.doors, address);
            let mut doors: Vec<_> = self.doors.iter().filter(|((_, place), _)| *place == address).collect();
            doors.sort_by_key(|((slot, _), _)| Some(*slot) == last);
            for ((slot, _), door) in doors {
                if let Err(error) = door::refuse_newcomers(door) {
                    log::debug!(target: TARGET, "refusing newcomers at slot {slot}, address {address}: {error}");
                }
            }
        }
    }

    /// Nobody new comes to any door.
    pub(super) fn refuse_all_newcomers(&mut self) {
        self.refuse_newcomers(|_every| true);
        self.steering.end();
    }

    fn shut(&mut self, slot: Slot, address: usize, door: &Owned) -> io::Result<Option<u32>> {
        self.steering.before_leave(&self.doors, slot, address, door);
        let shut = door::shut(door);
        self.steering.left(&self.doors, slot, address, door);
        shut
    }

    /// True: from now on no newcomer gets to the doors of this slot, and there is another one at each of its addresses.
    /// False: it has none, or that is not possible; nothing has changed.
    pub(super) fn steer_away(&mut self, slot: Slot, why: Away) -> bool {
        self.steering.steer_away(&self.doors, slot, why)
    }

    /// As before `steer_away`. A slot without doors is steered away no more, in any case.
    pub(super) fn steer_back(&mut self, slot: Slot, why: Away) {
        self.steering.steer_back(&self.doors, slot, why);
    }

    pub(super) fn door(&self, slot: Slot, address: usize) -> Option<&Owned> {
        self.doors.get(&(slot, address))
    }

    pub(super) fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The addresses at which somebody else was found to listen; each once. Cheap if nobody has joined.
    pub(super) fn strangers(&mut self) -> Vec<usize> {
        self.steering.strangers(&self.doors)
    }

    /// In the child: the doors of its slot, by address. The others are closed with all else that is the master's.
    pub(super) fn inheritance(&mut self, slot: Slot) -> Vec<(usize, Owned)> {
        if self.doors.is_empty() {
            return Vec::new();
        }
        let (own, others) =
            mem::take(&mut self.doors).into_iter().partition::<Vec<_>, _>(|((holder, _), _)| *holder == slot);
        // Their numbers are closed by the table of descriptors, which runs no Drop code.
        mem::forget(others);
        own.into_iter().map(|((_, address), door)| (address, door)).collect()
    }

    /// The end: nobody is let in any more. Tells how many clients waited behind each door.
    pub(super) fn give_up_all(&mut self) -> Vec<(Slot, u32)> {
        self.steering.end();
        // What cannot be shut is closed along with the value.
        let shut = |((slot, _), door)| Some((slot, door::shut(&door).ok()??));
        mem::take(&mut self.doors).into_iter().filter_map(shut).collect()
    }
}
