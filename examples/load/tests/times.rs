use std::time::{Duration, Instant};

use crate::{arrivals::Arrivals, timers::Timers};

const MS: Duration = Duration::from_millis(1);

#[test]
fn arrivals_are_at_fixed_times() {
    let begin = Instant::now();
    // A thousand per second, of which this worker has every second.
    let mut arrivals = Arrivals::new(begin, 1000.0, 1, 2);
    assert_eq!(arrivals.take(begin), None);
    assert_eq!(arrivals.next(), Some(begin + MS));
    // A stall does not move them.
    let due: Vec<_> = std::iter::from_fn(|| arrivals.take(begin + 6 * MS)).collect();
    assert_eq!(due, [1, 3, 5].map(|at| begin + at * MS));
}

#[test]
fn arrivals_end() {
    let begin = Instant::now();
    let mut arrivals = Arrivals::new(begin, 1000.0, 0, 1);
    arrivals.end(begin + 10 * MS);
    arrivals.end(begin + 99 * MS);
    assert_eq!(arrivals.take(begin + 3 * MS), Some(begin));
    let mut due_by = |at| std::iter::from_fn(|| arrivals.take(begin + at * MS)).count();
    assert_eq!((due_by(3), due_by(50)), (3, 6));
    assert_eq!(arrivals.next(), None);
}

/// All workers together have the whole schedule, each time once.
#[test]
fn workers_share_the_arrivals() {
    let begin = Instant::now();
    let end = begin + Duration::from_secs(1);
    let shares = (0..3).map(|place| Arrivals::new(begin, 100.0, place, 3));
    let mut all: Vec<_> = shares.flat_map(|mut share| std::iter::from_fn(move || share.take(end))).collect();
    all.sort_unstable();
    assert_eq!(all, (0..=100).map(|number| begin + number * 10 * MS).collect::<Vec<_>>());
}

#[test]
fn timers_move_both_ways() {
    let start = Instant::now();
    let at = |ms: u32| start + ms * MS;
    let mut timers = Timers::new(3);
    timers.set(0, Some(at(10)));
    timers.set(1, Some(at(20)));
    timers.set(2, Some(at(30)));
    // Later, earlier, never.
    timers.set(0, Some(at(40)));
    timers.set(2, Some(at(5)));
    timers.set(1, None);
    assert_eq!(timers.over(at(4)), None);
    assert_eq!((timers.over(at(5)), timers.is_set(2)), (Some(2), false));
    assert_eq!(timers.over(at(39)), None);
    assert_eq!(timers.next(), Some(at(40)));
    assert_eq!((timers.over(at(40)), timers.over(at(99))), (Some(0), None));
    assert_eq!(timers.next(), None);
    // Again, at a time that is over.
    timers.set(1, Some(at(1)));
    assert_eq!(timers.over(at(40)), Some(1));
}
