//! What anybody reads.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use super::{
    DoorStats, Totals, WorkerStats, now,
    table::{Counts, DOOR_ACCEPTED, Holder, Table},
};
use crate::{
    event::{Address, Cause, ExitStatus},
    id::Slot,
};

/// What the workers are doing and have done, from [`Master::scoreboard`](crate::Master::scoreboard).
///
/// Reading it costs the workers nothing: they write to shared memory whether somebody looks or not. Each method looks
/// anew. It may be used from any thread, and goes on showing the last state when the master is gone; until it is
/// dropped it keeps the shared memory, and one descriptor.
///
/// **After fork**: a worker may read a scoreboard that its function got hold of. Live workers and doors are those of
/// now; of processes that have ended, it knows those that ended before its own fork.
///
/// ```no_run
/// use mio_cluster::Cluster;
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// let mut master = Cluster::new().listen("127.0.0.1:0").workers(2).start(|mut worker| worker.listen().map(drop))?;
/// let scoreboard = master.scoreboard();
/// while let Some(_event) = master.wait(None)? {
///     for worker in scoreboard.workers() {
///         println!("{}: {} open, busy for {:?}", worker.id, worker.open(), worker.busy_for);
///     }
/// }
/// let totals = scoreboard.total();
/// println!("{} requests by {} processes", totals.requests, totals.processes);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Scoreboard {
    table: Arc<Table>,
    /// By place; `None`: removed. Each process's own copy, too.
    addresses: Arc<Mutex<Vec<Option<Address>>>>,
    /// Of processes that have ended, by slot; plain numbers, each process's own copy.
    ended: Arc<Mutex<BTreeMap<Slot, Totals>>>,
}

impl Scoreboard {
    pub(super) fn new(table: Table, addresses: &[Address]) -> Self {
        let addresses = addresses.iter().cloned().map(Some).collect();
        Self { table: Arc::new(table), addresses: Arc::new(Mutex::new(addresses)), ended: Arc::default() }
    }

    /// The live worker processes, in the order of their slots.
    pub fn workers(&self) -> Vec<WorkerStats> {
        let live = self.live(&self.ended());
        let now = now();
        let mut workers: Vec<_> = live.iter().map(|(holder, counts)| WorkerStats::new(*holder, counts, now)).collect();
        workers.sort_by_key(|worker| (worker.slot, worker.id));
        workers
    }

    /// What each slot has done so far, across restarts; slots that never had a worker are left out.
    pub fn slots(&self) -> Vec<(Slot, Totals)> {
        let ended = self.ended();
        let mut slots = ended.clone();
        for (holder, counts) in self.live(&ended) {
            slots.entry(holder.slot).or_default().add_process(&counts);
        }
        slots.into_iter().collect()
    }

    /// What the whole cluster has done so far: the sum of all slots.
    pub fn total(&self) -> Totals {
        let mut total = Totals::default();
        self.slots().iter().for_each(|(_, totals)| total.add(totals));
        total
    }

    /// Per slot what happens at each address, in the order of the builder, later ones behind; slots that never had a
    /// worker and addresses that were removed are left out.
    pub fn doors(&self) -> Vec<DoorStats> {
        let (slots, addresses) = (self.slots(), self.addresses().clone());
        let places: Vec<_> =
            addresses.iter().enumerate().filter_map(|(place, at)| Some((place, at.as_ref()?))).collect();
        let door = |slot| places.iter().map(move |&(place, at)| self.door(slot, place, at));
        slots.iter().flat_map(|(slot, _)| door(*slot)).collect()
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The process of this seat is gone: what it counted goes to its slot, and the seat is free.
    pub(super) fn settle(&self, slot: Slot, seat: usize) {
        let mut ended = self.ended();
        // Not forked at all, or not for long enough to be somebody.
        if self.table.pid(seat).load(Ordering::Relaxed) != 0 {
            ended.entry(slot).or_default().add_ended(&self.table.counts(seat));
        }
        self.table.clear(seat);
    }

    pub(super) fn add_end(&self, slot: Slot, status: ExitStatus, cause: Cause) {
        self.ended().entry(slot).or_default().ends.count(status, cause);
    }

    pub(super) fn add_reset(&self, slot: Slot, clients: u64) {
        self.ended().entry(slot).or_default().add(&Totals { reset: clients, ..Totals::default() });
    }

    /// Under the lock that `settle` takes, so that none is counted here and in `ended`, or nowhere.
    fn live(&self, _ended: &MutexGuard<'_, BTreeMap<Slot, Totals>>) -> Vec<(Holder, Counts)> {
        (0..self.table.seats()).filter_map(|seat| self.table.read(seat)).collect()
    }

    pub(super) fn add_address(&self, address: Address) {
        self.addresses().push(Some(address));
    }

    pub(super) fn remove_address(&self, place: usize) {
        if let Some(address) = self.addresses().get_mut(place) {
            *address = None;
        }
    }

    fn door(&self, slot: Slot, place: usize, address: &Address) -> DoorStats {
        let words = self.table.door(slot, place);
        let accepted = words[DOOR_ACCEPTED].load(Ordering::Relaxed);
        let ready = self.table.is_listening(slot, place);
        DoorStats { slot, address: address.clone(), accepted, ready }
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<Option<Address>>> {
        // One statement under the lock at a time: it is whole.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, BTreeMap<Slot, Totals>> {
        // Whoever panicked under the lock has left whole numbers.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scoreboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoreboard").field("workers", &self.workers()).finish_non_exhaustive()
    }
}
