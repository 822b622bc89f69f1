//! The smallest server that drains properly: HTTP with keep-alive, one fixed answer; to `/sleep/MS` so much later.
//!
//! Drain: what waits at the door is accepted and the door closed; the next answer of every connection says `Connection:
//! close`; a connection that asks nothing for [`GRACE`] is closed.

use std::{
    hint,
    io::{self, Read, Write},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use mio_cluster::{
    Cluster, Event, Hang, Listener, Recycle, Rollout, Row, Scoreboard, Totals, Worker,
    mio::{Events, Interest, Poll, Token, net::TcpStream},
};

use crate::{Attempt, boot::Boot, embed, lines::Lines, release::Release};

/// The role `--serve`: a master that prints its events as JSON.
pub(crate) fn run(words: &[&str]) -> Attempt<ExitCode> {
    let Options { cluster, spins, waits, embedded, totals, boot, release, stay } = Options::parse(words)?;
    if waits {
        println!("waiting");
        io::stdin().read_to_end(&mut Vec::new())?;
    }
    let again = release.clone();
    let cluster = cluster.on_reload(move || again.read());
    let work = move |mut worker: Worker| {
        boot.begin(worker.slot().index());
        release.begin(&mut worker)?;
        match stay {
            Some(stay) => Ok(Lines { stay }.serve(worker)?),
            None => work(worker, spins),
        }
    };
    if embedded {
        return embed::run(cluster, work);
    }
    let tell = move |scoreboard: Scoreboard, event: &Event| {
        print(event);
        if let (true, Event::Exit { .. }) = (totals, event) {
            let Totals { accepted, adopted, closed, abandoned, .. } = scoreboard.total();
            println!(
                r#"{{"event":"totals","accepted":{accepted},"adopted":{adopted},"closed":{closed},"abandoned":{abandoned}}}"#
            );
        }
    };
    match cluster.run_with(work, move |master, event| tell(master.scoreboard(), &event)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error:#}");
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

struct Options {
    cluster: Cluster,
    /// The worker of slot 0 does nothing but use its CPU.
    spins: bool,
    /// For the end of stdin, before the start.
    waits: bool,
    embedded: bool,
    /// Tells the sums of the scoreboard after each end of a worker.
    totals: bool,
    boot: Boot,
    release: Release,
    /// Serves lines instead, to clients that may stay for so long when their worker leaves.
    stay: Option<Duration>,
}

impl Options {
    fn parse(words: &[&str]) -> Attempt<Self> {
        let (cluster, boot, release) = (Cluster::new(), Boot::new(None), Release::new(None));
        let (spins, waits, embedded, totals, stay) = (false, false, false, false, None);
        let mut this = Self { cluster, spins, waits, embedded, totals, boot, release, stay };
        let mut words = words.iter();
        while let Some(option) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{option} needs a value"));
            match *option {
                "--spin" => this.spins = true,
                "--wait" => this.waits = true,
                "--embedded" => this.embedded = true,
                "--totals" => this.totals = true,
                "--boot" => this.boot = Boot::new(Some(value()?.into())),
                "--release" => this.release = Release::new(Some(value()?.into())),
                "--lines" => this.stay = Some(millis(value()?)?),
                other => this.cluster = with(this.cluster, other, value()?)?,
            }
        }
        Ok(this)
    }
}

fn with(cluster: Cluster, option: &str, value: &str) -> Attempt<Cluster> {
    Ok(match option {
        "--listen" => cluster.listen(value),
        "--workers" => cluster.workers(value.parse()?),
        "--keep-listeners" => cluster.keep_listeners(value.parse()?),
        "--settle" => cluster.rollout(Rollout::new().settle(millis(value)?)),
        "--max-lingering" => cluster.max_lingering(value.parse()?),
        "--kill-hung" => cluster.hang(Hang::new().warn(WARN).kill(millis(value)?)),
        "--recycle-connections" => cluster.recycle(Recycle::new().connections(value.parse()?)),
        "--ready-timeout" => cluster.ready_timeout(millis(value)?),
        unknown => return Err(format!("unknown option {unknown}").into()),
    })
}

fn millis(value: &str) -> Attempt<Duration> {
    Ok(Duration::from_millis(value.parse()?))
}

pub(crate) fn print(event: &Event) {
    println!("{}", event.to_json());
}

fn work(mut worker: Worker, spins: bool) -> io::Result<()> {
    if spins && worker.slot().index() == 0 {
        let _door = worker.listen()?;
        loop {
            hint::spin_loop();
        }
    }
    serve(worker)
}

/// The worker function.
pub(crate) fn serve(mut worker: Worker) -> io::Result<()> {
    let mut listener = worker.listen()?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    poll.registry().register(&mut listener, DOOR, Interest::READABLE)?;
    let mut door = Some(listener);
    let mut clients = Clients { row: worker.row(), table: Vec::new(), free: Vec::new(), open: 0 };
    let mut end = None;
    while end.is_none_or(|end| clients.open > 0 && Instant::now() < end) {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        worker.poll(&mut poll, &mut events, left)?;
        let draining = worker.is_draining();
        if let Some(listener) = &door {
            clients.accept(listener, &poll)?;
        }
        if draining && end.is_none() {
            end = Some(Instant::now() + GRACE);
            // The queue is empty: whoever comes now is refused and need not wait.
            door = None;
        }
        for event in events.iter().filter(|event| event.token() != DOOR) {
            clients.answer(event.token(), draining);
        }
    }
    Ok(())
}

/// By token.
struct Clients {
    row: Row,
    table: Vec<Option<Client>>,
    free: Vec<usize>,
    open: usize,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Clients {
    fn accept(&mut self, listener: &Listener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _peer)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let at = self.free.pop().unwrap_or(self.table.len());
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            let client = Some(Client { stream, input: Vec::new() });
            match self.table.get_mut(at) {
                Some(place) => *place = client,
                None => self.table.push(client),
            }
            self.open += 1;
        }
    }

    fn answer(&mut self, token: Token, draining: bool) {
        let Some(client) = self.table.get_mut(token.0).and_then(Option::as_mut) else { return };
        // A client that went away without a word is no failure of the server.
        if !client.answer(draining).unwrap_or(false) {
            self.table[token.0] = None;
            self.row.closed();
            self.free.push(token.0);
            self.open -= 1;
        }
    }
}

impl Client {
    /// Whether the connection goes on. Answers are small and clients wait for them, so a full socket is an error.
    fn answer(&mut self, draining: bool) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
            if self.input.ends_with(b"\r\n\r\n") {
                let closes = draining || self.input.windows(CLOSE.len()).any(|part| part == CLOSE);
                thread::sleep(self.delay());
                self.input.clear();
                self.stream.write_all(if closes { LAST_ANSWER } else { ANSWER })?;
                if closes {
                    return Ok(false);
                }
            }
        }
    }

    fn delay(&self) -> Duration {
        let millis = self.input.strip_prefix(SLEEP).and_then(|rest| rest.split(|byte| *byte == b' ').next());
        let millis = millis.and_then(|millis| std::str::from_utf8(millis).ok()?.parse().ok());
        Duration::from_millis(millis.unwrap_or(0))
    }
}

const DOOR: Token = Token(usize::MAX);

/// Before a hung worker is killed.
const WARN: Duration = Duration::from_millis(500);

/// A request that was sent before the client could know of the drain arrives within this.
const GRACE: Duration = Duration::from_secs(1);

const SLEEP: &[u8] = b"GET /sleep/";
pub(crate) const CLOSE: &[u8] = b"Connection: close\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
