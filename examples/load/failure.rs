//! How a request can fail: one kind for each way that a server, or the way to it, can let a client down.

use std::io;

use nix::errno::Errno;

/// Of `WrongStatus` and `WrongBody` there is one per answer, and the connection goes on; of all others one per
/// connection, which has ended by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    NoLocalPort,
    Local,
    Unreachable,
    Refused,
    ConnectTimeout,
    ResetBeforeRequest,
    ResetAfterRequest,
    EofBeforeAnswer,
    ResetOnReuse,
    EofOnReuse,
    ResetInsideAnswer,
    EofInsideAnswer,
    AnswerTimeout,
    MalformedAnswer,
    ResetWhileIdle,
    WrongStatus,
    WrongBody,
}

impl Failure {
    /// In the order of the tables.
    pub(crate) const ALL: [Self; 17] = [
        Self::NoLocalPort,
        Self::Local,
        Self::Unreachable,
        Self::Refused,
        Self::ConnectTimeout,
        Self::ResetBeforeRequest,
        Self::ResetAfterRequest,
        Self::EofBeforeAnswer,
        Self::ResetOnReuse,
        Self::EofOnReuse,
        Self::ResetInsideAnswer,
        Self::EofInsideAnswer,
        Self::AnswerTimeout,
        Self::MalformedAnswer,
        Self::ResetWhileIdle,
        Self::WrongStatus,
        Self::WrongBody,
    ];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// In JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoLocalPort => "no_local_port",
            Self::Local => "local",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ResetBeforeRequest => "reset_before_request",
            Self::ResetAfterRequest => "reset_after_request",
            Self::EofBeforeAnswer => "eof_before_answer",
            Self::ResetOnReuse => "reset_on_reuse",
            Self::EofOnReuse => "eof_on_reuse",
            Self::ResetInsideAnswer => "reset_inside_answer",
            Self::EofInsideAnswer => "eof_inside_answer",
            Self::AnswerTimeout => "answer_timeout",
            Self::MalformedAnswer => "malformed_answer",
            Self::ResetWhileIdle => "reset_while_idle",
            Self::WrongStatus => "wrong_status",
            Self::WrongBody => "wrong_body",
        }
    }

    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoLocalPort => "no local port was free: see --source",
            Self::Local => "this system could not: descriptors, memory, permission",
            Self::Unreachable => "no way to the server",
            Self::Refused => "refused",
            Self::ConnectTimeout => "not connected in time",
            Self::ResetBeforeRequest => "connected, and reset before the request was sent",
            Self::ResetAfterRequest => "reset after the request was sent, no byte of an answer",
            Self::EofBeforeAnswer => "closed after the request was sent, no byte of an answer",
            Self::ResetOnReuse => "reset after an earlier answer, no byte of the next one",
            Self::EofOnReuse => "closed after an earlier answer, no byte of the next one",
            Self::ResetInsideAnswer => "reset inside an answer",
            Self::EofInsideAnswer => "closed inside an answer",
            Self::AnswerTimeout => "not answered in time",
            Self::MalformedAnswer => "not an answer in HTTP/1",
            Self::ResetWhileIdle => "reset while nothing was asked",
            Self::WrongStatus => "wrong status",
            Self::WrongBody => "wrong body",
        }
    }

    /// Why there is no connection.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            // The queue of a Unix-domain socket is full: what TCP would take for a lost packet.
            Some(Errno::ECONNREFUSED | Errno::EAGAIN | Errno::ENOENT) => Self::Refused,
            Some(Errno::ETIMEDOUT) => Self::ConnectTimeout,
            // What meets no socket is refused, so there was one, and it had the connection in its queue.
            Some(Errno::ECONNRESET | Errno::EPIPE) => Self::ResetBeforeRequest,
            Some(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN) => Self::Unreachable,
            Some(Errno::EADDRNOTAVAIL | Errno::EADDRINUSE) => Self::NoLocalPort,
            Some(_) | None => Self::Local,
        }
    }
}
