//! A master in a loop that is not its own: this program also serves a status port and has its own way with signals.
//!
//! The master is one descriptor of a mio loop, beside the status port, its visitors and a pipe that tells of signals.
//! The workers are forked from inside that loop and inherit whatever the program has open at that moment, the visitors'
//! connections too, whatever their CLOEXEC flag says: that is for exec. A connection ends when its last copy is closed,
//! so a visitor would not see its end before those workers have ended, too. `close_inherited(true)` is against that.
//!
//! ```text
//! cargo run --example embed_master -- 127.0.0.1:8000 127.0.0.1:8001
//! ```
//!
//! Try `nc 127.0.0.1 8001`, which lists the workers and then prints each event, and `kill -9` one of them: Enter ends
//! the connection at once, although another worker was forked while it was open. (Take `close_inherited` out and see
//! it hang.) `nc 127.0.0.1 8000` is greeted by a worker. Ctrl-C stops in order, a second one at once.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    process::ExitCode,
};

use mio_cluster::{
    Cluster, Master, Shutdown, Worker, WorkerInfo,
    mio::{
        self, Events, Interest, Poll, Token,
        net::{TcpListener, TcpStream},
    },
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let mut addresses = std::env::args().skip(1);
    let served = addresses.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let status = addresses.next().unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    match Program::open(&served, &status).and_then(Program::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::from(error.downcast_ref().map_or(1, mio_cluster::Error::exit_code))
        }
    }
}

struct Program {
    poll: Poll,
    status: TcpListener,
    visitors: HashMap<Token, TcpStream>,
    last: Token,
    /// Readable when SIGINT or SIGTERM has come.
    signals: mio::net::UnixStream,
    asked_to_stop: bool,
    master: Master,
}

impl Program {
    fn open(served: &str, status: &str) -> Result<Self> {
        let poll = Poll::new()?;
        let at = status.parse().map_err(|_| format!("status port: {status:?} is not an address"))?;
        let mut status = TcpListener::bind(at).map_err(|error| format!("status port {at}: {error}"))?;
        poll.registry().register(&mut status, STATUS, Interest::READABLE)?;
        log::info!("status on {}", status.local_addr()?);
        let (signals, handler) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        let mut signals = mio::net::UnixStream::from_std(signals);
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, handler.try_clone()?)?;
        }
        // Forks: all of the above is open in the workers, too, until they have closed it.
        let mut master = Cluster::new().listen(served).workers(2).close_inherited(true).start(greet)?;
        poll.registry().register(&mut master, MASTER, Interest::READABLE)?;
        Ok(Self { poll, status, visitors: HashMap::new(), last: MASTER, signals, asked_to_stop: false, master })
    }

    fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(64);
        while !self.master.is_finished() {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _polled => {}
            }
            for event in &events {
                match event.token() {
                    STATUS => self.welcome()?,
                    SIGNALS => self.stop(),
                    MASTER => self.master.dispatch()?,
                    visitor => self.listen_to(visitor),
                }
            }
            while let Some(event) = self.master.next_event() {
                let line = event.to_json() + "\n";
                self.visitors.retain(|_, visitor| visitor.write_all(line.as_bytes()).is_ok());
            }
        }
        Ok(self.master.dispatch()?) // how it ended
    }

    fn welcome(&mut self) -> io::Result<()> {
        while let Ok((mut visitor, _peer)) = self.status.accept() {
            let lines = self.master.workers().map(|WorkerInfo { id, slot, pid, state, .. }| {
                format!("worker {id} in slot {slot}: {state:?}, pid {pid}\n")
            });
            let list: String = lines.collect();
            if visitor.write_all(list.as_bytes()).is_ok() {
                self.last.0 += 1;
                self.poll.registry().register(&mut visitor, self.last, Interest::READABLE)?;
                self.visitors.insert(self.last, visitor);
            }
        }
        Ok(())
    }

    /// A visitor has had enough when it sends anything, or its end.
    fn listen_to(&mut self, visitor: Token) {
        let heard = self.visitors.get_mut(&visitor).map(|visitor| visitor.read(&mut [0; 64]));
        if !matches!(heard, Some(Err(error)) if error.kind() == ErrorKind::WouldBlock) {
            self.visitors.remove(&visitor);
        }
    }

    fn stop(&mut self) {
        while self.signals.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        let again = std::mem::replace(&mut self.asked_to_stop, true);
        self.master.shutdown(if again { Shutdown::Now } else { Shutdown::Drain });
    }
}

/// The worker: it owns nothing that the program had open.
fn greet(mut worker: Worker) -> io::Result<()> {
    let (mut poll, mut events, mut listener) = (Poll::new()?, Events::with_capacity(64), worker.listen()?);
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    loop {
        worker.poll(&mut poll, &mut events, None)?;
        let draining = worker.is_draining(); // asked before the accepts: nobody comes after the last of them
        while let Ok((mut client, _peer)) = listener.accept() {
            let _ = writeln!(client, "Hello from worker {}", worker.id()); // a client that left is no error
        }
        if draining {
            return Ok(());
        }
    }
}

const STATUS: Token = Token(0);
const SIGNALS: Token = Token(1);
/// The visitors' tokens follow.
const MASTER: Token = Token(2);
