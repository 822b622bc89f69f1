//! The one error of the library: opaque, with predicates for what a caller can act upon.

use std::{any::Any, error::Error as StdError, fmt, io};

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step failed: the step, the value it failed on, and what to do about it.
///
/// `Display` prints the library's own words, [`source`](StdError::source) the system's. `{:#}` and `Debug` print both,
/// so that `fn main() -> Result<(), Error>` ends with a line that a person can read.
///
/// ```
/// use mio_cluster::Cluster;
///
/// let error = Cluster::new().workers(0).listen("localhost:80").run(|_worker| ()).unwrap_err();
/// assert!(error.is_invalid_config());
/// assert!(error.to_string().contains("0 workers"));
/// assert!(error.to_string().contains("localhost:80")); // all problems are reported at once
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// What the failed step was given, and gives back.
    returned: Option<Box<dyn Any + Send + Sync>>,
}

/// What a caller can act upon; everything else is in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    AddressInUse,
    PermissionDenied,
    InvalidConfig,
    ThreadsRunning,
    NeverReady,
    GaveUp,
    WouldBlock,
    TimedOut,
    Gone,
    /// The operating system refused a step that has no predicate of its own.
    System,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, text: text.into(), source: None, returned: None }))
    }

    /// A system call refused `step`; the kind follows from the error number.
    pub(crate) fn system(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "most of the standard library's kinds have no predicate here"
        )]
        let kind = match source.kind() {
            io::ErrorKind::AddrInUse => Kind::AddressInUse,
            io::ErrorKind::PermissionDenied => Kind::PermissionDenied,
            io::ErrorKind::WouldBlock => Kind::WouldBlock,
            io::ErrorKind::TimedOut => Kind::TimedOut,
            io::ErrorKind::BrokenPipe => Kind::Gone,
            _other => Kind::System,
        };
        Self::new(kind, step).because(source)
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn returning(mut self, value: Box<dyn Any + Send + Sync>) -> Self {
        self.0.returned = Some(value);
        self
    }

    pub(crate) fn into_returned(self) -> Option<Box<dyn Any + Send + Sync>> {
        self.0.returned
    }

    /// Somebody else listens on the address.
    pub fn is_address_in_use(&self) -> bool {
        self.0.kind == Kind::AddressInUse
    }

    /// The process lacks a right, such as CAP_NET_BIND_SERVICE for a port below 1024.
    pub fn is_permission_denied(&self) -> bool {
        self.0.kind == Kind::PermissionDenied
    }

    /// The builder was given values that cannot work; the text lists all of them. Or a call does not fit the cluster:
    /// it asks for an address that does not exist, for one that is open already, or for a signal that there is not.
    pub fn is_invalid_config(&self) -> bool {
        self.0.kind == Kind::InvalidConfig
    }

    /// A fork was refused because the process runs more than one thread.
    pub fn is_threads_running(&self) -> bool {
        self.0.kind == Kind::ThreadsRunning
    }

    /// The first worker of every slot ended or missed the ready deadline, and none was ever ready.
    pub fn is_never_ready(&self) -> bool {
        self.0.kind == Kind::NeverReady
    }

    /// The restart intensity was exceeded.
    pub fn is_gave_up(&self) -> bool {
        self.0.kind == Kind::GaveUp
    }

    /// Not now: a queue is full or nothing is there yet.
    pub fn is_would_block(&self) -> bool {
        self.0.kind == Kind::WouldBlock
    }

    /// The time that was given for it is over.
    pub fn is_timed_out(&self) -> bool {
        self.0.kind == Kind::TimedOut
    }

    /// The other side, or the worker that an id names, no longer exists.
    pub fn is_gone(&self) -> bool {
        self.0.kind == Kind::Gone
    }

    /// The exit code that a server should end with: 2 for an invalid configuration (bad usage), 3 if no worker ever
    /// became ready, 4 if restarting was given up, else 1.
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            Kind::InvalidConfig => 2,
            Kind::NeverReady => 3,
            Kind::GaveUp => 4,
            Kind::AddressInUse
            | Kind::PermissionDenied
            | Kind::ThreadsRunning
            | Kind::WouldBlock
            | Kind::TimedOut
            | Kind::Gone
            | Kind::System => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)?;
        let mut source = if f.alternate() { self.source() } else { None };
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Error> for io::Error {
    /// Keeps the kind, so that `?` works in a function that returns `io::Result`.
    fn from(error: Error) -> io::Error {
        let kind = match error.0.kind {
            Kind::AddressInUse => io::ErrorKind::AddrInUse,
            Kind::PermissionDenied => io::ErrorKind::PermissionDenied,
            Kind::InvalidConfig => io::ErrorKind::InvalidInput,
            Kind::WouldBlock => io::ErrorKind::WouldBlock,
            Kind::TimedOut => io::ErrorKind::TimedOut,
            Kind::Gone => io::ErrorKind::BrokenPipe,
            Kind::System => {
                let source = error.0.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>());
                source.map_or(io::ErrorKind::Other, io::Error::kind)
            }
            Kind::ThreadsRunning | Kind::NeverReady | Kind::GaveUp => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_text_and_every_source() {
        let error = Error::system("binding 127.0.0.1:80", io::Error::from_raw_os_error(13));
        assert!(error.is_permission_denied());
        assert_eq!(format!("{error}"), "binding 127.0.0.1:80");
        assert_eq!(format!("{error:?}"), "binding 127.0.0.1:80: Permission denied (os error 13)");
    }

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let code = |kind| Error::new(kind, "").exit_code();
        assert_eq!([Kind::InvalidConfig, Kind::NeverReady, Kind::GaveUp].map(code), [2, 3, 4]);
        let others = [Kind::AddressInUse, Kind::PermissionDenied, Kind::ThreadsRunning];
        assert_eq!(
            (others.map(code), [Kind::WouldBlock, Kind::TimedOut, Kind::Gone, Kind::System].map(code)),
            ([1; 3], [1; 4])
        );
    }

    #[test]
    fn io_errors_keep_the_kind_and_the_text() {
        let error = io::Error::from(Error::new(Kind::AddressInUse, "127.0.0.1:80 is taken"));
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), "127.0.0.1:80 is taken");
        let error = io::Error::from(Error::system("claiming", io::Error::from_raw_os_error(99)));
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
