//! Who connects to the workers.

use std::{
    collections::HashSet,
    io::{BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use super::line_of;

/// A client of the workers' line protocol.
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
    let mut answered = HashSet::new();
    while answered.len() < workers {
        answered.insert(ask(at));
    }
}
