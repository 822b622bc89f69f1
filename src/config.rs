//! What goes in: addresses and rules as the user gives them, parsed once into values that are valid by type.
//!
//! Nothing here touches the system, but that a descriptor is asked for its address; the claim of a port is made in
//! `net`.

mod bind;
mod given;
mod hang;
mod listen;
mod recycle;
mod rollout;
mod settings;
mod unix;

pub(crate) use bind::{Bind, Wanted, resolve, resolve_beside};
pub use hang::Hang;
pub use listen::Listen;
pub use recycle::Recycle;
pub use rollout::Rollout;
pub(crate) use settings::{Backoff, FOR_EVER, Intensity, Settings};

/// When a worker that ended by itself is followed by another one. Workers that were asked to leave never are.
///
/// | worker ends | `Always` | `OnFailure` | `Never` |
/// |---|---|---|---|
/// | with exit code 0 | restart | leave the slot empty | leave |
/// | with another code, by a signal, by a panic | restart | restart | leave |
/// | with a code of [`no_restart_on`](crate::Cluster::no_restart_on) | leave | leave | leave |
///
/// ```
/// use mio_cluster::{Cluster, Restart};
///
/// // Batch jobs: done is done, a crash is tried again, and exit code 3 means that trying again is useless.
/// let cluster = Cluster::new().restart(Restart::OnFailure).no_restart_on([3]);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// OTP's "permanent"; the default.
    #[doc(alias = "permanent")]
    #[default]
    Always,
    /// OTP's "transient".
    #[doc(alias = "transient")]
    OnFailure,
    /// OTP's "temporary".
    #[doc(alias = "temporary")]
    Never,
}

/// When a worker counts as ready. [`Worker::ready`](crate::Worker::ready) makes it ready in either case.
///
/// ```no_run
/// use mio_cluster::{Cluster, ReadyWhen, Worker};
///
/// fn serve(mut worker: Worker) -> Result<(), mio_cluster::Error> {
///     let listener = worker.listen()?;
///     // … fill the caches …
///     worker.ready()?;
/// #   drop(listener);
///     Ok(())
/// }
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// Cluster::new().listen("127.0.0.1:0").ready_when(ReadyWhen::Told).run(serve)
/// # }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadyWhen {
    /// When it listens on all addresses of the cluster; in a cluster without addresses, when it is online. The default.
    #[default]
    Listening,
    /// When it says so.
    Told,
}

/// Which worker gets a new connection.
///
/// ```no_run
/// use mio_cluster::{Balance, Cluster};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// // The kernel's own choice and nothing else, also while a worker leaves.
/// Cluster::new().listen("127.0.0.1:8000").balance(Balance::Kernel).run(|mut worker| worker.listen().map(drop))
/// # }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// The kernel spreads connections over all workers by a hash; while a worker leaves for good, it gets none. The
    /// default.
    ///
    /// That takes no privilege, but a system call that a seccomp filter may forbid, and the master's duplicates
    /// ([`Cluster::keep_listeners`](crate::Cluster::keep_listeners)), and no other program that listens at the same
    /// address ([`Event::Stranger`](crate::Event::Stranger)). Where it is not possible one line in the log says so, and
    /// all is as with `Kernel`.
    #[default]
    Auto,
    /// The kernel spreads connections over all workers by a hash. One that leaves gets its share to the last moment,
    /// and a client that connects at that moment may be reset.
    Kernel,
}
