//! The floor of system calls, and the only place with `unsafe`. Mechanisms only: nothing here decides when to fork,
//! kill or restart.
//!
//! What each piece promises. *AS-safe*: may be called in a signal handler, and in the child of a process that had
//! threads.
//!
//! | piece | system calls | blocks | AS-safe | descriptors |
//! |---|---|---|---|---|
//! | [`alarm`] | `timerfd_create`, `timerfd_settime` | no | no | an `Alarm` owns one |
//! | [`owned`] | `close`, `close_range` | no | no (a mutex) | the process-wide table of what this library owns; all of it CLOEXEC, so it ends at exec, too |
//! | [`fork`] | `fork`, `pidfd_open`, one `stat` per thread count | up to 10 ms while a joined thread lingers | no (flushes stdio) | the caller owns the pidfd |
//! | [`pidfd`] | `pidfd_open`, `pidfd_send_signal` | no | no | a `PidFd` owns one |
//! | [`reap`] | `waitpid` of one pid, `PIDFD_GET_INFO` | `reap` up to 10 ms if SIGCHLD is ignored, else no; `reap_blocking` until the child is gone | no | borrows the pidfd |
//! | [`signal`] | `sigaction`, `pthread_sigmask`, `signalfd` | no | the handlers are, the rest is not | a `SignalFd` owns one; the TERM handler borrows its eventfd for ever |
//! | [`parent`] | `prctl`, `getppid` | no | yes | none |
//! | [`mapping`] | `memfd_create`, `mmap`, `mprotect` | no | reading and writing a page is | a `Mapping` owns one |
//! | [`memory`] | reads a file of /proc | no | no (allocates) | none |
//! | [`queue`], [`option`], [`deferral`], [`refusal`], [`steer`] | `getsockopt`, `setsockopt` | no | yes | borrow the socket |
//! | `readiness` | `epoll_ctl`, by tokio | no | no | shares one of `owned` |
//! | [`rights`] | `sendmsg`, `recvmsg` | no (if the socket does not) | no | sending duplicates, receiving gives owned ones |
//! | [`shortage`] | none | no | yes | none |
//! | [`stdio`] | `open` of /dev/null | no | yes | 0, 1 and 2 belong to the program |
//!
//! Every call that a signal may interrupt is made again here; EINTR reaches no caller. Errors are `io::Error`: the
//! caller knows the step and the value, and says so.
#![allow(unsafe_code)]

pub(crate) mod alarm;
pub(crate) mod deferral;
pub(crate) mod fork;
pub(crate) mod mapping;
pub(crate) mod memory;
mod option;
pub(crate) mod owned;
pub(crate) mod parent;
pub(crate) mod pidfd;
pub(crate) mod queue;
#[cfg(feature = "tokio")]
pub(crate) mod readiness;
pub(crate) mod reap;
pub(crate) mod refusal;
pub(crate) mod rights;
pub(crate) mod shortage;
pub(crate) mod signal;
pub(crate) mod stdio;
pub(crate) mod steer;
