//! The TCP echo server of `embed_mio_before` as a cluster: one process per CPU on one port. `diff` shows the lines.
//!
//! ```text
//! cargo run --example embed_mio -- 127.0.0.1:8000
//! ```
//!
//! Try `nc 127.0.0.1 8000`, and `kill -9 $(pgrep -n embed_mio)`, which cuts one worker's clients only; another worker
//! takes its place. Ctrl-C, or `kill` of the master: what was received is echoed, then all connections are closed.
//! (A worker asks whether it is to leave before each accept, so nobody is left in its queue after the last one.)

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

fn main() -> std::process::ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    mio_cluster::Cluster::new().listen(address).main(serve)
}

fn serve(mut worker: mio_cluster::Worker) -> io::Result<()> {
    let (mut listener, mut draining) = (worker.listen()?, false);
    log::info!("echoing on {}", listener.local_addr()?);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut connections, mut last) = (HashMap::new(), LISTENER);
    loop {
        worker.poll(&mut poll, &mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => loop {
                    draining = worker.is_draining();
                    match listener.accept() {
                        Ok((mut stream, _peer)) => {
                            last.0 += 1;
                            poll.registry().register(&mut stream, last, Interest::READABLE | Interest::WRITABLE)?;
                            connections.insert(last, Connection::new(stream));
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                },
                token => {
                    if connections.get_mut(&token).is_some_and(|connection| !connection.echo().unwrap_or(false)) {
                        connections.remove(&token);
                    }
                }
            }
        }
        if draining && connections.values_mut().all(|each| each.echo().is_err() || each.unsent.is_empty()) {
            return Ok(());
        }
    }
}

struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    /// The client sends no more, but may still read.
    ended: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Vec::new(), ended: false }
    }

    /// Echoes until nothing more can be read or written now. False: the client has ended and has got all of it back.
    ///
    /// A client that does not read is not read from: at most one chunk waits in memory.
    fn echo(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(length) => drop(self.unsent.drain(..length)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.ended {
                return Ok(false);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(length) => self.unsent.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

const LISTENER: Token = Token(0);
