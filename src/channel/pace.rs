//! When a batch is sent: a policy without I/O.
//!
//! A packet costs a system call on each side, and wakes the reader if it sleeps. So messages that follow each other
//! closely share one: after a packet the next one leaves [`HOLD`] later at the earliest, or when it is full. But whoever
//! answers must not be made to wait: the first message after something was heard leaves at once, and what else is said
//! in the same turn leaves at its end.

/// Times are nanoseconds of the monotonic clock.
#[derive(Default, Debug)]
pub(super) struct Pace {
    last_packet: u64,
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

    /// Whether a message that was just written is to leave at once.
    pub(super) fn is_urgent(&self, now: u64) -> bool {
        self.heard == Heard::Unanswered || self.is_due(now)
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        now >= self.due()
    }

    /// When what is held is sent at the latest.
    pub(super) fn due(&self) -> u64 {
        self.last_packet.saturating_add(HOLD)
    }

    pub(super) fn sent(&mut self, now: u64) {
        self.last_packet = now;
        if self.heard == Heard::Unanswered {
            self.heard = Heard::Answered;
        }
    }

    /// This side has nothing more to say for now. Whether what is held is to leave.
    pub(super) fn end_turn(&mut self, now: u64) -> bool {
        std::mem::take(&mut self.heard) != Heard::Nothing || self.is_due(now)
    }
}

/// A millisecond: a thousand packets a second cost little, and a counter that is shown to people is not late.
const HOLD: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_leaves_once_per_millisecond() {
        let mut pace = Pace::default();
        let start = 10 * HOLD;
        assert!(pace.is_urgent(start), "nothing was sent for long");
        pace.sent(start);
        for now in [start, start + 1, start + HOLD - 1] {
            assert!(!pace.is_urgent(now) && !pace.end_turn(now), "{now}");
        }
        assert_eq!(pace.due(), start + HOLD);
        assert!(pace.is_urgent(start + HOLD) && pace.end_turn(start + HOLD));
    }

    #[test]
    fn answers_leave_with_the_turn() {
        let mut pace = Pace::default();
        let now = 10 * HOLD;
        pace.sent(now);
        pace.hear();
        assert!(pace.is_urgent(now), "the first one at once");
        pace.sent(now);
        assert!(!pace.is_urgent(now), "the others of this turn wait for its end");
        assert!(pace.end_turn(now));
        assert!(!pace.end_turn(now), "the next turn has heard nothing");
    }
}
