//! When a batch is sent: a policy without I/O.
//!
//! A packet costs a system call on each side, and wakes the reader if it sleeps. So messages that follow each other
//! closely share one: after a packet the next one leaves [`HOLD`] later at the earliest, in a dense stream
//! [`HOLD_DENSE`], or when it is full. But whoever answers must not be made to wait: the first message after something
//! was heard leaves at once, and what else is said in the same turn leaves at its end.

/// Times are nanoseconds of the monotonic clock.
#[derive(Default, Debug)]
pub(super) struct Pace {
    /// When the next packet may leave.
    due: u64,
    /// Messages since the last packet.
    waiting: u32,
    heard: Heard,
}

/// What this side has heard since the end of its last turn.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Heard {
    #[default]
    Nothing,
    /// Nothing was sent since.
    Unanswered,
    Answered,
}

impl Pace {
    /// The other end has said something.
    pub(super) fn hear(&mut self) {
        self.heard = Heard::Unanswered;
    }

    /// A message was written. Whether it is to leave at once.
    pub(super) fn wrote(&mut self, now: u64) -> bool {
        self.waiting = self.waiting.saturating_add(1);
        self.heard == Heard::Unanswered || now >= self.due
    }

    /// When what is held is sent at the latest.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    pub(super) fn sent(&mut self, now: u64) {
        let hold = if std::mem::take(&mut self.waiting) >= DENSE { HOLD_DENSE } else { HOLD };
        self.due = now.saturating_add(hold);
        if self.heard == Heard::Unanswered {
            self.heard = Heard::Answered;
        }
    }

    /// This side has nothing more to say for now. Whether what is held is to leave, because somebody waits for it.
    pub(super) fn end_turn(&mut self) -> bool {
        std::mem::take(&mut self.heard) != Heard::Nothing
    }
}

/// A millisecond: a thousand packets a second cost little.
const HOLD: u64 = 1_000_000;

/// Ten, if the last packet held so many messages: each of them waits for longer, but not so long that a person notices,
/// and the receiver is woken a tenth as often. With a message per request that is 1 % of a request's CPU time
/// (`scripts/bench/messages --only counting`).
const HOLD_DENSE: u64 = 10 * HOLD;
const DENSE: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_leaves_once_per_millisecond() {
        let mut pace = Pace::default();
        let start = 10 * HOLD;
        assert!(pace.wrote(start), "nothing was sent for long");
        pace.sent(start);
        assert_eq!(pace.due(), start + HOLD);
        assert!(!pace.wrote(start) && !pace.wrote(start + HOLD - 1) && !pace.end_turn());
        assert!(pace.wrote(start + HOLD));
    }

    #[test]
    fn a_dense_stream_leaves_every_ten() {
        let mut pace = Pace::default();
        let start = 10 * HOLD_DENSE;
        for _ in 0..DENSE {
            pace.wrote(start);
        }
        pace.sent(start);
        assert_eq!(pace.due(), start + HOLD_DENSE);
        pace.wrote(start);
        pace.sent(start + 1);
        assert_eq!(pace.due(), start + 1 + HOLD, "it was dense");
    }

    #[test]
    fn answers_leave_with_the_turn() {
        let mut pace = Pace::default();
        let now = 10 * HOLD;
        pace.sent(now);
        pace.hear();
        assert!(pace.wrote(now), "the first one at once");
        pace.sent(now);
        assert!(!pace.wrote(now), "the others of this turn wait for its end");
        assert!(pace.end_turn() && !pace.end_turn(), "the next turn has heard nothing");
    }
}
