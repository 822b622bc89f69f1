//! How many connections receive before the first of them sends. Pure.
//!
//! Receiving and answering, and then sending, for many connections at a time: so the processor finds the instructions
//! of each half in its caches, instead of fetching all of them again for every request. That is 2 to 4 % of a request's
//! CPU time (keep-alive, 64 and 512 connections: `LARGEST` = 1 against 32, in turn every 20 ms; rounds of seconds are
//! too noisy to show it). But an answer waits for the requests behind it, so a batch is over after a time, too: where
//! answers are slow to make, each is sent at once.

use std::mem;

use super::table::Key;

pub(super) struct Batch {
    limit: usize,
    /// Those that have something to send.
    keys: Vec<Key>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { limit: LARGEST, keys: Vec::with_capacity(LARGEST) }
    }

    pub(super) fn push(&mut self, key: Key) {
        self.keys.push(key);
    }

    pub(super) fn is_full(&self) -> bool {
        self.keys.len() >= self.limit
    }

    /// Takes all of them; [`give_back`](Self::give_back) the empty list. `passed`: in nanoseconds, since the first of
    /// them received; asked only if it is of interest. The next ones may be expected to take as long.
    pub(super) fn take(&mut self, passed: impl FnOnce() -> u64) -> Vec<Key> {
        let answers = self.keys.len();
        // A single one is no reason to make batches smaller.
        if answers > 1 || self.limit == 1 {
            let fitting = answers as u64 * LONGEST_NS / passed().max(1);
            self.limit = usize::try_from(fitting).unwrap_or(LARGEST).clamp(1, LARGEST);
        }
        mem::take(&mut self.keys)
    }

    pub(super) fn give_back(&mut self, keys: Vec<Key>) {
        self.keys = keys;
    }
}

/// More of them save nothing more that could be measured.
const LARGEST: usize = 32;

/// So long, about, may an answer wait for others; a small one is made in a hundredth of it.
const LONGEST_NS: u64 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many the batch that follows may have.
    fn after(batch: &mut Batch, answers: u32, ns: u64) -> usize {
        for index in 0..answers {
            batch.push(Key { index, generation: 0 });
        }
        assert_eq!(batch.take(|| ns).len(), answers as usize);
        batch.limit
    }

    #[test]
    fn slow_answers_are_sent_one_by_one_until_they_are_fast_again() {
        let mut batch = Batch::new();
        assert_eq!(after(&mut batch, 32, LONGEST_NS), 32, "just in time");
        assert_eq!(after(&mut batch, 1, 8 * LONGEST_NS), 32, "it has kept nobody waiting");
        assert_eq!(after(&mut batch, 4, 8 * LONGEST_NS), 1);
        assert_eq!(after(&mut batch, 1, 8 * LONGEST_NS), 1);
        assert_eq!(after(&mut batch, 1, LONGEST_NS / 5), 5);
        assert_eq!(after(&mut batch, 5, 0), 32);
    }

    #[test]
    fn time_is_asked_for_only_where_it_matters() {
        let mut batch = Batch::new();
        batch.take(|| unreachable!("nothing to send"));
        batch.push(Key { index: 0, generation: 0 });
        batch.take(|| unreachable!("one answer waits for no other"));
        assert!(!batch.is_full());
    }
}
