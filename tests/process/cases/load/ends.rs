//! How a load ends: by itself, by a signal, or with a worker of its own that does not.

use nix::sys::signal::Signal;

use super::{
    balanced, failed, number,
    servers::{OK, answering, hold, server},
};
use crate::harness::Bench;

/// Requests on their way are finished; so the report is complete.
pub(super) fn interrupted(bench: &Bench) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let at = server(bench, usize::MAX, answering(OK));
        let mut run = bench.example(&format!("load {at} --json --duration 1000 -c 4 -w 2 --max-errors 0"));
        run.log("under way:");
        run.signal_group(signal);
        let report = run.fact("report");
        run.end_with(0);
        balanced(&report);
        assert!(number(&report, "requests", "ok") > 0);
    }
}

/// The last requests that are due are sent when the first ones have timed out, and have their time, too.
pub(super) fn interrupted_while_nobody_answers(bench: &Bench) {
    let at = server(bench, usize::MAX, hold);
    let mut run = bench.example(&format!("load {at} --json --duration 1000 -c 4 -w 1 --rate 100 --timeout 2500"));
    run.log("under way:");
    run.signal(Signal::SIGTERM);
    let report = run.fact("report");
    run.end_with(0);
    balanced(&report);
    failed(&report, &[("answer_timeout", number(&report, "requests", "begun"))]);
}

/// SIGHUP means a rollout, and successors would have no load to make.
pub(super) fn not_replaced(bench: &Bench) {
    let at = server(bench, usize::MAX, answering(OK));
    let mut run = bench.example(&format!("load {at} --json --duration 1000 -c 4 -w 2"));
    run.log("under way:");
    run.signal(Signal::SIGHUP);
    run.log("have no successors");
    run.signal(Signal::SIGINT);
    let report = run.fact("report");
    run.end_with(0);
    failed(&report, &[]);
    assert_eq!(report.field("complete"), Some("true"));
}

pub(super) fn exit_codes(bench: &Bench) {
    let at = bench.free_address();
    for (most, code) in [("3", 1), ("4", 0)] {
        let mut run = bench.example(&format!("load {at} -n 4 -c 1 --max-errors {most}"));
        run.fact("4");
        run.end_with(code);
    }
    let mut run = bench.example("load https://@:443/");
    run.log("speaks no TLS");
    run.end_with(2);
}

/// What it had counted is not known, so the report is not complete, and the exit code says so.
pub(super) fn a_worker_that_dies(bench: &Bench) {
    let at = server(bench, usize::MAX, answering(OK));
    let mut run = bench.example(&format!("load {at} --json --duration 1 -c 4 -w 2"));
    let victim = of_a_worker(&run.log("is ready"));
    run.log("under way:");
    run.signal_to(victim, Signal::SIGKILL);
    run.log("was killed by SIGKILL");
    run.log("ERROR");
    let report = run.fact("report");
    assert_eq!((report.field("complete"), report.field("passed")), (Some("false"), Some("false")));
    run.end_with(1);
}

/// Workers are killed while they finish, with what they had counted.
pub(super) fn interrupted_and_killed(bench: &Bench) {
    let at = server(bench, usize::MAX, hold);
    let mut run = bench.example(&format!("load {at} --json --duration 1000 -c 4 -w 2 --timeout 1000000"));
    run.log("under way:");
    run.signal(Signal::SIGTERM);
    run.log("stopping:");
    run.signal(Signal::SIGQUIT);
    run.log("stopping at once");
    let report = run.fact("report");
    assert_eq!((report.field("complete"), report.field("passed")), (Some("false"), Some("false")));
    run.end_with(1);
}

/// The pid in a line of the log with `worker 1 (slot 0, pid 4242)`.
fn of_a_worker(line: &str) -> u32 {
    let (_, rest) = line.split_once("pid ").unwrap();
    rest.split(')').next().unwrap().parse().unwrap()
}
