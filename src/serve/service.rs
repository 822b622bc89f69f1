//! What a program implements: the [`Service`] of a worker.

use std::io;

use mio::event::Event;

use super::{
    io::Io,
    mailbox::Posted,
    turn::{SourceId, TimerId, Turn},
};
use crate::{event::WorkerEvent, scoreboard::Reason};

/// A protocol: what a worker does with the bytes of its connections, see [`Worker::serve`](crate::Worker::serve).
///
/// `&mut self` is the one service of the worker, `Conn` the state of one of its connections. Everything runs on the
/// worker's one thread: a callback that blocks, blocks every connection of the worker ([`Io::spawn`] is for that).
///
/// # Order
///
/// Of the worker: `started` comes first, once. Of a connection, from top to bottom:
///
/// | callback | when |
/// |---|---|
/// | [`opened`](Self::opened) | it was accepted: once, and before everything else |
/// | [`received`](Self::received) | bytes have come, or there is room again for the answers to those that are left |
/// | [`flushed`](Self::flushed) | everything written has gone to the kernel, once after [`Io::want_flushed`] |
/// | [`posted`](Self::posted) | a job that [`Io::spawn`] has started has ended, or somebody has sent a value |
/// | [`timed_out`](Self::timed_out) | a deadline has passed |
/// | [`draining`](Self::draining) | the worker is to leave: once, for connections that are open then or come from the queue |
/// | [`end_of_input`](Self::end_of_input) | the peer sends no more, and `received` has seen all of it: once; no `received` after it |
/// | [`closed`](Self::closed) | the connection is gone: exactly once, and nothing after it, whatever has happened |
///
/// After [`Io::close`] only `flushed`, `timed_out` with [`Deadline::Write`] and `closed` may come. What was written in
/// callbacks is sent when they are done, with one system call for all answers of one batch of input; callbacks of other
/// connections may come in between.
///
/// ```
/// use std::thread;
/// use mio_cluster::{Cluster, Io, Service};
/// # use std::{io::{BufRead, BufReader, Write}, net::TcpStream};
///
/// /// Sends each line back.
/// struct Echo;
///
/// impl Service for Echo {
///     type Conn = ();
///
///     fn opened(&mut self, _io: &mut Io<'_>) {}
///
///     fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
///         match input.iter().position(|&byte| byte == b'\n') {
///             Some(end) => {
///                 io.write(&input[..=end]);
///                 end + 1 // consumed; what is behind it comes again at once
///             }
///             None => 0, // not yet complete: comes again with more behind it
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A cluster's worker function says the same: `Cluster::new().….main(|worker| worker.serve(Echo))`.
/// let worker = Cluster::new().listen("127.0.0.1:0").standalone()?;
/// let (address, handle) = (worker.addresses()[0].socket_addr().unwrap(), worker.handle());
/// let server = thread::spawn(move || worker.serve(Echo));
/// # let mut client = BufReader::new(TcpStream::connect(address)?);
/// # client.get_mut().write_all(b"a\nb\n")?;
/// # let mut lines = client.lines();
/// # assert_eq!((lines.next().unwrap()?, lines.next().unwrap()?), ("a".into(), "b".into()));
/// # drop(lines);
/// handle.disconnect()?;
/// server.join().unwrap()?;
/// # Ok(())
/// # }
/// ```
pub trait Service: Sized {
    /// The state of one connection. Idle ones cost its size and about 200 bytes.
    type Conn;

