//! What a reader gets.

use std::time::Duration;

use super::{
    Closes, Ends, USER_CELLS,
    table::{Counts, Holder},
};
use crate::{
    event::Address,
    id::{Slot, WorkerId},
};

/// One live worker process, as it was when [`Scoreboard::workers`](crate::Scoreboard::workers) looked. Counts begin
/// with the process.
///
/// ```
/// use std::time::Duration;
/// use mio_cluster::WorkerStats;
///
/// fn seems_stuck(worker: &WorkerStats) -> bool {
///     worker.busy_for.is_some_and(|time| time > Duration::from_secs(1))
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerStats {
    /// Its stable place.
    pub slot: Slot,
    /// The process.
    pub id: WorkerId,
    /// The process id of the operating system.
    pub pid: u32,
    /// How long the present turn of its loop lasts. `None`: it waits for events, or its loop does not tell (neither
    /// [`Worker::poll`](crate::Worker::poll) nor [`Row::busy`](crate::Row::busy)).
    pub busy_for: Option<Duration>,
    /// It is to finish what it has accepted and leave: as asked by the master, by a signal, or by itself.
    pub draining: bool,
    /// It accepts nobody at present, as it has [as many connections as it may](crate::Serve::max_connections).
    pub full: bool,
    /// It accepts nobody at present for want of descriptors or memory, see
    /// [`Listener::accept`](crate::Listener::accept).
    pub paused: bool,
    /// Turns of its loop.
    pub turns: u64,
    /// Connections that it accepted.
    pub accepted: u64,
    /// Those of them that waited for another worker, which did not accept them.
    pub adopted: u64,
    /// Those of them that have ended, see [`Row::closed`](crate::Row::closed).
    pub closed: u64,
    /// Those of them that ended in [`Worker::serve`](crate::Worker::serve), by reason.
    pub closes: Closes,
    /// What it counted with [`Row::requests`](crate::Row::requests).
    pub requests: u64,
    /// The program's own cells, see [`Row::user`](crate::Row::user).
    pub user: [u64; 8],
}

impl WorkerStats {
    /// `now`: the monotonic clock.
    pub(super) fn new(holder: Holder, counts: &Counts, now: u64) -> Self {
        let Holder { slot, id, pid } = holder;
        let Counts { draining, full, paused, busy_since, turns, accepted, adopted, closed, closes, requests, user } =
            *counts;
        let busy_for = (busy_since != 0).then(|| Duration::from_nanos(now.saturating_sub(busy_since)));
        Self {
            slot,
            id,
            pid,
            busy_for,
            draining,
            full,
            paused,
            turns,
            accepted,
            adopted,
            closed,
            closes,
            requests,
            user,
        }
    }

    /// Connections that are open now: `accepted` without `closed`.
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.closed)
    }
}

/// What the processes of a slot, or of all slots, have done so far: those that have ended and those that live.
///
/// ```
/// use mio_cluster::Totals;
///
/// // Where every connection is that ever reached the cluster.
/// fn explain(totals: &Totals) -> String {
///     let Totals { accepted, closed, abandoned, reset, .. } = totals;
///     let open = totals.open();
///     format!("{accepted} accepted: {closed} served, {open} open, {abandoned} lost with their worker; {reset} reset before that")
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Worker processes that were forked.
    pub processes: u64,
    /// Those of them that have ended, by the way in which they did.
    pub ends: Ends,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Those of them that waited for a worker of another slot, which did not accept them; they count for the slot that
    /// did.
    pub adopted: u64,
    /// Those of them that have ended, see [`Row::closed`](crate::Row::closed).
    pub closed: u64,
    /// Those of them that ended in [`Worker::serve`](crate::Worker::serve), by reason.
    pub closes: Closes,
    /// Those of them that were open when their process ended, and were lost with it. Means something only in a program
    /// that calls [`Row::closed`](crate::Row::closed).
    pub abandoned: u64,
    /// Clients that waited to be accepted and were reset, because nobody was left or due to accept them.
    pub reset: u64,
    /// What was counted with [`Row::requests`](crate::Row::requests).
    pub requests: u64,
    /// The sums of the program's own cells, see [`Row::user`](crate::Row::user).
    pub user: [u64; 8],
}

