//! Any loop can be a worker: this one is poll(2), level-triggered, with a timer.
//!
//! All that a loop has to know of a listener is one descriptor. It becomes readable when a client waits, and when the
//! master wants something; whoever accepts until nobody waits, and asks `is_draining()` once per turn, has done enough.
//!
//! ```text
//! cargo run --example custom_poll -- 127.0.0.1:8000
//! ```
//!
//! Try `curl http://127.0.0.1:8000/` and `kill -9` the worker whose pid it answers. `nc 127.0.0.1 8000`, and type
//! nothing: the timer ends it after two seconds. Ctrl-C waits for those two seconds at most.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::fd::AsFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Listener, Worker, mio::net::TcpStream};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    Cluster::new().listen(address).workers(2).main(serve)
}

fn serve(mut worker: Worker) -> io::Result<()> {
    let listener = worker.listen()?;
    let mut clients = Vec::new();
    loop {
        let draining = worker.is_draining(); // asked before the accepts: nobody comes after the last of them
        while let Ok((stream, _peer)) = listener.accept() {
            clients.push(Client { stream, until: Instant::now() + PATIENCE });
        }
        let now = Instant::now();
        clients.retain_mut(|client| client.until > now && !client.is_served());
        if draining && clients.is_empty() {
            return Ok(());
        }
        wait(&listener, &clients)?;
    }
}

/// Until a client comes, one of them speaks, the first of their times is over, or the master wants something.
fn wait(listener: &Listener, clients: &[Client]) -> io::Result<()> {
    let mut watched = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    watched.extend(clients.iter().map(|client| PollFd::new(client.stream.as_fd(), PollFlags::POLLIN)));
    let timeout = match clients.iter().map(|client| client.until).min() {
        // It counts whole milliseconds: rounded down it would come back before the time, again and again.
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            left.try_into().unwrap_or(PollTimeout::MAX)
        }
        None => PollTimeout::NONE,
    };
    match poll(&mut watched, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

struct Client {
    /// Non-blocking; it needs no mio loop.
    stream: TcpStream,
    until: Instant,
}

impl Client {
    /// Answered, or gone.
    fn is_served(&mut self) -> bool {
        match self.stream.read(&mut [0; 4096]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Ok(0) | Err(_) => return true,
            Ok(_request) => {}
        }
        let body = format!("poll(2) in process {}\n", std::process::id());
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = self.stream.write_all(answer.as_bytes()); // a client that left is no error
        true
    }
}

/// Who asks nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(2);
