//! Node.js's `cluster` for Rust on Linux, kernel-balanced.

#[cfg(not(target_os = "linux"))]
compile_error!("mio-cluster works on Linux only: it is built on SO_REUSEPORT groups, pidfds and epoll");

// F0: values
mod error;
mod id;

// F1: pure
mod config;
mod event;
mod supervisor;
mod wire;

// F2: the system
mod sys;

pub use config::{Listen, ReadyWhen, Restart};
pub use error::{Error, Result};
pub use event::{Address, Cause, Event, ExitStatus, Shutdown, State, WorkerEvent, WorkerInfo, WorkerRef};
pub use id::{Signal, Slot, WorkerId};
