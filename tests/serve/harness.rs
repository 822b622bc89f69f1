//! A server on a thread of its own, and its clients.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use mio_cluster::{Cluster, Error, Result, Serve, Service, Worker, WorkerHandle};
use socket2::SockRef;

use crate::order::{Fact, Recorder, What};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    handle: WorkerHandle,
    facts: Receiver<Fact>,
    end: Receiver<()>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// A server that nobody runs yet: its clients wait in the queue.
pub(crate) struct Closed(pub(crate) Worker);

impl Closed {
    pub(crate) fn new() -> Self {
        Self(Cluster::new().listen("127.0.0.1:0").standalone().unwrap())
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.0.addresses()[0].socket_addr().unwrap())
    }

    pub(crate) fn handle(&self) -> WorkerHandle {
        self.0.handle()
    }

    pub(crate) fn run(self, options: Serve, service: impl Service + Send + 'static) -> Server {
        let Self(worker) = self;
        let (address, handle) = (worker.addresses()[0].socket_addr().unwrap(), worker.handle());
        let ((said, facts), (alive, end)) = (mpsc::channel(), mpsc::channel());
        let thread = thread::spawn(move || {
            let _alive = alive;
            worker.serve_with(options, Recorder::new(service, said))
        });
        Server { address, handle, facts, end, thread: Some(thread) }
    }
}

impl Server {
    pub(crate) fn start(options: Serve, service: impl Service + Send + 'static) -> Self {
        Closed::new().run(options, service)
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// The next callback of this kind; those before it are passed over.
    pub(crate) fn fact(&self, wanted: impl Fn(&What) -> bool) -> Fact {
        loop {
            let fact = self.next();
            if wanted(&fact.what) {
                return fact;
            }
        }
    }

    pub(crate) fn wait(&self, wanted: What) -> Fact {
        self.fact(|what| *what == wanted)
    }

    pub(crate) fn next(&self) -> Fact {
        match self.facts.recv_timeout(WATCHDOG) {
            Ok(fact) => fact,
            Err(RecvTimeoutError::Timeout) => panic!("the service was not called any more"),
            Err(RecvTimeoutError::Disconnected) => panic!("the server has ended, and not as expected"),
        }
    }

    /// Why the next one that ends is gone.
    pub(crate) fn closed(&self) -> String {
        match self.fact(|what| matches!(what, What::Closed(_))).what {
            What::Closed(why) => why,
            other => unreachable!("{other:?} is no end"),
        }
    }

    /// It is to leave.
    pub(crate) fn disconnect(&self) {
        self.handle.disconnect().unwrap();
    }

    /// It leaves, if it has not done so, and all that it has done since the last question.
    pub(crate) fn end(mut self) -> Vec<Fact> {
        self.leave();
        self.facts.try_iter().collect()
    }

    /// It is expected to end by itself, with an error.
    pub(crate) fn error(mut self) -> Error {
        self.join().unwrap_err()
    }

    fn leave(&mut self) {
        match self.handle.disconnect() {
            Err(error) if !error.is_gone() => panic!("{error}"),
            Ok(()) | Err(_) => self.join().unwrap(),
        }
    }

    fn join(&mut self) -> Result<()> {
        assert_eq!(self.end.recv_timeout(WATCHDOG), Err(RecvTimeoutError::Disconnected), "the server does not leave");
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.leave();
        }
    }
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream.set_write_timeout(Some(WATCHDOG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// So many bytes, whatever they are, in constant memory.
    pub(crate) fn skip(&mut self, count: usize) {
        let skipped = io::copy(&mut Read::by_ref(&mut self.0).take(count as u64), &mut io::sink()).unwrap();
        assert_eq!(skipped, count as u64, "the server has closed too early");
    }

    /// Up to the end of a line, which is left out.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.take(1)[0] {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    /// Everything up to the end, which comes in order.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Nothing more comes but the end, in order.
    pub(crate) fn ends(&mut self) {
        assert_eq!(self.rest(), b"", "the end was expected");
    }

    /// Nothing more comes but a reset.
    pub(crate) fn is_reset(&mut self) {
        let end = self.0.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }

    /// The end or a reset, after whatever comes.
    pub(crate) fn is_gone(&mut self) {
        match io::copy(&mut self.0, &mut io::sink()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Sends no more.
    pub(crate) fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// All defaults, but a drain does not wait for idle clients.
pub(crate) fn options() -> Serve {
    Serve::new().drain_grace(ms(1))
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// For one wait; a server answers at once.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(20);
