//! What processes share by the fork: values, pipes, and gates by which one lets another one go on.

use std::{
    cell::RefCell,
    fmt::Display,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
};

/// What workers say to the primary without a channel.
pub(crate) struct Pipe(BufReader<UnixStream>);

impl Pipe {
    pub(crate) fn line(&mut self) -> String {
        line_of(&mut self.0).expect("somebody can write")
    }
}

/// A pipe, and the end for the worker functions.
pub(crate) fn pipe() -> (Pipe, Lent<UnixStream>) {
    let (reader, writer) = UnixStream::pair().unwrap();
    (Pipe(BufReader::new(reader)), Lent::new(writer))
}

impl Lent<UnixStream> {
    /// A line to the primary, in one write: several workers may speak at once.
    pub(crate) fn say(&self, line: impl Display) {
        self.take().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

pub(super) fn line_of(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (from.read_line(&mut line).is_ok_and(|length| length > 0)).then(|| line.trim_end().to_owned())
}

/// What worker functions use of the primary's. A captured value is never dropped in the primary; this one is, with its
/// first owner.
pub(crate) struct Lent<T> {
    value: Rc<RefCell<Option<T>>>,
    is_owner: bool,
}

impl<T> Lent<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Rc::new(RefCell::new(Some(value))), is_owner: true }
    }

    /// For a worker function to capture.
    pub(crate) fn share(&self) -> Self {
        Self { value: Rc::clone(&self.value), is_owner: false }
    }

    /// The value itself, in the worker.
    pub(crate) fn take(&self) -> T {
        self.value.take().expect("each process takes it once")
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.is_owner {
            drop(self.value.take());
        }
    }
}

/// Made before the fork, so that all processes hold both ends: who waits goes on once for each time that it is opened.
pub(crate) struct Gate(Lent<(UnixStream, UnixStream)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Lent::new(UnixStream::pair().unwrap()))
    }

    pub(crate) fn share(&self) -> Self {
        Self(self.0.share())
    }

    pub(crate) fn open(&self) {
        let ends = self.0.value.borrow();
        (&ends.as_ref().unwrap().1).write_all(b"!").unwrap();
    }

    pub(crate) fn wait(&self) {
        let ends = self.0.value.borrow();
        (&ends.as_ref().unwrap().0).read_exact(&mut [0]).unwrap();
    }
}
