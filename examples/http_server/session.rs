//! The HTTP/1 side of one connection without its socket: bytes in, answers out. Pure, so every order of arrival is a
//! unit test.
//!
//! Requests are answered in order, each when its body has come. Nothing is looked at before the answer in front of it
//! is all written, and nothing at all behind a request after which the connection closes. Between two requests it holds
//! no memory but its own size.
//!
//! In a drain the connection closes behind the last request whose head is there, so that a pipeline gets all its
//! answers.

use std::time::Duration;

use crate::{
    answer::{Host, write},
    body::Body,
    request::{Connection, Length, Request},
    routes::Answer,
    status::Status,
};

#[derive(Default)]
pub(crate) struct Session {
    /// A request whose body has not all come.
    incoming: Option<Box<Incoming>>,
    /// Bytes of the last answer's body that are still to be written.
    filler: u64,
    /// What follows the last answer.
    end: Option<End>,
}

struct Incoming {
    request: Pending,
    body: Body,
}

/// What the answer depends on when the head is gone.
struct Pending {
    answer: Answer,
    is_head: bool,
    connection: Connection,
}

/// What has to happen before there is more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// More input.
    Input,
    /// Room in the output: then [`Session::fill`] goes on, and after it [`Session::receive`] with the rest.
    Room,
    /// Nothing more will be answered.
    End(End),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The client has asked for it, so it sends no more.
    Close,
    /// The client may still be sending, and a reset would destroy the answer.
    Linger,
    /// The process ends, too, with this code.
    Exit(u8),
}

impl Session {
    /// Answers what is complete in `input`. Returns how many bytes are done with; show the rest again with more behind
    /// it.
    pub(crate) fn receive(&mut self, input: &[u8], host: &mut impl Host) -> (usize, Next) {
        let mut used = 0;
        loop {
            let next = self.fill(host);
            let rest = &input[used..];
            if next != Next::Input || rest.is_empty() {
                return (used, next);
            }
            let read = if self.incoming.is_some() { self.read_body(rest, host) } else { self.read_head(rest, host) };
            match read {
                Ok(0) => return (used, Next::Input),
                Ok(count) => used += count,
                Err(status) => self.refuse(status, host),
            }
        }
    }

    /// Goes on with the answer that is not all written, if there is one.
    #[inline]
    pub(crate) fn fill(&mut self, host: &mut impl Host) -> Next {
        if self.filler > 0 {
            self.write_filler(host);
        }
        match self.end {
            _ if self.filler > 0 => Next::Room,
            Some(end) => Next::End(end),
            None if host.is_full() => Next::Room,
            None => Next::Input,
        }
    }

    /// The rest of a request has not come in time.
    pub(crate) fn time_out(&mut self, host: &mut impl Host) -> Next {
        if self.end.is_none() && self.filler == 0 {
            self.refuse(Status::RequestTimeout, host);
        }
        self.fill(host)
    }

    /// What is not complete by now will never be.
    pub(crate) fn end_of_input(&mut self, host: &mut impl Host) -> Next {
        self.end = self.end.or(Some(End::Close));
        self.fill(host)
    }

    /// In the middle of a request, although all that has come of it is used.
    pub(crate) fn is_in_body(&self) -> bool {
        self.incoming.is_some()
    }

    /// What the process is to end with when the answer is out.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self.end {
            Some(End::Exit(code)) => Some(code),
            Some(End::Close | End::Linger) | None => None,
        }
    }

    #[inline(never)]
    fn write_filler(&mut self, host: &mut impl Host) {
        while self.filler > 0 && !host.is_full() {
            let piece = usize::try_from(self.filler).unwrap_or(usize::MAX).min(FILLER.len());
            host.output().extend_from_slice(&FILLER[..piece]);
            self.filler -= piece as u64;
        }
    }

    #[inline]
    fn read_head(&mut self, input: &[u8], host: &mut impl Host) -> Result<usize, Status> {
        // Some clients send an empty line behind a body (RFC 9112, 2.2); it begins no request.
        if input.starts_with(b"\r\n") {
            return Ok(2);
        }
        let Some(request) = Request::parse(input)? else { return Ok(0) };
        let Request { head, length, connection, .. } = request;
        let pending = Pending { answer: Answer::to(&request), is_head: request.is_head(), connection };
        let behind = &input[head..];
        if let (Length::Fixed(length), false) = (length, request.expects_continue) {
            if let Some((content, behind)) = behind.split_at_checked(length) {
                self.answer(&pending, content, behind, host);
                return Ok(head + length);
            }
        }
        self.begin_body(&request, pending, behind, host)
    }

    /// Its body has not all come, or waits for a word from here.
    #[inline(never)]
    fn begin_body(
        &mut self,
        request: &Request<'_>,
        mut pending: Pending,
        behind: &[u8],
        host: &mut impl Host,
    ) -> Result<usize, Status> {
        if request.expects_continue {
            if pending.answer.is_refusal() {
                // Whether the body will come is unknown.
                pending.connection = Connection::Closes;
                self.answer(&pending, &[], behind, host);
                self.end = Some(End::Linger);
                return Ok(request.head);
            }
            if behind.is_empty() {
                host.output().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
        }
        let body = Body::new(request.length, matches!(pending.answer, Answer::Echo));
        self.incoming = Some(Box::new(Incoming { request: pending, body }));
        Ok(request.head)
    }

    #[inline(never)]
    fn read_body(&mut self, input: &[u8], host: &mut impl Host) -> Result<usize, Status> {
        let Some(mut incoming) = self.incoming.take() else { return Ok(0) };
        let (used, is_all) = incoming.body.read(input)?;
        if is_all {
            self.answer(&incoming.request, incoming.body.content(), &input[used..], host);
        } else {
            self.incoming = Some(incoming);
        }
        Ok(used)
    }

    /// `behind`: what has come behind the request.
    #[inline]
    fn answer(&mut self, to: &Pending, content: &[u8], behind: &[u8], host: &mut impl Host) {
        if let Answer::Sleep(ms) = to.answer {
            host.sleep(Duration::from_millis(ms));
        }
        host.count();
        self.end = if let Answer::Exit(code) = to.answer {
            Some(End::Exit(code))
        } else if to.connection == Connection::Closes {
            Some(End::Close)
        } else {
            (host.is_draining() && !holds_a_head(behind)).then_some(End::Linger)
        };
        let connection = if self.end.is_some() { Connection::Closes } else { to.connection };
        self.filler = write(&to.answer, connection, to.is_head, content, host);
    }

    #[cold]
    fn refuse(&mut self, status: Status, host: &mut impl Host) {
        write(&Answer::Plain(status), Connection::Closes, false, &[], host);
        self.incoming = None;
        self.end = Some(End::Linger);
    }
}

#[cold]
fn holds_a_head(input: &[u8]) -> bool {
    input.windows(4).any(|bytes| bytes == b"\r\n\r\n")
}

static FILLER: [u8; 64 << 10] = [b'x'; 64 << 10];
