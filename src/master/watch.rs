//! The look at the scoreboard and the queues, and what follows from it for doors and workers. When to look, and what it
//! is worth, is the [supervisor's](crate::supervisor).

use std::{collections::BTreeMap, os::fd::AsFd, time::Instant};

use super::{Master, TARGET, crew::Child, reactor::Ready};
use crate::{
    id::{Slot, WorkerId},
    supervisor::{Look, Queue, Sight},
    sys::queue,
    wire::Frame,
};

impl Master {
    /// If it is due.
    pub(super) fn look(&mut self, now: Instant) {
        if !self.supervisor.is_look_due(now) {
            return;
        }
        let look = Look { seats: self.sights(), queues: self.queues() };
        self.supervisor.handle_look(now, &look);
        self.look_for_wear(now);
    }

    fn sights(&self) -> Vec<Sight> {
        let sight = |(id, child): (&WorkerId, &Child)| {
            let pulse = child.seat().pulse();
            Sight {
                id: *id,
                turns: pulse.turns,
                busy_since: pulse.busy_since,
                open: pulse.open,
                is_short: pulse.full || pulse.paused,
                sweeps: pulse.borrowed_looks,
            }
        };
        self.crew.iter().map(sight).collect()
    }

    fn queues(&self) -> Vec<Queue> {
        let mut crews: BTreeMap<Slot, Vec<&Child>> = BTreeMap::new();
        self.crew.values().for_each(|child| crews.entry(child.slot()).or_default().push(child));
        let queue = |(&(slot, address), door)| {
            // One that somebody has shut has none.
            let waits = queue::waiting(door).is_ok_and(|waiting| waiting > 0);
            let mut looks = crews.get(&slot).into_iter().flatten().map(|child| child.seat().looks(address));
            // Of programs that accept by themselves one cannot say whether they come.
            let looks = looks.try_fold(0_u64, |sum, looks| Some(sum.saturating_add(looks?)));
            Queue { slot, address, waits: waits && looks.is_some(), looks }
        };
        self.custody.doors().iter().map(queue).collect()
    }

    /// The worker answers if it does not accept there.
    pub(super) fn lend(&mut self, now: Instant, loan: u32, (slot, address): (Slot, usize), to: WorkerId) {
        let sent = self.custody.door(slot, address).zip(self.crew.get_mut(&to)).map(|(door, child)| {
            let place = u16::try_from(address).expect("a worker's word for an address is as long");
            child.send(&Frame::Lend { loan, slot: slot.as_u32(), address: place }, &[door.as_fd()])
        });
        match sent {
            Some(Ok(())) => {
                log::debug!(target: TARGET, "slot {slot}: clients wait at its socket, worker {to} accepts them (loan {loan})");
                self.flush(to);
            }
            Some(Err(error)) => {
                log::debug!(target: TARGET, "slot {slot}: lending its socket to worker {to}: {error}");
                self.supervisor.handle_returned(now, to, loan);
            }
            None => self.supervisor.handle_returned(now, to, loan),
        }
    }

    /// From now on the workers, and the doors, wake the watch; or no longer.
    pub(super) fn doze(&mut self, now: Instant, on: bool) {
        if std::mem::replace(&mut self.dozes, on) == on {
            return;
        }
        self.crew.values().for_each(|child| child.seat().doze(on));
        let mut failed = None;
        for door in self.custody.doors().values() {
            let done = if on { self.reactor.add(door, Ready::Stirred) } else { self.reactor.remove(door) };
            failed = done.err().or(failed);
        }
        if let Some(error) = failed {
            log::debug!(target: TARGET, "watching the doors while nothing happens: {error}");
            if on {
                // Nobody would hear of who comes there, so it stays awake, and tries again.
                self.supervisor.handle_stirred(now);
            }
        }
    }

    /// A worker begins a turn, or somebody waits.
    pub(super) fn stirred(&mut self, now: Instant) {
        // It may be a door.
        let _ = self.seats.watch().read();
        self.supervisor.handle_stirred(now);
    }

    /// Doors are about to come or go.
    pub(super) fn doze_no_more(&mut self, now: Instant) {
        self.supervisor.handle_stirred(now);
        self.doze(now, false);
    }
}
