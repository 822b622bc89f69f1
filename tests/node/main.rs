//! Node's own scenarios for `cluster`, as programs of this library.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::exit,
    reason = "a test program: it prints facts, and a failure is a panic"
)]

#[path = "../process/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with tests/process, which uses all of it")]
mod harness;
mod scenarios;
mod stage;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    match env::var_os(harness::FIXTURE) {
        Some(_) => scenarios::program(&env::args().skip(1).collect::<Vec<_>>()),
        None => harness::main(&scenarios::cases(), |passed| println!("\nnode: {passed} scenarios passed")),
    }
}
