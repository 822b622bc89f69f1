use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * 3600 * 1000;

fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
    std::iter::from_fn(|| wheel.pop(now)).collect()
}

#[test]
fn entry_is_small() {
    assert_eq!(size_of::<Entry>(), 16, "each connection has one");
    assert!(size_of::<Wheel>() < 1536);
}

#[test]
fn each_comes_at_its_time() {
    let mut wheel = Wheel::new();
    let times = [1, 63, 64, 65, 4095, 4096, 75_000, DAY, 13 * DAY, 400 * DAY];
    for (index, when) in (0..).zip(times) {
        wheel.set(index, when);
        assert_eq!(wheel.when(index), Some(when));
    }
    for (index, when) in (0..).zip(times) {
        assert_eq!(drain(&mut wheel, when - 1), [0_u32; 0]);
        assert_eq!(drain(&mut wheel, when), [index]);
        assert!(!wheel.is_set(index));
    }
    assert_eq!(wheel.next(), None);
}

#[test]
fn one_jump_brings_all_in_order() {
    let mut wheel = Wheel::new();
    [9 * DAY, 5, 100, 5, 1 << 40].into_iter().zip(0..).for_each(|(when, index)| wheel.set(index, when));
    assert_eq!(drain(&mut wheel, 1 << 41), [1, 3, 2, 0, 4]);
}

#[test]
fn what_has_passed_comes_at_once() {
    let mut wheel = Wheel::new();
    assert_eq!(wheel.pop(1000), None);
    [999, 1000, 1001].into_iter().zip(0..).for_each(|(when, index)| wheel.set(index, when));
    assert_eq!(wheel.next(), Some(1000));
    assert_eq!(drain(&mut wheel, 1000), [0, 1]);
    assert_eq!(drain(&mut wheel, 500), [0_u32; 0], "time does not go back");
    assert_eq!((wheel.next(), drain(&mut wheel, 1001)), (Some(1001), vec![2]));
}

#[test]
fn never_is_a_time() {
    let mut wheel = Wheel::new();
    wheel.set(0, u64::MAX);
    assert_eq!(wheel.when(0), Some(LAST));
    assert_eq!(drain(&mut wheel, LAST - 1), [0_u32; 0]);
    assert_eq!(drain(&mut wheel, u64::MAX), [0]);
    assert!(wheel.pop(u64::MAX).is_none());
    wheel.set(0, u64::MAX);
    assert_eq!(drain(&mut wheel, u64::MAX), [0]);
}

#[test]
fn index_is_used_again_without_allocation() {
    let mut wheel = Wheel::new();
    wheel.set(99, 5);
    let room = wheel.entries.capacity();
    for when in 0..10_000 {
        wheel.set((when % 100) as u32, when * 7);
        wheel.remove((when % 41) as u32);
        wheel.pop(when);
    }
    assert_eq!(wheel.entries.capacity(), room);
    wheel.remove(12_345);
    assert!(!wheel.is_set(12_345) && wheel.entries.capacity() == room);
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, u64),
    Remove(u32),
    /// So much time passes; then, between the pops, these are done.
    Pass(u64, Vec<Step>),
}

/// Of every order of magnitude, and on both sides of the limits between slots.
fn spans() -> impl Strategy<Value = u64> {
    let near_a_limit = (0..43_u32, 0..5_u64).prop_map(|(bits, more)| (1_u64 << bits).saturating_sub(2) + more);
    prop_oneof![2 => 0..200_u64, 2 => 0..400_000_u64, 1 => 0..20 * DAY, 2 => near_a_limit]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = || 0..12_u32;
    // Times are relative to the time of the step; a few of them have passed.
    let change = || prop_oneof![4 => (index(), spans()).prop_map(|(index, span)| Step::Set(index, span)), 1 => index().prop_map(Step::Remove)];
    let pass = (spans(), prop::collection::vec(change(), 0..4)).prop_map(|(span, between)| Step::Pass(span, between));
    prop::collection::vec(prop_oneof![2 => change(), 1 => pass], 1..60)
}

/// The wheel beside what it stands for.
struct Pair {
    wheel: Wheel,
    model: BTreeMap<u32, u64>,
    now: u64,
}

impl Pair {
    fn take(&mut self, step: Step) {
        match step {
            Step::Set(index, span) => {
                let when = (self.now + span).saturating_sub(100);
                self.wheel.set(index, when);
                self.model.insert(index, when);
            }
            Step::Remove(index) => {
                self.wheel.remove(index);
                self.model.remove(&index);
            }
            Step::Pass(span, mut between) => {
                self.now += span;
                let now = self.now;
                while let Some(index) = self.wheel.pop(now) {
                    let when = self.model.remove(&index).expect("it was set");
                    assert!(when <= now, "{index} came {} ms too early", when - now);
                    between.pop().into_iter().for_each(|step| self.take(step));
                }
                assert!(self.model.values().all(|&when| when > now), "{:?} at {now}", self.model);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let earliest = self.model.values().min().copied();
        let (next, now) = (self.wheel.next(), self.now);
        assert_eq!(next.is_some(), earliest.is_some());
        assert!(next <= earliest.map(|when| when.max(now)), "{next:?} is later than {earliest:?}");
        for index in 0..12 {
            let when = self.model.get(&index).copied();
            assert_eq!((self.wheel.when(index), self.wheel.is_set(index)), (when, when.is_some()));
        }
    }
}

proptest! {
    #[test]
    fn wheel_does_what_a_map_would(steps in steps()) {
        let mut pair = Pair { wheel: Wheel::new(), model: BTreeMap::new(), now: 0 };
        steps.into_iter().for_each(|step| pair.take(step));
    }
}
