//! The lines that a process prints, for a reader who may not want to wait for them for ever.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    process::ChildStdout,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

pub(crate) struct Output {
    stdout: ChildStdout,
    /// Read, and not given out yet.
    rest: Vec<u8>,
}

pub(crate) enum Heard {
    Line(String),
    /// Not in this time.
    Nothing,
    End,
}

impl Output {
    pub(crate) fn new(stdout: ChildStdout) -> Self {
        Self { stdout, rest: Vec::new() }
    }

    /// The next line, if it comes before `end`; `None`: waits for ever.
    pub(crate) fn line(&mut self, end: Option<Instant>) -> io::Result<Heard> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Ok(Heard::Line(String::from_utf8_lossy(&line[..at]).into_owned()));
            }
            if !self.is_readable(end)? {
                return Ok(Heard::Nothing);
            }
            let mut buffer = [0; 4096];
            match self.stdout.read(&mut buffer)? {
                0 => return Ok(Heard::End),
                count => self.rest.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn is_readable(&self, end: Option<Instant>) -> io::Result<bool> {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        // Rounded up: otherwise the last millisecond would be spent in calls.
        let left = left.map(|left| left + Duration::from_micros(999));
        let left = left.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from).unwrap_or(PollTimeout::MAX);
        let mut wanted = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, left) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
