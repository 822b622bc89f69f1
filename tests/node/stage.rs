//! What the programs of the scenarios are made of: a primary whose events are kept, workers, clients, and gates by which
//! one process lets another one go on.

use std::{
    cell::RefCell,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    ops::{Deref, DerefMut},
    os::unix::net::UnixStream,
    path::Path,
    rc::Rc,
};

use mio_cluster::{
    Cause, Cluster, Event, ExitStatus, Io, Listener, Master, ReadyWhen, Service, Worker, WorkerExit, WorkerId,
    WorkerRef,
    mio::{Events, Interest, Poll, Token},
};

/// Where a scenario takes place: an IP address of its own, and what else the harness names.
pub(crate) struct Place(pub(crate) Ipv4Addr, pub(crate) Option<SocketAddr>);

impl Place {
    /// Any port of it.
    pub(crate) fn any(&self) -> SocketAddr {
        (self.0, 0).into()
    }
}

/// The master of a scenario. What happened is kept, so the order in which a scenario asks does not matter.
pub(crate) struct Primary {
    master: Master,
    seen: Vec<Event>,
}

/// How a worker ended.
pub(crate) struct Exit {
    pub(crate) worker: WorkerRef,
    pub(crate) status: ExitStatus,
    pub(crate) cause: Cause,
}

impl Primary {
    pub(crate) fn start<R: WorkerExit>(cluster: Cluster, worker: impl FnOnce(Worker) -> R + 'static) -> Self {
        Self { master: cluster.start(worker).unwrap(), seen: Vec::new() }
    }

    /// Forks by hand, and waits for the event.
    pub(crate) fn fork(&mut self) -> u64 {
        let id = self.master_fork().as_u64();
        self.forked(id);
        id
    }

    /// Forks by hand; nothing has been heard of the worker yet.
    pub(crate) fn master_fork(&mut self) -> WorkerId {
        self.master.fork().unwrap()
    }

    pub(crate) fn forked(&mut self, id: u64) -> WorkerRef {
        self.find("fork", |event| if let Event::Fork(worker) = event { of(*worker, id) } else { None })
    }

    pub(crate) fn id(&mut self, id: u64) -> WorkerId {
        self.forked(id).id
    }

    pub(crate) fn online(&mut self, id: u64) -> WorkerRef {
        self.find("online", |event| if let Event::Online(worker) = event { of(*worker, id) } else { None })
    }

    pub(crate) fn listening(&mut self, id: u64) -> SocketAddr {
        self.find("listening", |event| {
            let Event::Listening { worker, address } = event else { return None };
            of(*worker, id).and(address.socket_addr())
        })
    }

    pub(crate) fn ready(&mut self, id: u64) -> WorkerRef {
        self.find("ready", |event| if let Event::Ready(worker) = event { of(*worker, id) } else { None })
    }

    /// Waits for all workers of the start; where they listen.
    pub(crate) fn all_ready(&mut self) -> Vec<SocketAddr> {
        self.find("all_ready", |event| {
            let Event::AllReady { addresses, .. } = event else { return None };
            Some(addresses.iter().filter_map(|at| at.socket_addr()).collect())
        })
    }

    pub(crate) fn disconnected(&mut self, id: u64) -> WorkerRef {
        self.find("disconnect", |event| if let Event::Disconnect(worker) = event { of(*worker, id) } else { None })
    }

    pub(crate) fn exit(&mut self, id: u64) -> Exit {
        self.find("exit", |event| {
            let Event::Exit { worker, status, cause, .. } = event else { return None };
            of(*worker, id).map(|worker| Exit { worker, status: *status, cause: *cause })
        })
    }

