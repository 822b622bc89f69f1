//! The worker in a tokio runtime (feature `tokio`).
//!
//! The control descriptor is registered once per worker and runtime, not once per call, so that a `select!` loop pays
//! no system call for it.
//!
//! Race: tokio watches edge-triggered. The readiness is given back only when the channel was read to its end; what
//! comes after that read wakes the descriptor anew, and tokio keeps a readiness that is newer than the one that was
//! seen. What a listener on another thread has read rings the bell, which wakes the descriptor as well.

use std::{
    future::{Future, poll_fn},
    mem,
    sync::Arc,
    task::Poll,
};

use nix::sys::epoll::Epoll;
use tokio::{
    io::unix::AsyncFd,
    runtime::{Handle, Id},
};

use super::{Worker, boot::TARGET, control::Control};
use crate::{
    error::{Error, Kind, Result},
    event::WorkerEvent,
    sys::{owned::Owned, readiness},
};

impl Worker {
    /// The next thing that the master says; waits for it. Feature `tokio`.
    ///
    /// **Cancel safety**: dropping the future, as `select!` does, loses nothing; the next call goes on.
    ///
    /// Waiting marks the worker as one that can be asked to drain.
    ///
    /// **Errors**: not awaited in a tokio runtime, or in one that is shutting down; the channel failed.
    ///
    /// **Panics** in a runtime without I/O, see [`enable_io`](tokio::runtime::Builder::enable_io).
    ///
    /// ```no_run
    /// use std::pin::pin;
    /// use mio_cluster::{Worker, WorkerEvent};
    /// use tokio::{net::TcpListener, task::JoinSet};
    ///
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn serve(mut worker: Worker) -> std::io::Result<()> {
    ///     let listener = TcpListener::from_std(worker.listen()?.into_std()?)?;
    ///     let mut clients = JoinSet::new();
    ///     let mut drained = pin!(async move {
    ///         while let Ok(WorkerEvent::ReopenLogs) = worker.event().await { /* … */ }
    ///         worker.drained().await; // meanwhile whoever waits in the queue is accepted
    ///     });
    ///     loop {
    ///         tokio::select! {
    ///             () = &mut drained => break,
    ///             accepted = listener.accept() => if let Ok((client, _peer)) = accepted {
    ///                 clients.spawn(async move { drop(client) }); // … serve it …
    ///             },
    ///             Some(_served) = clients.join_next() => {}
    ///         }
    ///     }
    ///     while clients.join_next().await.is_some() {}
    ///     Ok(())
    /// }
    /// # mio_cluster::Cluster::new().listen("127.0.0.1:0").run(serve).unwrap();
    /// ```
    pub async fn event(&mut self) -> Result<WorkerEvent> {
        loop {
            if let Some(event) = self.next_event() {
                return Ok(event);
            }
            self.turned().await?;
        }
    }

    /// Waits until this worker is to leave: the future for axum's `with_graceful_shutdown`. Feature `tokio`.
    ///
    /// Resolves when the worker is asked to drain or its master is gone, and no connection waits any more in the queue
    /// of a socket that was taken by [`Listener::into_std`](crate::Listener::into_std): whoever got through is
    /// accepted, and whoever comes later is refused or goes to another worker. In a runtime of one thread the tasks of
    /// accepted connections have had a turn by then, too. What else the master says is dropped; a server that reopens
    /// its logs takes it from [`event`](Self::event) first, as below.
    ///
    /// From then on hyper, and so axum, closes each connection on which it has read nothing, though its first request
    /// may be on the way. A short sleep behind `drained()` gives those clients their time; in a stop nobody new gets
    /// through meanwhile. In a rollout the successor has the same socket, and the server accepts there, too, until it is
    /// told; [`Listen::defer_accept`](crate::Listen::defer_accept), by which a connection brings its request along, makes
    /// it rare that one is closed so.
    ///
    /// The call marks the worker as one that can be asked to drain. The channel to the master stays open for what is
    /// still to be finished, until the process ends, unless the future is dropped before it resolves.
    ///
    /// **Errors** are logged, and it resolves: those of [`event`](Self::event).
    ///
    /// **Panics** as [`event`](Self::event).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use axum::{Router, routing::get};
    /// use mio_cluster::{Worker, WorkerEvent};
    ///
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn serve(mut worker: Worker) -> std::io::Result<()> {
    ///     let app = Router::new().route("/", get(|| async { "Hello, World!\n" }));
    ///     let listener = tokio::net::TcpListener::from_std(worker.listen()?.into_std()?)?;
    ///     // `worker.drained()` alone is enough for many; this one has log files and impatient clients.
    ///     let drained = async move {
    ///         while let Ok(WorkerEvent::ReopenLogs) = worker.event().await { /* … */ }
    ///         worker.drained().await;
    ///         tokio::time::sleep(Duration::from_millis(100)).await;
    ///     };
    ///     axum::serve(listener, app).with_graceful_shutdown(drained).await
    /// }
    /// # mio_cluster::Cluster::new().listen("127.0.0.1:0").run(serve).unwrap();
    /// ```
    pub fn drained(mut self) -> impl Future<Output = ()> + Send + 'static {
        // Before the first poll: a stop right after the start finds a worker that can be asked.
        self.is_draining();
        async move {
            if let Err(error) = self.has_drained().await {
                log::error!(target: TARGET, "worker {} leaves, for it cannot hear the master: {error:#}", self.id);
            }
            self.control.keep_channel();
            self.control.may_not_come_back();
        }
    }

    async fn has_drained(&mut self) -> Result<()> {
        loop {
            while self.next_event().is_some() {}
            if self.is_drained() {
                after_the_others().await;
                return Ok(());
            }
            self.turned().await?;
        }
    }

    /// One turn: waits until something has come, and reads it.
    async fn turned(&mut self) -> Result<()> {
        let fd = self.registration.here(&self.control)?;
        let ready = fd.readable().await;
        let mut ready = ready.map_err(|error| Error::system("waiting for the master in tokio", error))?;
        // After an error there may be more to read, which would wake nobody: then the readiness stays.
        self.control.turn()?;
        ready.clear_ready();
        Ok(())
    }
}

/// Where the control descriptor is registered.
#[derive(Default)]
pub(super) struct Registration(Option<(Id, AsyncFd<Arc<Owned<Epoll>>>)>);

impl Registration {
    /// In the current runtime: another one may not be running any more.
    fn here(&mut self, control: &Control) -> Result<&AsyncFd<Arc<Owned<Epoll>>>> {
        let runtime = Handle::try_current().map_err(not_in_a_runtime)?.id();
        let registered = match self.0.take() {
            Some((id, fd)) if id == runtime => fd,
            Some(_) | None => {
                let watched = readiness::watch(Arc::clone(control.poller()));
                watched.map_err(|error| Error::system("registering the worker's descriptor in tokio", error))?
            }
        };
        Ok(&self.0.insert((runtime, registered)).1)
    }
}

/// Every task that can run runs before this one goes on. Those of the connections that were accepted last have then
/// read their requests; a server that is told to stop closes a connection on which it has read nothing.
///
/// Not `yield_now`, which looks for readiness first: the program's `accept` would then find its socket shut, while it
/// has not been told to stop.
async fn after_the_others() {
    let mut at_once = false;
    poll_fn(|context| {
        if mem::replace(&mut at_once, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn not_in_a_runtime(error: tokio::runtime::TryCurrentError) -> Error {
    let text = "waiting for the master: this is no tokio runtime; await it under #[tokio::main] or in Runtime::block_on, \
                built inside the worker function";
    Error::new(Kind::System, text).because(error)
}
