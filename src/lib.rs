//! Node.js's `cluster` for Rust on Linux, kernel-balanced: forked worker processes, each with its own `SO_REUSEPORT`
//! listener and its own event loop, supervised by a master that touches no connection.
//!
//! Start with [`Cluster`]. Its worker function gets a [`Worker`], and has two ways to go on: implement a [`Service`]
//! and let [`Worker::serve`] run the connections, or keep a loop of your own and get a [`Listener`] for it.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use mio_cluster::{Cluster, Io, Service};
//!
//! fn main() -> ExitCode {
//!     Cluster::new().listen("127.0.0.1:8000").workers(2).main(|worker| worker.serve(Shout))
//! }
//!
//! /// Sends each line back, in capitals.
//! struct Shout;
//!
//! impl Service for Shout {
//!     type Conn = (); // no state per connection
//!
//!     fn opened(&mut self, _io: &mut Io<'_>) {}
//!
//!     fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
//!         let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
//!         io.write(&input[..=end].to_ascii_uppercase());
//!         end + 1
//!     }
//! }
//! ```
//!
//! [`Serve`] has the options: deadlines, limits, threads for what blocks. The same worker with a loop of its own:
//!
//! ```no_run
//! use std::io;
//! use mio_cluster::{Worker, mio::{Events, Interest, Poll, Token}};
//!
//! fn serve(mut worker: Worker) -> io::Result<()> {
//!     let mut listener = worker.listen()?;
//!     let mut poll = Poll::new()?;
//!     let mut events = Events::with_capacity(64);
//!     poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
//!     loop {
//!         worker.poll(&mut poll, &mut events, None)?;
//!         let last_turn = worker.is_draining(); // in each turn, before the accepts
//!         while let Ok((connection, _peer)) = listener.accept() {
//!             drop(connection); // … serve it …
//!         }
//!         if last_turn {
//!             return Ok(());
//!         }
//!     }
//! }
//! ```
//!
//! A [`Listener`] is one descriptor, for any other loop as well; threads wait in [`Listener::accept_blocking`], and
//! whatever takes only a bare socket gets it from [`Listener::into_std`]. A program that has a loop for the master,
//! too, uses [`Cluster::start`] and the [`Master`], which is one pollable descriptor.
//!
//! **Messages**: bytes and descriptors, both ways, in order and never without a limit. [`Worker::send`] and
//! [`Turn::send`] become [`Event::Message`]; [`Master::send`], [`broadcast`](Master::broadcast) and
//! [`request`](Master::request) become [`WorkerEvent::Message`]; [`docs::messages`] has the rest:
//!
//! ```standalone_crate
//! use mio_cluster::{Cluster, Event, Restart};
//!
//! fn main() -> Result<(), mio_cluster::Error> {
//!     Cluster::new().workers(2).restart(Restart::Never).run_with(
//!         |worker| worker.send(format!("worker {} has warmed up", worker.id())),
//!         |_master, event| {
//!             if let Event::Message { worker, message } = event {
//!                 println!("{worker}: {}", String::from_utf8_lossy(&message.bytes));
//!             }
//!         },
//!     )
//! }
//! ```
//!
//! **Addresses** are ports, Unix-domain sockets ([`Listen::unix`], for a loop of one's own a [`UnixListener`]) and
//! sockets that are open already ([`Listen::fd`]). They come and go while the cluster runs ([`Master::add_address`]).
//!
//! **Doors outlive workers**: the master keeps a duplicate of each listening socket, and a replacement that starts at
//! once goes on with the queue of the worker that died, see [`Cluster::keep_listeners`].
//!
//! **Releases and numbers of workers** change while the cluster serves: [`Master::rollout`] (and SIGHUP) replaces each
//! worker by a successor that is ready first, [`Master::scale`] (SIGTTIN, SIGTTOU) makes them more or fewer. Who is lost
//! when, mostly nobody: [`docs::nothing_lost`]; all signals: [`docs::signals`].
//!
//! **Numbers** of all workers, across restarts, are on the [`Scoreboard`]; a worker writes its own by its [`Row`].
//!
//! **One thread in the master**, now and at every later fork: `fork` copies only the calling thread. Start threads in
//! the workers. What else a fork copies, and what to make before it and what after: [`docs::forking`].
//!
//! **From Node**: [`docs::from_node`] has the name here for each name there.
//!
//! **Tests** of a server run its worker function in their own process, see [`Cluster::standalone`] and
//! [`docs::testing`].
//!
//! **Feature `tokio`**, off by default: `Worker::event` and `Worker::drained` for servers in a tokio runtime, which is
//! built inside the worker function. With axum the whole change is
//! `TcpListener::from_std(worker.listen()?.into_std()?)` and `with_graceful_shutdown(worker.drained())`.
//!
//! **Feature `json`**, off by default: `Message::json` and `Message::parse` for messages that are values of serde.
//!
//! **Logs** go through the `log` crate, targets `mio_cluster::master`, `worker` and `steering`; without a logger only
//! what ends a process is printed. **Linux 5.10** or newer.

// The source reads from the bottom up, floor by floor; each module imports only from those above it in this list.

#[cfg(not(target_os = "linux"))]
compile_error!("mio-cluster works on Linux only: it is built on SO_REUSEPORT groups, pidfds and epoll");

// F0: values.
mod error;
mod id;

// F1: pure. What comes out, what goes in, what is said, what is decided.
mod config;
mod event;
mod supervisor;
mod wire;

// F2: the operating system. `sys` holds all of the crate's unsafe code.
mod last_words;
mod net;
mod pollable;
mod role;
mod scoreboard;
mod steering;
mod sys;

// F3: between the processes.
mod birth;
mod channel;

// F4: the two processes. They never import each other.
mod master;
mod worker;

// F4, too: the worker's managed loop.
mod serve;

// F5: the builder.
mod cluster;

// Guides, which nothing imports.
pub mod docs;

pub use mio;

pub use cluster::Cluster;
pub use config::{Balance, Hang, Listen, ReadyWhen, Recycle, Restart, Rollout};
pub use error::{Error, Result};
pub use event::{
    Address, Cause, Event, ExitStatus, Message, RolloutResult, Shutdown, State, WorkerEvent, WorkerInfo, WorkerRef,
};
pub use id::{RequestId, RolloutId, Signal, Slot, WorkerId};
pub use master::Master;
pub use role::{is_master, is_worker};
pub use scoreboard::{Closes, DoorStats, Ends, Row, Scoreboard, Totals, WorkerStats};
pub use serve::{Closed, Deadline, Io, Key, Layer, Mailbox, Posted, Serve, Service, SourceId, TimerId, Turn};
pub use worker::{Listener, UnixListener, Worker, WorkerExit, WorkerHandle};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
