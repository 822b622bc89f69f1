//! How worker processes have ended.

use crate::event::{Cause, ExitStatus};

/// How many worker processes have ended in which way; part of [`Totals`](crate::Totals). Each counts once.
///
/// A process is counted here when its [`Exit`](crate::Event::Exit) is told, a moment after its other counts have gone to
/// its slot.
///
/// ```
/// use mio_cluster::{Scoreboard, Slot};
///
/// /// Slots in which workers crash.
/// fn crashing(scoreboard: &Scoreboard) -> Vec<Slot> {
///     let slots = scoreboard.slots().into_iter();
///     slots.filter(|(_, totals)| totals.ends.signalled + totals.ends.failed > 0).map(|(slot, _)| slot).collect()
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ends {
    /// As asked, or as it had announced: it left, a rollout replaced it, it was one too many, or the cluster stopped.
    pub asked: u64,
    /// Replaced because it had served for long enough ([`Recycle`](crate::Recycle)).
    pub recycled: u64,
    /// By itself, with exit code 0.
    pub clean: u64,
    /// By itself, with another exit code; 101 is a panic, 1 an error that the worker function returned.
    pub failed: u64,
    /// By a signal that the cluster has not sent: a crash, the kernel short of memory, or somebody's `kill`.
    pub signalled: u64,
    /// It was killed as it hung.
    pub hung: u64,
    /// It was killed as it was not ready in time.
    pub not_ready: u64,
    /// The program killed it, by [`Master::kill`](crate::Master::kill).
    pub killed: u64,
    /// By itself; how was told to somebody else.
    pub unknown: u64,
}

impl Ends {
    /// Those that nobody wanted, but the program itself by [`killed`](Self::killed).
    pub fn unasked(&self) -> u64 {
        let Self { asked: _, recycled: _, clean, failed, signalled, hung, not_ready, killed, unknown } = *self;
        [clean, failed, signalled, hung, not_ready, killed, unknown].into_iter().fold(0, u64::saturating_add)
    }

    pub(super) fn count(&mut self, status: ExitStatus, cause: Cause) {
        let count = match cause {
            Cause::Asked | Cause::Rollout | Cause::Scaled => &mut self.asked,
            Cause::Recycled => &mut self.recycled,
            Cause::Hung => &mut self.hung,
            Cause::NotReady => &mut self.not_ready,
            Cause::Killed => &mut self.killed,
            Cause::Own => match (status.code(), status.signal()) {
                (Some(0), _) => &mut self.clean,
                (Some(_), _) => &mut self.failed,
                (None, Some(_)) => &mut self.signalled,
                (None, None) => &mut self.unknown,
            },
        };
        *count = count.saturating_add(1);
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let Self { asked, recycled, clean, failed, signalled, hung, not_ready, killed, unknown } = other;
        Self {
            asked: self.asked.saturating_add(asked),
            recycled: self.recycled.saturating_add(recycled),
            clean: self.clean.saturating_add(clean),
            failed: self.failed.saturating_add(failed),
            signalled: self.signalled.saturating_add(signalled),
            hung: self.hung.saturating_add(hung),
            not_ready: self.not_ready.saturating_add(not_ready),
            killed: self.killed.saturating_add(killed),
            unknown: self.unknown.saturating_add(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_counts_once_in_its_way() {
        let (clean, failed, killed) = (0, 7 << 8, 9);
        let mut ends = Ends::default();
        for (status, cause) in [
            (clean, Cause::Own),
            (failed, Cause::Own),
            (killed, Cause::Own),
            (clean, Cause::Asked),
            (killed, Cause::Rollout),
            (clean, Cause::Scaled),
            (clean, Cause::Recycled),
            (killed, Cause::Hung),
            (killed, Cause::NotReady),
            (killed, Cause::Killed),
        ] {
            ends.count(ExitStatus::from_wait_status(status), cause);
        }
        ends.count(ExitStatus::unknown(), Cause::Own);
        let expected = Ends {
            asked: 3,
            recycled: 1,
            clean: 1,
            failed: 1,
            signalled: 1,
            hung: 1,
            not_ready: 1,
            killed: 1,
            unknown: 1,
        };
        assert_eq!((ends, ends.unasked()), (expected, 7));
        assert_eq!(ends.plus(ends).plus(Ends { asked: u64::MAX, ..Ends::default() }).asked, u64::MAX);
        assert_eq!(ends.plus(ends).unasked(), 14);
    }
}
