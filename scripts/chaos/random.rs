//! Random numbers that can be had again: splitmix64.

use std::{env, time::SystemTime};

pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `CHAOS_SEED`, or by the time; the seed comes with it.
    pub(crate) fn new() -> (Self, u64) {
        let given = env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
        let now =
            || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or_else(now);
        (Self(seed), seed)
    }

    /// From 0 to `bound` - 1; `bound` is small, so the bias of the remainder does not matter.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
