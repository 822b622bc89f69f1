//! An HTTP/1 load generator that tells the truth: every connection and every request is in one count of its report, and
//! each failure under what it was.
//!
//! ```text
//! cargo run --release --example load -- http://127.0.0.1:8000/ --connections 64 --duration 10
//! ```
//!
//! | option | |
//! |---|---|
//! | (closed loop) | each connection asks again when it was answered |
//! | `--rate R` | open loop: requests are due at fixed times, and latencies count from these, so that a server that stalls cannot hide it; what no connection could take in time has failed, with the time that it has waited |
//! | `--new`, `--pipeline N` | a connection per request; several requests on their way |
//! | `--idle N`, `--ping MS` | long-lived connections that ask nothing, or seldom |
//! | `--duration S`, `--requests N` | when to end; Ctrl-C ends it early, with its report |
//! | `--expect-status`, `--expect-body` | what a right answer is |
//! | `--json`, `--max-errors N` | for scripts: the report, and the exit code 1 |
//!
//! Exit codes: 0, 1 (more errors than `--max-errors`, or the report is not complete) and 2 (bad usage).
//!
//! It is a cluster without an address: its workers make the load, each with a mio loop of its own, and send what they
//! count to the master.
//!
//! What knows no sockets: `failure`, `answer`, `client` (one connection), `timers`, `arrivals`, `plan`, `tally`,
//! `json`, `report`. On them: `socket`, `connection`, `generator`, `worker`; `options` and `master` begin and end it.
//! Its tests are run by tests/load.rs and, against servers that misbehave in each way, by tests/process.

mod answer;
mod arrivals;
mod client;
mod connection;
mod failure;
mod generator;
mod json;
mod master;
mod options;
mod plan;
mod report;
mod socket;
mod tally;
mod timers;
mod worker;

use std::process::ExitCode;

use clap::Parser;

/// Logs when the load is under way, and what is wrong: the output is the report.
fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,load=info")).init();
    master::run(&options::Options::parse())
}
