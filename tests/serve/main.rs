//! `worker.serve`, as a program and its clients see it: workers without a fork, on threads of libtest.
//!
//! Every service runs inside a [`order::Recorder`], which checks the documented order of the callbacks and tells the
//! test about each of them. A test waits for such facts, for bytes, or for the end of a stream, never for time, and no
//! wait is longer than [`harness::WATCHDOG`].
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test program: a failure is a panic, and a test is about some callbacks and not about the others"
)]

mod batch;
mod deadlines;
mod drain;
mod fairness;
mod harness;
mod held;
mod input;
mod late;
mod layered;
mod lives_long;
mod obedient;
mod order;
mod pressure;
mod sources;
mod stress;
mod threads;
mod unix;
