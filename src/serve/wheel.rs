//! Deadlines by index.
use std::collections::{BTreeSet, HashMap};
#[derive(Default)]
pub(super) struct Wheel {
    when: HashMap<u32, u64>,
    order: BTreeSet<(u64, u32)>,
}
impl Wheel {
    pub(super) fn new() -> Self {
        Self::default()
    }
    pub(super) fn set(&mut self, index: u32, when: u64) {
        self.remove(index);
        self.when.insert(index, when);
        self.order.insert((when, index));
    }
    pub(super) fn remove(&mut self, index: u32) {
        if let Some(when) = self.when.remove(&index) {
            self.order.remove(&(when, index));
        }
    }
    pub(super) fn when(&self, index: u32) -> Option<u64> {
        self.when.get(&index).copied()
    }
    pub(super) fn expired(&mut self, now: u64) -> Option<u32> {
        let (when, index) = *self.order.first()?;
        if when > now {
            return None;
        }
        self.remove(index);
        Some(index)
    }
    pub(super) fn next(&self) -> Option<u64> {
        self.order.first().map(|(when, _)| *when)
    }
}
