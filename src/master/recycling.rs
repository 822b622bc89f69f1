//! What each worker has done and how much memory it has, against its limits: at each look of the watch, the memory more
//! seldom.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{Master, TARGET, crew::Child};
use crate::{
    id::{Slot, WorkerId},
    supervisor::{Limits, Worn},
    sys::{memory, shortage::is_shortage},
};

/// The limits of one worker, and when its memory is looked at.
pub(super) struct Gauge {
    limits: Limits,
    /// `None`: it cannot be, or need not be.
    memory_at: Option<Instant>,
}

impl Gauge {
    /// Of a worker that was forked now. Each slot has its own place within the interval.
    pub(super) fn new(limits: Limits, slot: Slot, now: Instant) -> Self {
        let place = EVERY * (1 + slot.index() as u32 % PLACES) / PLACES;
        Self { limits, memory_at: limits.has_memory().then(|| now + place) }
    }

    /// **Errors**: how much memory it has cannot be read, and is not asked for again.
    fn worn_by_memory(&mut self, now: Instant, pid: u32) -> io::Result<Option<Worn>> {
        let Some(at) = self.memory_at.take_if(|at| *at <= now) else { return Ok(None) };
        let resident = match memory::resident(pid) {
            // It is what the master has too little of itself.
            Err(error) if is_shortage(&error) => 0,
            resident => resident?,
        };
        // In its place also after a time in which nobody looked.
        let missed = now.saturating_duration_since(at).div_duration_f64(EVERY) as u32;
        self.memory_at = Some(at + EVERY * (missed + 1));
        Ok(self.limits.worn_by_memory(resident))
    }
}

impl Master {
    /// The worker was just forked.
    pub(super) fn gauge(&mut self, now: Instant, id: WorkerId) {
        let limits = self.supervisor.limits(id);
        if let Some(child) = self.crew.get_mut(&id) {
            child.gauge = Some(Gauge::new(limits, child.slot(), now));
        }
    }

    /// Tells the supervisor of all that have reached one of their limits.
    pub(super) fn look_for_wear(&mut self, now: Instant) {
        let worn = self.crew.iter_mut().filter_map(|(id, child)| Some((*id, worn(now, *id, child)?)));
        for (id, why) in worn {
            self.supervisor.handle_worn(now, id, why);
        }
    }
}

fn worn(now: Instant, id: WorkerId, child: &mut Child) -> Option<Worn> {
    let (pulse, pid) = (child.seat().pulse(), child.pid());
    let gauge = child.gauge.as_mut()?;
    gauge.limits.worn_by(pulse.accepted, pulse.requests).or_else(|| {
        gauge.worn_by_memory(now, pid).unwrap_or_else(|error| {
            log::warn!(target: TARGET, "worker {id} (pid {pid}): reading its memory: {error}; it is not limited");
            None
        })
    })
}

/// Reading the memory of a process takes some microseconds, and a leak some minutes at least.
const EVERY: Duration = Duration::from_secs(10);

/// Not all workers at the same look.
const PLACES: u32 = 16;
