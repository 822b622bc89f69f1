//! The HTTP/1 side of one connection without its socket: bytes in, answers out. Pure, so every order of arrival is a
//! unit test.
//!
//! It answers every complete request that it is shown, in order, and skips their bodies. It answers nothing behind a
//! request after which the connection closes, and nothing while the output is full.

use std::io::Write;

use crate::{
    output::Output,
    request::Request,
    routes::{Answer, Body, Host},
    status::Status,
};

#[derive(Default)]
pub(crate) struct Session {
    /// Bytes of the last request's body that are still to come.
    skip: u64,
}

/// What has to happen before there is more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// More input.
    Read,
    /// Room in the output.
    Write,
    /// Nothing more will be answered: write what is there, then close.
    Close,
    /// The same, and end the process with this code.
    Exit(u8),
}

impl Session {
    /// Answers what is complete in `input`. Returns how many bytes are done with; show the rest again with more behind
    /// it.
    pub(crate) fn answer(&mut self, input: &[u8], host: &impl Host, output: &mut Output) -> (usize, Next) {
        let mut used = 0;
        loop {
            used += self.skip_body(&input[used..]);
            used += empty_lines(&input[used..]);
            if used == input.len() {
                return (used, Next::Read);
            }
            if output.is_full() {
                return (used, Next::Write);
            }
            match Request::parse(&input[used..]) {
                Ok(None) => return (used, Next::Read),
                Ok(Some(request)) => {
                    used += request.head;
                    self.skip = request.body;
                    if let Some(end) = respond(&request, host, output) {
                        return (used, end);
                    }
                }
                Err(status) => {
                    write_answer(&Answer::refusal(status), "Connection: close\r\n", true, output);
                    return (used, Next::Close);
                }
            }
        }
    }

    /// Whether the last request was received to its end.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.skip == 0
    }

    fn skip_body(&mut self, input: &[u8]) -> usize {
        let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(input.len());
        self.skip -= here as u64;
        here
    }
}

fn respond(request: &Request<'_>, host: &impl Host, output: &mut Output) -> Option<Next> {
    let answer = Answer::to(request, host);
    host.count();
    // Asked for after the answer was made: a drain may have begun during a sleep.
    let end = match answer.exit {
        Some(code) => Some(Next::Exit(code)),
        None if request.keep_alive && !host.is_draining() => None,
        None => Some(Next::Close),
    };
    let connection = match end {
        Some(_) => "Connection: close\r\n",
        None if request.http_1_0 => "Connection: keep-alive\r\n",
        None => "",
    };
    write_answer(&answer, connection, request.method != "HEAD", output);
    end
}

fn write_answer(answer: &Answer, connection: &str, with_body: bool, output: &mut Output) {
    let length = match &answer.body {
        Body::Text(text) => text.len() as u64,
        Body::Filler(count) => *count,
    };
    let allow = if answer.status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let status = answer.status.line();
    write!(
        output.text(),
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{allow}{connection}\r\n"
    )
    .expect("a Vec takes every write");
    match &answer.body {
        _ if !with_body => {}
        Body::Text(text) => output.text().extend_from_slice(text.as_bytes()),
        Body::Filler(count) => output.fill(*count),
    }
}

/// Some clients send an empty line behind a body (RFC 9112, 2.2); it begins no request.
fn empty_lines(input: &[u8]) -> usize {
    input.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2
}
