//! The master's duplicates of the workers' listening sockets: the doors. It never accepts on them.
//!
//! A socket whose process dies stays open through its duplicate, and with it the clients in its queue; a replacement
//! that is forked meanwhile inherits the descriptor and goes on where its predecessor ended. When to give a door up is
//! decided by the [supervisor](crate::supervisor).

use std::{collections::BTreeMap, io, mem};

use crate::{
    id::Slot,
    net::door,
    sys::{owned::Owned, queue},
};

/// By slot and by the place of the address in the builder's order.
pub(super) struct Custody {
    doors: BTreeMap<(Slot, usize), Owned>,
    /// False: workers keep their sockets to themselves.
    on: bool,
}

impl Custody {
    pub(super) fn new(on: bool) -> Self {
        Self { doors: BTreeMap::new(), on }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    pub(super) fn held(&self, slot: Slot, address: usize) -> Option<&Owned> {
        self.doors.get(&(slot, address))
    }

    /// In place of the one that was held there. If that is another socket, which the worker has given up, it is shut:
    /// a copy in some other process would keep it open for clients that nobody accepts. Result as of `give_up`.
    pub(super) fn keep(&mut self, slot: Slot, address: usize, door: Owned) -> io::Result<Option<u32>> {
        let another = self.held(slot, address).is_some_and(|held| !door::is_same(held, &door));
        let shut = if another { self.give_up(slot, address) } else { Ok(None) };
        self.doors.insert((slot, address), door);
        shut
    }

    /// Shuts the door for all who have it, the kernel included, and tells how many clients waited behind it; they are
    /// reset. `None`: it was shut before, or never held.
    pub(super) fn give_up(&mut self, slot: Slot, address: usize) -> io::Result<Option<u32>> {
        self.doors.remove(&(slot, address)).map_or(Ok(None), |door| door::shut(&door))
    }

    /// Those that nobody waits behind are shut; true if there are others. Whoever knocks between the look and the deed is
    /// reset, which takes a microsecond or two.
    pub(super) fn give_up_idle(&mut self) -> bool {
        let idle = |door: &Owned| queue::waiting(door).is_ok_and(|waiting| waiting == 0);
        // What cannot be shut is closed along with the value.
        self.doors.retain(|_, door| !idle(door) || door::shut(door).is_err());
        !self.doors.is_empty()
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
        // What cannot be shut is closed along with the value.
        let shut = |((slot, _), door)| Some((slot, door::shut(&door).ok()??));
        mem::take(&mut self.doors).into_iter().filter_map(shut).collect()
    }
}
