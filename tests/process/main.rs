//! Whole clusters as real processes: one binary that is harness and fixture.
//!
//! Started by cargo it is the harness: a list of cases, each of which starts fixtures (this binary again, as a process
//! group of its own), waits for facts and never for time, and fails on whatever a fixture leaves behind (see
//! [`harness`]). Nothing forks inside libtest's threads: a fixture begins with one thread, as a program does.
//!
//! `cargo test --test process` runs all cases, `cargo test --test process stop` those whose name contains "stop".
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::exit,
    reason = "a test program: it prints facts, and a failure is a panic"
)]

mod cases;
mod fixtures;
mod harness;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    match env::var_os(harness::FIXTURE) {
        Some(_) => fixtures::main(env::args().skip(1).collect()),
        None => harness::main(&cases::all(), |_passed| {}),
    }
}
