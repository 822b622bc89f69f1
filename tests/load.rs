//! The tests of examples/load. They are a program of their own, for cargo does not build an example that has tests as a
//! program, too, and other tests start it.
#![allow(dead_code, reason = "only `main` of the example uses all of it")]

#[path = "../examples/load/answer.rs"]
mod answer;
#[path = "../examples/load/arrivals.rs"]
mod arrivals;
#[path = "../examples/load/client.rs"]
mod client;
#[path = "../examples/load/connection.rs"]
mod connection;
#[path = "../examples/load/failure.rs"]
mod failure;
#[path = "../examples/load/json.rs"]
mod json;
#[path = "../examples/load/options.rs"]
mod options;
#[path = "../examples/load/plan.rs"]
mod plan;
#[path = "../examples/load/report.rs"]
mod report;
#[path = "../examples/load/socket.rs"]
mod socket;
#[path = "../examples/load/tally.rs"]
mod tally;
#[cfg(test)]
#[path = "../examples/load/tests/mod.rs"]
mod tests;
#[path = "../examples/load/timers.rs"]
mod timers;