    /// Everything so far about one worker, by the names of the events.
    pub(crate) fn events_of(&self, id: u64) -> Vec<String> {
        let lines = self.seen.iter().map(Event::to_json);
        let of_worker = lines.filter(|line| line.contains(&format!(r#","id":{id},"#)));
        of_worker.map(|line| line.split('"').nth(3).unwrap().to_owned()).collect()
    }

    /// The events of this name so far.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.seen.iter().filter(|event| event.to_json().starts_with(&format!(r#"{{"event":"{name}""#))).count()
    }

    /// The workers that live, and what they are doing.
    pub(crate) fn live(&self) -> String {
        let live = self.master.workers().filter(|worker| Path::new(&format!("/proc/{}", worker.pid)).exists());
        live.map(|worker| format!("{}:{:?}", worker.id, worker.state)).collect::<Vec<_>>().join(" ")
    }

    /// Whatever is due now, without waiting.
    pub(crate) fn look(&mut self) {
        self.master.dispatch().unwrap();
        while let Some(event) = self.master.next_event() {
            self.keep(event);
        }
    }

    pub(crate) fn stop(self) {
        let mut this = self;
        this.master.shutdown(mio_cluster::Shutdown::Drain);
        this.end();
    }

    /// Waits for the end of the cluster, which has to be a good one.
    pub(crate) fn end(mut self) {
        while let Some(event) = self.master.wait(None).unwrap() {
            self.keep(event);
        }
        assert!(self.master.is_finished());
        println!("result ok");
    }

    fn find<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut looked_at = 0;
        loop {
            if let Some(found) = self.seen[looked_at..].iter().find_map(&wanted) {
                return found;
            }
            looked_at = self.seen.len();
            match self.master.wait(None).unwrap() {
                Some(event) => self.keep(event),
                None => panic!("no {what}, and the cluster has ended"),
            }
        }
    }

    fn keep(&mut self, event: Event) {
        println!("{}", event.to_json());
        self.seen.push(event);
    }
}

impl Deref for Primary {
    type Target = Master;

    fn deref(&self) -> &Master {
        &self.master
    }
}

impl DerefMut for Primary {
    fn deref_mut(&mut self) -> &mut Master {
        &mut self.master
    }
}

fn of(worker: WorkerRef, id: u64) -> Option<WorkerRef> {
    (worker.id.as_u64() == id).then_some(worker)
}

pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

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

/// A client of the above.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(at: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(at).unwrap()))
    }

    pub(crate) fn ask(&mut self) -> String {
        self.0.get_mut().write_all(b"who\n").unwrap();
        self.hear()
    }

    pub(crate) fn hear(&mut self) -> String {
        self.try_hear().expect("the connection was closed without an answer")
    }

    pub(crate) fn try_hear(&mut self) -> Option<String> {
        line_of(&mut self.0)
    }

    /// Waits for the end, which has to come in order.
    pub(crate) fn closed(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Workers that were forked meanwhile have a copy of it, so that closing it alone says nothing to the server.
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }
}

/// One question on a connection of its own.
pub(crate) fn ask(at: SocketAddr) -> String {
    Client::connect(at).ask()
}

/// Asks until each of so many workers has answered: the kernel picks them by a hash.
pub(crate) fn ask_all(at: SocketAddr, workers: usize) {
    let mut answered = std::collections::HashSet::new();
    while answered.len() < workers {
        answered.insert(ask(at));
    }
}

/// What workers say to the primary without a channel.
pub(crate) struct Pipe(BufReader<UnixStream>);

impl Pipe {
    pub(crate) fn line(&mut self) -> String {
        line_of(&mut self.0).expect("somebody can write")
    }
}

/// A pipe, and the end for the worker functions.
pub(crate) fn pipe() -> (Pipe, Lent<UnixStream>) {
    let (reader, writer) = UnixStream::pair().unwrap();
    (Pipe(BufReader::new(reader)), Lent::new(writer))
}

fn line_of(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (from.read_line(&mut line).is_ok_and(|length| length > 0)).then(|| line.trim_end().to_owned())
}

/// What worker functions use of the primary's. A captured value is never dropped in the primary; this one is, with its
/// first owner.
pub(crate) struct Lent<T> {
    value: Rc<RefCell<Option<T>>>,
    is_owner: bool,
}

impl<T> Lent<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Rc::new(RefCell::new(Some(value))), is_owner: true }
    }

    /// For a worker function to capture.
    pub(crate) fn share(&self) -> Self {
        Self { value: Rc::clone(&self.value), is_owner: false }
    }

    /// The value itself, in the worker.
    pub(crate) fn take(&self) -> T {
        self.value.take().expect("each process takes it once")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.is_owner {
            drop(self.value.take());
        }
    }
}

/// Made before the fork, so that all processes hold both ends: who waits goes on once for each time that it is opened.
pub(crate) struct Gate(Lent<(UnixStream, UnixStream)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Lent::new(UnixStream::pair().unwrap()))
    }

    pub(crate) fn share(&self) -> Self {
        Self(self.0.share())
    }

    pub(crate) fn open(&self) {
        let ends = self.0.value.borrow();
        (&ends.as_ref().unwrap().1).write_all(b"!").unwrap();
    }

    pub(crate) fn wait(&self) {
        let ends = self.0.value.borrow();
        (&ends.as_ref().unwrap().0).read_exact(&mut [0]).unwrap();
    }
}