impl Totals {
    /// Connections that are open now: `accepted` without `closed` and `abandoned`.
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.closed).saturating_sub(self.abandoned)
    }

    /// One process more, and what it has counted.
    pub(super) fn add_process(&mut self, counts: &Counts) {
        let Counts { accepted, adopted, closed, closes, requests, user, .. } = *counts;
        self.add(&Totals { processes: 1, accepted, adopted, closed, closes, requests, user, ..Totals::default() });
    }

    /// As `add_process`; it has ended.
    pub(super) fn add_ended(&mut self, counts: &Counts) {
        self.add_process(counts);
        self.abandoned = self.abandoned.saturating_add(counts.accepted.saturating_sub(counts.closed));
    }

    pub(super) fn add(&mut self, other: &Totals) {
        let Totals { processes, ends, accepted, adopted, closed, closes, abandoned, reset, requests, user } = *other;
        self.closes = self.closes.plus(closes);
        self.ends = self.ends.plus(ends);
        let sums = [
            (&mut self.processes, processes),
            (&mut self.accepted, accepted),
            (&mut self.adopted, adopted),
            (&mut self.closed, closed),
            (&mut self.abandoned, abandoned),
            (&mut self.reset, reset),
            (&mut self.requests, requests),
        ];
        let cells = self.user.iter_mut().zip(user);
        sums.into_iter().chain(cells).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }
}

/// One slot at one address, as it was when [`Scoreboard::doors`](crate::Scoreboard::doors) looked. Counts go on across
/// restarts.
///
/// ```
/// use mio_cluster::Scoreboard;
///
/// fn accepted_at(scoreboard: &Scoreboard, name: &str) -> u64 {
///     scoreboard.doors().iter().filter(|door| door.address.name() == name).map(|door| door.accepted).sum()
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoorStats {
    /// Whose.
    pub slot: Slot,
    /// Where.
    pub address: Address,
    /// Connections that waited there for this slot and were accepted by a [`Listener`](crate::Listener): of its own, or
    /// of another slot that has [adopted](Totals::adopted) them.
    pub accepted: u64,
    /// A worker of this slot listens there.
    pub ready: bool,
}

const _: () = assert!(USER_CELLS == 8, "the documentation and the public arrays say 8");

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        let closes = Closes::from_words([2, 0, 0, 0, 0, 0, 0, 1]);
        Counts {
            busy_since: 5,
            turns: 4,
            accepted: 10,
            adopted: 2,
            closed: 7,
            closes,
            requests: 30,
            user: [1; 8],
            ..Counts::default()
        }
    }

    #[test]
    fn open_connections_of_an_ended_process_are_abandoned() {
        let mut totals = Totals::default();
        totals.add_process(&counts());
        assert_eq!((totals.open(), totals.abandoned), (3, 0));
        totals.add_ended(&counts());
        assert_eq!((totals.processes, totals.accepted, totals.closed, totals.requests), (2, 20, 14, 60));
        assert_eq!(totals.adopted, 4);
        assert_eq!(totals.closes, Closes { by_service: 4, shed: 2, ..Closes::default() });
        assert_eq!((totals.open(), totals.abandoned, totals.user), (3, 3, [2; 8]));
    }

    #[test]
    fn nonsense_overflows_nothing() {
        let closes = Closes::from_words([u64::MAX; 8]);
        let nonsense = Counts { accepted: u64::MAX, closed: 0, closes, user: [u64::MAX; 8], ..counts() };
        let mut totals = Totals::default();
        (0..2).for_each(|_| totals.add_ended(&nonsense));
        assert_eq!((totals.accepted, totals.abandoned, totals.user), (u64::MAX, u64::MAX, [u64::MAX; 8]));
        assert_eq!(totals.closes, closes);
        totals.add_ended(&Counts { accepted: 0, closed: u64::MAX, ..counts() });
        assert_eq!(totals.open(), 0);
    }

    #[test]
    fn a_turn_that_began_after_the_look_has_lasted_no_time() {
        let holder = Holder { slot: Slot::from_index(0), id: WorkerId::FIRST, pid: 1 };
        let busy = |since, now| WorkerStats::new(holder, &Counts { busy_since: since, ..counts() }, now).busy_for;
        assert_eq!(busy(0, 100), None);
        assert_eq!(busy(40, 100), Some(Duration::from_nanos(60)));
        assert_eq!(busy(140, 100), Some(Duration::ZERO));
    }
}
