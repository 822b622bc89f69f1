//! A TCP echo server with a mio loop of its own: the program that `embed_mio` makes a cluster of.
//!
//! ```text
//! cargo run --example embed_mio_before -- 127.0.0.1:8000
//! ```
//!
//! Try `nc 127.0.0.1 8000`, and Ctrl-C here, which cuts all clients, whatever is on its way.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

fn main() -> io::Result<()> {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    serve(TcpListener::bind(address.parse().map_err(io::Error::other)?)?)
}

fn serve(mut listener: TcpListener) -> io::Result<()> {
    log::info!("echoing on {}", listener.local_addr()?);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut connections, mut last) = (HashMap::new(), LISTENER);
    loop {
        if let Err(error) = poll.poll(&mut events, None) {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        for event in &events {
            match event.token() {
                LISTENER => loop {
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
