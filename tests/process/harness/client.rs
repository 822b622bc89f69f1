//! A client of the fixtures' line protocol.

use std::{
    fmt,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn new(stream: TcpStream, within: Duration) -> Self {
        stream.set_read_timeout(Some(within)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.0
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap_or_else(|error| panic!("saying {line:?}: {error}"));
    }

    /// A part of a line.
    pub(crate) fn begin(&mut self, part: &str) {
        self.0.get_mut().write_all(part.as_bytes()).unwrap();
    }

    /// Says no more.
    pub(crate) fn finish(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// As [`ask`](Self::ask), of a server that may be gone.
    pub(crate) fn try_ask(&mut self, line: &str) -> Result<String, String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).map_err(|error| error.to_string())?;
        self.hear()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear().unwrap_or_else(|problem| panic!("asked {line:?}, and {problem}"))
    }

    /// Which worker answers.
    pub(crate) fn worker(&mut self) -> u64 {
        worker_in(&self.ask("who"))
    }

    /// The next line, without its end.
    pub(crate) fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => Err("the connection was closed without an answer".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until the other side is gone.
    pub(crate) fn closed(mut self) {
        let mut rest = String::new();
        match self.0.read_line(&mut rest) {
            Ok(0) => {}
            Ok(_) => panic!("expected the end, got {rest:?}"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("expected the end: {error}"),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get_ref().fmt(f)
    }
}

/// Of an answer to `who`.
pub(super) fn worker_in(answer: &str) -> u64 {
    answer.split(' ').next().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{answer:?} is nobody"))
}
