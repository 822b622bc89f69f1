//! What one case works with: an IP address of its own, a deadline, and fixtures.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        linux::net::SocketAddrExt,
        unix::{self, net::UnixStream},
    },
    panic,
    path::Path,
    process::{self, Command},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::{Cannot, Client, Run, client::worker_in};

pub(crate) struct Bench {
    ip: Ipv4Addr,
    deadline: Instant,
}

impl Bench {
    /// The address is of this run and this case only, so that a port is free or taken because of the case and nobody
    /// else.
    pub(super) fn new(number: usize) -> Self {
        let case = u32::try_from(number).ok().filter(|case| *case < CASES).expect("fewer than 1024 cases");
        let run = process::id() % (1 << 13);
        let ip = Ipv4Addr::from_bits(LOOPBACK + run * CASES + case);
        Self { ip, deadline: Instant::now() + WATCHDOG }
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Starts a fixture: its name and its words, `@` being this case's IP address.
    pub(crate) fn start(&self, script: &str) -> Run {
        self.start_by(&[], script)
    }

    /// As [`start`](Self::start), with `@` being what it is.
    pub(crate) fn start_as_it_is(&self, script: &str) -> Run {
        Run::start(&[], script, self.deadline, self.ip)
    }

    /// As [`start`](Self::start), by a program that execs the fixture, such as `env --ignore-signal=HUP`.
    pub(crate) fn start_by(&self, launcher: &[&str], script: &str) -> Run {
        Run::start(launcher, &script.replace('@', &self.ip.to_string()), self.deadline, self.ip)
    }

    /// Starts one of examples/: its name and its arguments.
    pub(crate) fn example(&self, script: &str) -> Run {
        self.example_by(&[], script)
    }

    pub(crate) fn example_by(&self, launcher: &[&str], script: &str) -> Run {
        Run::example(launcher, &script.replace('@', &self.ip.to_string()), self.deadline, self.ip)
    }

    /// An address that was free a moment ago, and of no other case.
    pub(crate) fn free_address(&self) -> SocketAddr {
        free_port((self.ip, 0).into()).expect("127.0.0.0/8 is local")
    }

    pub(crate) fn connect(&self, address: impl Into<SocketAddr>) -> Client {
        self.client(self.stream(address))
    }

    /// A connection that there is already.
    pub(crate) fn client(&self, stream: TcpStream) -> Client {
        Client::new(stream, self.left())
    }

    /// A connection for another protocol than the fixtures'.
    pub(crate) fn stream(&self, address: impl Into<SocketAddr>) -> TcpStream {
        let address = address.into();
        let stream = TcpStream::connect_timeout(&address, self.left());
        let stream = stream.unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        stream.set_read_timeout(Some(self.left())).unwrap();
        stream.set_write_timeout(Some(self.left())).unwrap();
        stream
    }

    /// At a Unix socket: a path, or `@` and an abstract name.
    pub(crate) fn connect_unix(&self, name: &str) -> Client {
        self.client(self.stream_unix(name).unwrap_or_else(|error| panic!("connecting to {name}: {error}")))
    }

    /// As a `TcpStream`, whose calls are those of any stream socket.
    pub(crate) fn stream_unix(&self, name: &str) -> io::Result<TcpStream> {
        let stream = TcpStream::from(OwnedFd::from(connect_unix(name)?));
        stream.set_read_timeout(Some(self.left()))?;
        stream.set_write_timeout(Some(self.left()))?;
        Ok(stream)
    }

    /// One question on a connection of its own.
    pub(crate) fn ask(&self, address: impl Into<SocketAddr>, question: &str) -> String {
        self.connect(address).ask(question)
    }

    /// Asks until each of these workers has answered; nobody else may.
    pub(crate) fn reaches(&self, address: SocketAddr, workers: impl IntoIterator<Item = u64>) {
        let workers: BTreeSet<u64> = workers.into_iter().collect();
        let mut missing = workers.clone();
        while !missing.is_empty() {
            let id = self.connect(address).worker();
            assert!(workers.contains(&id), "worker {id} has answered, and it should be one of {workers:?}");
            missing.remove(&id);
        }
    }

    /// A client of this worker, which it has answered.
    pub(crate) fn client_of(&self, address: SocketAddr, worker: u64) -> Client {
        loop {
            let mut client = self.connect(address);
            if client.worker() == worker {
                return client;
            }
        }
    }

    /// A client of each of these workers, which has answered it and serves nobody else meanwhile.
    pub(crate) fn client_of_each<const N: usize>(&self, address: SocketAddr, workers: [u64; N]) -> [Client; N] {
        // Of so many, some are behind each socket; whoever is not the first there waits.
        let mut waiting: Vec<Client> = (0..16 * N).map(|_| self.connect(address)).collect();
        waiting.iter_mut().for_each(|client| client.say("who"));
        let mut answered = BTreeMap::new();
        while answered.len() < N {
            let mut client = waiting.swap_remove(self.first_answered(&waiting));
            answered.insert(worker_in(&client.hear().unwrap()), client);
        }
        workers.map(|id| answered.remove(&id).unwrap_or_else(|| panic!("worker {id} serves nobody")))
    }

    /// So many who have come at once, and asked who serves them.
    pub(crate) fn crowd(&self, address: SocketAddr, size: usize) -> Vec<Client> {
        let mut clients: Vec<Client> = (0..size).map(|_| self.connect(address)).collect();
        clients.iter_mut().for_each(|client| client.say("who"));
        clients
    }

    /// Which workers answer a crowd; nobody may be left out.
    pub(crate) fn answered(&self, crowd: Vec<Client>) -> BTreeSet<u64> {
        self.hear_all(crowd).iter().map(|answer| worker_in(answer)).collect()
    }

    /// What each of them hears, who has asked already. They are looked at together, for whoever serves one after the other
    /// waits until the one that it has answered is gone.
    pub(crate) fn hear_all(&self, mut clients: Vec<Client>) -> Vec<String> {
        let mut answers = Vec::new();
        while !clients.is_empty() {
            let mut client = clients.swap_remove(self.first_answered(&clients));
            answers.push(client.hear().unwrap_or_else(|problem| panic!("{problem}, after {} answers", answers.len())));
        }
        answers
    }

    /// Waits until one of them can be read.
    fn first_answered(&self, clients: &[Client]) -> usize {
        let mut asked: Vec<PollFd<'_>> =
            clients.iter().map(|client| PollFd::new(client.as_fd(), PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(self.left()).expect("a minute at most");
        assert!(poll(&mut asked, timeout).unwrap() > 0, "{} clients are not answered", clients.len());
        asked.iter().position(|client| client.any() == Some(true)).expect("one has an answer")
    }

    /// Ends the case as ignored: this machine cannot show what it is about.
    pub(crate) fn cannot(&self, why: &str) -> ! {
        panic::resume_unwind(Box::new(Cannot(why.to_owned())))
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }
}

/// Binds and lets go: the address, with a port if it had none, is free. Fails if anybody listens there or keeps others
/// away.
///
/// It does not listen: while another case starts a process, that has a copy of every descriptor of the harness for a
/// moment, and a copy of a bound socket with SO_REUSEADDR keeps nobody away.
pub(crate) fn free_port(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket.local_addr()?.as_socket().expect("an IP address"))
}

pub(super) fn connect_unix(name: &str) -> io::Result<UnixStream> {
    match name.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&unix::net::SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(name),
    }
}

/// The program, started by another one that execs it.
pub(super) fn launched(launcher: &[&str], program: &Path) -> Command {
    match launcher {
        [] => Command::new(program),
        [launcher, arguments @ ..] => {
            let mut command = Command::new(launcher);
            command.args(arguments).arg(program);
            command
        }
    }
}

/// Per run, of which 8192 can be told apart.
const CASES: u32 = 1 << 10;

/// 127.128.0.0: addresses that nobody else uses.
const LOOPBACK: u32 = 0x7f80_0000;

/// For one case; the longest takes about three seconds.
const WATCHDOG: Duration = Duration::from_secs(60);
