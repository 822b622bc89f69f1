//! Doors that siblings accept on.
//!
//! A door is **unattended** if somebody waits behind it and none of the slot's own workers has looked into its queue
//! (accepted, or found it empty) between two looks of the [watch](super::watch), twice in succession. It does not
//! matter why: its worker is dead, starts, waits out a back-off, hangs, is stopped, is full, or has no descriptor left.
//! The door is then **lent** to the sibling with the fewest open connections, which accepts there beside its own door,
//! and newcomers are led past the slot. If the borrower does not come either, or declines, the next one is asked. When
//! a worker of the slot has looked again, and it stays so for two looks, the loan is over.
//!
//! Races it settles: loans are numbered and a number is never used again, so what a borrower says of one that is over
//! changes nothing; a borrower that dies has no loan; a door that is shut is taken back first.

use std::time::{Duration, Instant};

use super::{
    Action, Course, Supervisor,
    process::{Phase, Process},
    watch::Queue,
};
use crate::id::{Slot, WorkerId};

/// Whether somebody comes for those who wait.
#[derive(Default)]
pub(super) struct Attendance {
    /// Looks into the queue by the slot's own workers, as of the last look.
    looks: u64,
    /// Looks in succession at which somebody waited for whom nobody had come.
    missed: u32,
    loan: Option<Loan>,
}

struct Loan {
    number: u32,
    to: WorkerId,
    /// How often the borrower has swept what it was lent, as of the last look.
    sweeps: u64,
    /// As of the attendance, by the borrower.
    missed: u32,
    /// A worker of the slot has looked since.
    is_back: bool,
    /// Looks in succession at which all was well without the borrower.
    clean: u32,
}

/// What follows from a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    Nothing,
    /// Somebody is to accept there, another one than the borrower if there is one.
    Borrower,
    /// The slot's worker is back.
    End,
}

impl Attendance {
    /// `sweeps`: of the borrower.
    fn look(&mut self, queue: &Queue, sweeps: Option<u64>) -> Need {
        let looked = queue.looks.is_none_or(|looks| looks > self.looks);
        self.looks = queue.looks.unwrap_or(0);
        let is_missed = queue.waits && !looked;
        self.missed = if is_missed { self.missed.saturating_add(1) } else { 0 };
        let Some(loan) = &mut self.loan else {
            return if self.missed >= PATIENCE { Need::Borrower } else { Need::Nothing };
        };
        let swept = sweeps.is_some_and(|sweeps| sweeps > loan.sweeps);
        loan.sweeps = sweeps.unwrap_or(loan.sweeps);
        loan.missed = if is_missed && !swept { loan.missed + 1 } else { 0 };
        loan.is_back |= looked;
        let is_clean = loan.is_back && (looked || !queue.waits);
        loan.clean = if is_clean { loan.clean + 1 } else { 0 };
        match (loan.missed >= PATIENCE, loan.clean >= PATIENCE) {
            (true, _) => Need::Borrower,
            (false, true) => Need::End,
            (false, false) => Need::Nothing,
        }
    }

    /// Another worker of the slot comes. The looks of one that has ended are no longer counted, so there may be fewer
    /// now.
    pub(super) fn begin_anew(&mut self) {
        self.looks = 0;
    }

    /// Somebody waits, or a sibling has taken who did, and no worker of the slot has come since.
    pub(super) fn is_missed(&self) -> bool {
        self.missed >= PATIENCE || self.loan.as_ref().is_some_and(|loan| !loan.is_back)
    }

    pub(super) fn is_lent(&self) -> bool {
        self.loan.is_some()
    }

    fn is_lent_to(&self, id: WorkerId) -> bool {
        self.loan.as_ref().is_some_and(|loan| loan.to == id)
    }
}

impl Supervisor {
    /// Which doors need somebody, or no longer do.
    pub(super) fn attend(&mut self, now: Instant, queues: &[Queue]) {
        for queue in queues {
            let (index, address) = (queue.slot.index(), queue.address);
            let borrower =
                self.posts[index].doors.attendance_mut(address).and_then(|door| Some(door.loan.as_ref()?.to));
            let sweeps = borrower.and_then(|id| Some(self.process_mut(id)?.pulse.sweeps()));
            let Some(attendance) = self.posts[index].doors.attendance_mut(address) else { continue };
            match attendance.look(queue, sweeps) {
                Need::Nothing => {}
                Need::Borrower => self.lend(now, index, address),
                Need::End => self.end_loan(index, address),
            }
        }
    }

