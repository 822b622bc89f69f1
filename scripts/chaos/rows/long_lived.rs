//! Connections that live long, across rolling restarts: each is told, goes on as before, and is closed when its time is
//! over, not earlier. Then it comes again.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use mio_cluster::mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{Outcome, Row, figure};
use crate::{
    Attempt,
    figure::Figure,
    lines::{LEAVES, uptime},
    rows::amount,
    server::{Kind, Server, event},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "long-lived",
    what: "256 connections with an echo every 100 ms across 5 rollouts of 4 workers; they may stay for a second, 2 workers may linger",
    bar: "0 cut before their time, lingering <= 2",
    within: Duration::from_secs(200),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    Ok(User::all().into_iter().map(|user| figure(&ROW, &user.name(ROW.name), one(user))).collect())
}

fn one(user: User) -> Attempt<Outcome> {
    let (count, stay, lingering) = (amount(5, 2), STAY.as_millis().to_string(), LINGERING.to_string());
    let more = ["--settle", "50", "--lines", &stay, "--max-lingering", &lingering];
    let mut server = Server::start_as(user, Kind::Own, "127.0.0.1:0", WORKERS, &more)?;
    let address = server.address()?;
    let over = AtomicBool::new(false);
    let (fates, beside) = thread::scope(|scope| {
        let clients = scope.spawn(|| Clients::new(address).and_then(|clients| clients.run(&over)));
        let rolled = rollouts(&mut server, count);
        over.store(true, Ordering::Relaxed);
        let fates = clients.join().map_err(|_| "the clients panicked")?;
        rolled.and_then(|beside| Ok((fates?, beside)))
    })?;
    let Fates { echoes, told, cut, early, unanswered } = fates;
    let mut wrongs = server.stop()?;
    if cut + early + unanswered > 0 {
        wrongs.push(format!("{cut} cut untold, {early} before their time, {unanswered} echoes missing"));
    }
    if beside > LINGERING {
        wrongs.push(format!("{beside} workers more than {WORKERS}"));
    }
    if told < CLIENTS * count {
        wrongs.push(format!("only {told} were told"));
    }
    let measured = format!("0 cut untold, {early} of {told} before their time; lingering <= {beside}; {echoes} echoes");
    Ok(Outcome { measured: measured.replacen('0', &cut.to_string(), 1), wrongs, yardstick: "-".to_owned() })
}

/// How many more workers than these there were at a time: those that linger, and the successor of one that soon may.
fn rollouts(server: &mut Server, count: usize) -> Attempt<usize> {
    let (mut live, mut most) = (WORKERS, WORKERS);
    // Everybody is connected, and has had an answer.
    thread::sleep(SETTLED);
    for _ in 0..count {
        server.process.signal(nix::sys::signal::Signal::SIGHUP)?;
        loop {
            let line = server.next()?;
            match event(&line) {
                "fork" => live += 1,
                "exit" => live -= 1,
                "rollout_ended" if line.contains("\"done\"") => break,
                "rollout_ended" => return Err(line.into()),
                _other => {}
            }
            most = most.max(live);
        }
        // Clients of those that linger are closed, and come again.
        thread::sleep(STAY + SETTLED);
    }
    Ok(most - WORKERS)
}

#[derive(Default)]
struct Fates {
    echoes: usize,
    told: usize,
    /// Without a word.
    cut: usize,
    early: usize,
    unanswered: usize,
}

struct Clients {
    address: SocketAddr,
    poll: Poll,
    clients: Vec<Client>,
    fates: Fates,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// An echo is to come.
    asks: bool,
    /// When its worker began to leave.
    told: Option<Duration>,
}

impl Clients {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let clients = (0..CLIENTS).map(|at| Client::start(address, &poll, at)).collect::<io::Result<_>>()?;
        Ok(Self { address, poll, clients, fates: Fates::default() })
    }

    fn run(mut self, over: &AtomicBool) -> io::Result<Fates> {
        let mut events = Events::with_capacity(CLIENTS);
        let mut next = Instant::now() + EVERY;
        let mut end = None;
        while end.is_none_or(|end| Instant::now() < end && self.clients.iter().any(|client| client.asks)) {
            self.poll.poll(&mut events, Some(next.saturating_duration_since(Instant::now())))?;
            for event in &events {
                self.work(event.token().0)?;
            }
            if over.load(Ordering::Relaxed) {
                end.get_or_insert(Instant::now() + ANSWERED_WITHIN);
            }
            if Instant::now() >= next {
                next = Instant::now() + EVERY;
                let asks = if end.is_none() { CLIENTS } else { 0 };
                (0..asks).for_each(|at| self.ask(at));
            }
        }
        self.fates.unanswered += self.clients.iter().filter(|client| client.asks).count();
        Ok(self.fates)
    }

    /// Not in the last moments: nobody could answer all that is sent then.
    fn ask(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let is_over = client.stays_since().is_some_and(|since| since + MOMENTS > STAY);
        if !is_over && !client.asks {
            client.asks = client.stream.write(ASK).is_ok();
        }
    }

    fn work(&mut self, at: usize) -> io::Result<()> {
        let client = &mut self.clients[at];
        let mut buffer = [0; 256];
        let open = loop {
            match client.stream.read(&mut buffer) {
                Ok(0) => break false,
                Ok(count) => client.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        while let Some(end) = client.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = client.input.drain(..=end).collect();
            match String::from_utf8_lossy(&line).trim_end().strip_prefix(LEAVES) {
                Some(since) => {
                    client.told = since.parse().ok().map(Duration::from_nanos);
                    self.fates.told += 1;
                }
                None => {
                    client.asks = false;
                    self.fates.echoes += 1;
                }
            }
        }
        if !open {
            self.fates.unanswered += usize::from(client.asks);
            match client.stays_since() {
                None => self.fates.cut += 1,
                Some(stayed) if stayed + MOMENT < STAY => self.fates.early += 1,
                Some(_) => {}
            }
            *client = Client::start(self.address, &self.poll, at)?;
        }
        Ok(())
    }
}

impl Client {
    fn start(address: SocketAddr, poll: &Poll, at: usize) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
        Ok(Self { stream, input: Vec::new(), asks: false, told: None })
    }

    /// For so long.
    fn stays_since(&self) -> Option<Duration> {
        let now = uptime().ok()?;
        self.told.map(|told| now.saturating_sub(told))
    }
}

const WORKERS: usize = 4;
const LINGERING: usize = 2;
const CLIENTS: usize = 256;
const STAY: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(100);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const SETTLED: Duration = Duration::from_millis(300);

/// From the beginning of a drain until the last client is told.
const MOMENT: Duration = Duration::from_millis(100);

/// And until whatever was sent is answered.
const MOMENTS: Duration = Duration::from_millis(400);

const ASK: &[u8] = b"still there?\n";
