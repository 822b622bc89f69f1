//! What workers do.

use std::io::{self, BufRead, BufReader, Write};

use mio_cluster::{
    Cluster, Io, Listener, Message, ReadyWhen, Service, Worker, WorkerEvent,
    mio::{Events, Interest, Poll, Token},
};

/// A cluster of [`idle`] workers, each of which is ready when it can be asked to leave.
pub(crate) fn idlers() -> Cluster {
    Cluster::new().ready_when(ReadyWhen::Told)
}

/// A worker that serves nobody, until it is asked to leave.
pub(crate) fn idle(mut worker: Worker) -> io::Result<()> {
    // From now on it can be asked; before, it would get SIGTERM.
    worker.is_draining();
    worker.ready()?;
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    poll.registry().register(&mut worker, Token(0), Interest::READABLE)?;
    while !worker.is_draining() {
        worker.poll(&mut poll, &mut events, None)?;
    }
    Ok(())
}

/// A worker in the managed loop: each line is answered by its id.
pub(crate) fn serve(worker: Worker) -> mio_cluster::Result<()> {
    worker.serve(Lines)
}

pub(crate) struct Lines;

impl Service for Lines {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        let answer = format!("{}\n", io.worker().1);
        io.write(answer.as_bytes());
        end + 1
    }
}

/// A worker with a loop of its own: serves one client after the other, each until it hangs up, and the last one after
/// it was asked to leave, too. Each line is answered by its id and whether it is draining.
pub(crate) fn serve_patiently(mut worker: Worker) -> io::Result<()> {
    worker.is_draining();
    let listener = worker.listen()?;
    serve_patiently_on(worker, listener)
}

pub(crate) fn serve_patiently_on(worker: Worker, listener: Listener) -> io::Result<()> {
    while let Some((client, _peer)) = listener.accept_blocking()? {
        let mut lines = BufReader::new(client);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            writeln!(lines.get_mut(), "{} {}", worker.id(), worker.is_draining())?;
            line.clear();
        }
    }
    Ok(())
}

/// What the master says to a worker that does nothing else.
pub(crate) struct Ear(Poll, Events);

impl Ear {
    /// From now on the worker can be asked to leave.
    pub(crate) fn new(worker: &mut Worker) -> io::Result<Self> {
        worker.is_draining();
        let poll = Poll::new()?;
        poll.registry().register(worker, Token(0), Interest::READABLE)?;
        Ok(Self(poll, Events::with_capacity(8)))
    }

    /// The next message; `None`: the worker is to leave.
    pub(crate) fn hear(&mut self, worker: &mut Worker) -> io::Result<Option<Message>> {
        loop {
            while let Some(event) = worker.next_event() {
                if let WorkerEvent::Message(message) = event {
                    return Ok(Some(message));
                }
            }
            if worker.is_draining() {
                return Ok(None);
            }
            worker.poll(&mut self.0, &mut self.1, None)?;
        }
    }
}