    /// The worker does not accept there, or no longer: it declines, is full, leaves, or could not be told.
    pub(crate) fn handle_returned(&mut self, now: Instant, id: WorkerId, loan: u32) {
        let is_it = |door: &Attendance| door.loan.as_ref().is_some_and(|lent| lent.number == loan && lent.to == id);
        let found = self.posts.iter().enumerate().find_map(|(index, post)| {
            let (address, _) = post.doors.attended().find(|(_, door)| is_it(door))?;
            Some((index, address))
        });
        let Some((index, address)) = found else { return };
        self.process_mut(id).into_iter().for_each(|process| process.declines(now));
        let is_missed = self.posts[index].doors.attendance_mut(address).is_some_and(|door| {
            door.loan = None;
            door.missed >= PATIENCE
        });
        if is_missed {
            self.lend(now, index, address);
        }
        self.lead_back(index);
    }

    /// Whoever has ended accepts nowhere.
    pub(super) fn forget_loans_to(&mut self, id: WorkerId) {
        for index in 0..self.posts.len() {
            for address in self.lent_by(index, |door| door.is_lent_to(id)) {
                self.posts[index].doors.attendance_mut(address).into_iter().for_each(|door| door.loan = None);
            }
            self.lead_back(index);
        }
    }

    /// The loan of this door, if there is one, is over.
    pub(super) fn end_loan(&mut self, index: usize, address: usize) {
        self.take_back(index, address);
        self.lead_back(index);
    }

    pub(super) fn take_back(&mut self, index: usize, address: usize) {
        let loan = self.posts[index].doors.attendance_mut(address).and_then(|door| door.loan.take());
        if let Some(Loan { number, to, .. }) = loan {
            self.actions.push_back(Action::TakeBack { loan: number, from: to });
        }
    }

    /// Somebody accepts at this address who could do so in place of the slot's own workers, if not at this moment.
    pub(super) fn can_lend(&self, now: Instant, index: usize, address: usize) -> bool {
        matches!(self.course, Course::Running) && self.siblings(now, index, address).next().is_some()
    }

    /// Newcomers go elsewhere while nobody of the slot comes for them.
    pub(super) fn lead_past(&mut self, index: usize) {
        if !std::mem::replace(&mut self.posts[index].is_led_past, true) {
            self.actions.push_back(Action::Steer { slot: Slot::from_index(index), away: true });
        }
    }

    /// They come again, if there is no reason left against it.
    pub(super) fn lead_back(&mut self, index: usize) {
        let is_lent = self.posts[index].doors.attended().any(|(_, door)| door.is_lent());
        let is_missed = is_lent || self.posts[index].doors.are_left();
        if !is_missed && std::mem::replace(&mut self.posts[index].is_led_past, false) {
            self.actions.push_back(Action::Steer { slot: Slot::from_index(index), away: false });
        }
    }

    /// To the one who has least to do; if there is nobody, it is tried again with the next look.
    fn lend(&mut self, now: Instant, index: usize, address: usize) {
        let borrower = self.posts[index].doors.attendance_mut(address).and_then(|door| Some(door.loan.as_ref()?.to));
        let others = self.siblings(now, index, address);
        let fit = others.filter(|process| Some(process.worker.id) != borrower && process.pulse.is_well());
        let Some(to) = fit.min_by_key(|process| process.pulse.open()).map(|process| process.worker.id) else { return };
        if let Some(borrower) = borrower {
            self.process_mut(borrower).into_iter().for_each(|process| process.declines(now));
            self.take_back(index, address);
        }
        let number = self.next_loan;
        self.next_loan = self.next_loan.wrapping_add(1);
        let sweeps = self.process_mut(to).map_or(0, |process| process.pulse.sweeps());
        if let Some(attendance) = self.posts[index].doors.attendance_mut(address) {
            attendance.loan = Some(Loan { number, to, sweeps, missed: 0, is_back: false, clean: 0 });
        }
        // An empty queue wakes nobody, and newcomers do not come there.
        let holders = self.posts[index].doors.holders(address);
        self.actions.extend(holders.into_iter().map(|id| Action::Nudge { id }));
        self.actions.push_back(Action::Lend { loan: number, slot: Slot::from_index(index), address, to });
        self.lead_past(index);
    }

    /// Those who accept at this address for other slots.
    fn siblings(&self, now: Instant, index: usize, address: usize) -> impl Iterator<Item = &Process> {
        let others = self.posts.iter().enumerate().filter(move |(other, _)| *other != index);
        others.filter_map(|(_, post)| post.live()).filter(move |process| {
            let is_there =
                matches!(process.phase, Phase::Ready) && process.is_connected() && process.accepts().contains(&address);
            is_there && !process.has_declined(now, ASKED_AGAIN)
        })
    }

    fn lent_by(&self, index: usize, wanted: impl Fn(&Attendance) -> bool) -> Vec<usize> {
        let wanted = self.posts[index].doors.attended().filter(|(_, door)| wanted(door));
        wanted.map(|(address, _)| address).collect()
    }
}

/// One look alone accuses nobody: healthy workers show a queue in two successive looks a quarter of the time, but they
/// have looked into it.
const PATIENCE: u32 = 2;

/// Whoever has declined, or has not come, is left alone for this long.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
