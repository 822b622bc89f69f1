//! The harness itself: it fails a case on whatever a fixture leaves behind.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::harness::{Bench, cases};

cases!("harness":
    nothing_left_passes,
    everything_left_is_noticed,
    expected_lines_must_come,
);

fn nothing_left_passes(bench: &Bench) {
    bench.start("misbehaves").end_with(0);
}

fn everything_left_is_noticed(bench: &Bench) {
    for (how, text) in [
        ("orphan", "left a process running"),
        ("zombie", "left a zombie"),
        ("descriptor", "changed by the cluster"),
        ("mask", "changed by the cluster"),
        ("log", "unexpected log line"),
        ("panic", "unexpected log line"),
        ("events", "events out of order"),
    ] {
        let mut run = bench.start(&format!("misbehaves how={how}"));
        let panic = catch_unwind(AssertUnwindSafe(|| run.end())).expect_err(how);
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains(text), "{how}: {message}");
    }
}

fn expected_lines_must_come(bench: &Bench) {
    let mut run = bench.start("misbehaves");
    run.expect("something");
    assert!(catch_unwind(AssertUnwindSafe(|| run.end())).is_err());
}
