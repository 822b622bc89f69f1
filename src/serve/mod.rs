//! The managed loop: `worker.serve(service)`.
//!
//! | file | owns |
//! |---|---|
//! | [`service`] | what a program implements, and the order of calls |
//! | [`options`] | what it can choose |
//! | [`io`], [`turn`] | what callbacks can do, for their connection and beyond |
//! | [`layer`] | services that wrap another one |
//! | [`run`] | the loop: a turn, and what each event means |
//! | [`accept`] | the doors |
//! | [`batch`] | how many connections receive before the first of them sends (pure) |
//! | [`drive`] | one connection's bytes: socket → service → socket |
//! | [`connection`] | what the loop knows of one connection |
//! | [`table`] | all connections, by keys that are never given twice |
//! | [`deadlines`], [`wheel`] | when a connection is to be looked at again (both pure) |
//! | [`alarm`] | what wakes the loop then |
//! | [`buffers`] | the memory that bytes pass through |
//! | [`mailbox`], [`pool`] | values from other threads, and the worker's own threads |

mod accept;
mod alarm;
mod batch;
mod buffers;
mod connection;
mod deadlines;
mod drive;
mod io;
mod layer;
mod mailbox;
mod options;
mod pool;
mod run;
mod service;
mod table;
mod turn;
mod wheel;

pub use self::{
    io::Io,
    layer::Layer,
    mailbox::{Mailbox, Posted},
    options::Serve,
    service::{Closed, Deadline, Service},
    table::Key,
    turn::{SourceId, TimerId, Turn},
};
use crate::{error::Result, worker::Worker};

impl Worker {
    /// Runs `service` on all addresses of the cluster, in a loop that is as fast as one written by hand, and returns
    /// when the worker has drained.
    ///
    /// The loop accepts, reads and writes, keeps the deadlines and limits of [`Serve`] at their defaults, stops reading
    /// from a peer that does not take its answers, and writes the [`Scoreboard`](crate::Scoreboard). In a drain it
    /// accepts whoever waits, answers what was accepted, keeps idle connections for a second, and leaves.
    ///
    /// Per request it costs one read and one write, per batch of pipelined requests as well; per connection one accept,
    /// one registration and one close. In the steady state it allocates nothing.
    ///
    /// **Errors**: those of [`listen`](Self::listen), and of the operating system.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    /// use mio_cluster::{Cluster, Io, Service};
    ///
    /// /// Sends back what it gets (RFC 862).
    /// struct Echo;
    ///
    /// impl Service for Echo {
    ///     type Conn = ();
    ///
    ///     fn opened(&mut self, _io: &mut Io<'_>) {}
    ///
    ///     fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
    ///         io.write(input);
    ///         input.len()
    ///     }
    /// }
    ///
    /// fn main() -> ExitCode {
    ///     Cluster::new().listen("127.0.0.1:7007").main(|worker| worker.serve(Echo))
    /// }
    /// ```
    pub fn serve<S: Service>(self, service: S) -> Result<()> {
        self.serve_with(Serve::new(), service)
    }

    /// As [`serve`](Self::serve), with other deadlines and limits, threads beside the loop, and so on.
    ///
    /// **Errors**: as `serve`, and [`is_invalid_config`](crate::Error::is_invalid_config) for options that cannot work.
    pub fn serve_with<S: Service>(self, options: Serve, service: S) -> Result<()> {
        run::Loop::new(self, options, service)?.run()
    }
}