    /// The loop is about to begin: register sources and set timers here.
    ///
    /// **Errors** end the worker, as one that its function returns.
    fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        let _ = turn;
        Ok(())
    }

    /// A connection was accepted. A protocol in which the server speaks first writes here.
    fn opened(&mut self, io: &mut Io<'_>) -> Self::Conn;

    /// Returns how many bytes of `input`, from its beginning, are done with.
    ///
    /// It is called again at once with the rest, as long as something was consumed, something is left and there is room
    /// for output ([`Io::is_full`]); so it may handle one message per call, or all. What is not consumed comes again
    /// with more behind it, up to [`Serve::max_input`](crate::Serve::max_input), or, if the output was full, when there
    /// is room. It never comes with nothing.
    ///
    /// To consume nothing is to wait for the peer, which may itself wait for an answer. A service that cannot go on
    /// for another reason, such as a job that must end first, also [holds its input](Io::hold_input).
    fn received(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize;

    /// The peer has closed its sending half, and all [jobs](Io::spawn) of the connection have come back. Unless
    /// overridden, the connection is closed when all output is out; a service for which a half-closed peer still waits
    /// for answers may go on writing.
    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        let _ = conn;
        io.close();
    }

    /// What was written is out, after [`Io::want_flushed`]: the place to write the next piece of something large.
    fn flushed(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        let _ = (conn, io);
    }

    /// A deadline has passed. Unless overridden, the connection is closed. If it is not, the same deadline starts anew;
    /// [`Deadline::Own`] does not. Closing at [`Deadline::Write`] drops the output, as the peer does not take it.
    fn timed_out(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, which: Deadline) {
        let _ = (conn, which);
        io.close();
    }

    /// A value for this connection: the result of [`Io::spawn`], or what was sent by [`Mailbox::post`] or
    /// [`Turn::post`].
    ///
    /// [`Mailbox::post`]: crate::Mailbox::post
    fn posted(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, value: Posted) {
        let _ = (conn, io, value);
    }

    /// The worker is to leave. Answers from now on should be each connection's last ([`Io::is_draining`]); a protocol
    /// that can say goodbye does it here. A connection that is idle, or becomes so, has
    /// [`Serve::drain_grace`](crate::Serve::drain_grace) for another request, and is closed after that.
    ///
    /// In a drain only what the peer sends is a sign of life: a connection to which something is sent again and again,
    /// a subscriber's say, is closed like an idle one. Say goodbye to it here; one that is to stay longer has a
    /// [deadline of its own](Io::set_drain_deadline).
    ///
    /// Every connection that is open at some time of a drain hears it exactly once, unless it was closed before. Who was
    /// still in the queue is accepted afterwards: first what it has sent already is [received](Self::received), so that
    /// a service that closes here loses no request of it, then it is told. [`Io::is_draining`] is true all the time.
    fn draining(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        let _ = (conn, io);
    }

    /// The connection is gone. It does not come for those that are open when `serve` fails or a callback panics.
    fn closed(&mut self, conn: Self::Conn, turn: &mut Turn<'_>, why: Closed) {
        let _ = (conn, turn, why);
    }

    /// A source that was registered by [`Turn::register`] is ready. As in every mio loop events are edge-triggered and
    /// may be spurious: read or write until `WouldBlock`.
    fn ready(&mut self, turn: &mut Turn<'_>, id: SourceId, event: &Event) {
        let _ = (turn, id, event);
    }

    /// A timer that was set by [`Turn::set_timer`] has expired.
    fn timer(&mut self, turn: &mut Turn<'_>, id: TimerId) {
        let _ = (turn, id);
    }

    /// The master has said something. The loop has dealt with [`WorkerEvent::Drain`], [`WorkerEvent::AddressAdded`],
    /// [`WorkerEvent::AddressRemoved`] and [`WorkerEvent::MasterGone`] by itself; they come here, too. What a message
    /// wants of a connection is [posted](Turn::post) to it; a reply is sent by [`Turn::reply`].
    fn event(&mut self, turn: &mut Turn<'_>, event: WorkerEvent) {
        let _ = (turn, event);
    }
}

/// What a connection has waited for in vain.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// The first byte, see [`Serve::first_byte_timeout`](crate::Serve::first_byte_timeout).
    FirstByte,
    /// The rest of a request, see [`Serve::request_timeout`](crate::Serve::request_timeout).
    Request,
    /// The next request, see [`Serve::idle_timeout`](crate::Serve::idle_timeout).
    Idle,
    /// That the peer takes its answers, see [`Serve::write_timeout`](crate::Serve::write_timeout).
    Write,
    /// Another request while the worker is to leave, see [`Serve::drain_grace`](crate::Serve::drain_grace) and
    /// [`Io::set_drain_deadline`]: the connection is closed after this, in any case.
    Drain,
    /// What [`Io::set_deadline`] was set for.
    Own,
}

/// Why a connection is gone.
#[non_exhaustive]
#[derive(Debug)]
pub enum Closed {
    /// The service has closed it.
    ByService,
    /// The peer had closed its half before the service did.
    ByPeer,
    /// The peer has reset it.
    Reset,
    /// A deadline has passed.
    TimedOut(Deadline),
    /// The service left more than [`Serve::max_input`](crate::Serve::max_input) unconsumed.
    InputLimit,
    /// More than [`Serve::max_output`](crate::Serve::max_output) waited to be sent.
    OutputLimit,
    /// It was idle while the worker drained ([`Deadline::Drain`]).
    Drained,
    /// The system failed, or a job panicked, or the service [said so](Io::fail).
    Failed(io::Error),
}

impl Closed {
    /// What the scoreboard tells apart.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Closed::ByService => Reason::ByService,
            Closed::ByPeer => Reason::ByPeer,
            Closed::Reset => Reason::Reset,
            Closed::TimedOut(_) => Reason::TimedOut,
            Closed::InputLimit | Closed::OutputLimit => Reason::OverLimit,
            Closed::Drained => Reason::Drained,
            Closed::Failed(_) => Reason::Failed,
        }
    }
}
