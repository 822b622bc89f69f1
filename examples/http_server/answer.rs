//! How answers are written. Pure but for [`Host`], which the worker and the tests implement.

use std::{
    fmt::{Arguments, Display},
    io::Write,
    time::Duration,
};

use crate::{
    date::Field,
    routes::{Allowed, Answer},
    status::Status,
};

/// The world of a session: the output of its connection, and the process that answers.
pub(crate) trait Host {
    fn output(&mut self) -> &mut Vec<u8>;
    /// The peer takes its answers more slowly than it asks: answer no more until this is false.
    fn is_full(&self) -> bool;
    fn is_draining(&self) -> bool;
    fn date(&self) -> Field;
    fn worker(&self) -> impl Display;
    fn pid(&self) -> u32;
    /// A request is answered.
    fn count(&mut self);
    /// Blocks the thread, and with it every connection of this worker: that is what `/sleep` is for.
    fn sleep(&mut self, time: Duration);
}

/// What becomes of the connection, as the head of the answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Connection {
    /// It stays, as is usual since HTTP/1.1.
    Stays,
    /// It stays, as a client of HTTP/1.0 has asked for.
    KeptAlive,
    Closes,
}

/// Writes the answer, or only its head. `content`: what the request has brought. Returns how many bytes of filler
/// belong behind it.
pub(crate) fn write(
    answer: Answer,
    connection: Connection,
    head_only: bool,
    content: &[u8],
    host: &mut impl Host,
) -> u64 {
    let (mut room, mut digits) = ([0; ROOM], [0; DIGITS]);
    let (status, fields, body) = parts(answer, content, host, &mut room);
    let (length, text, filler) = match body {
        Body::Bytes(bytes) => (bytes.len() as u64, bytes, 0),
        Body::Filler(count) => (count, &[] as &[u8], count),
    };
    let end: &[u8] = match connection {
        Connection::Stays => b"\r\n\r\n",
        Connection::KeptAlive => b"\r\nConnection: keep-alive\r\n\r\n",
        Connection::Closes => b"\r\nConnection: close\r\n\r\n",
    };
    let date = host.date();
    let output = host.output();
    output.reserve(HEAD + text.len());
    output.extend_from_slice(status.line().as_bytes());
    output.extend_from_slice(&date);
    output.extend_from_slice(fields.as_bytes());
    output.extend_from_slice(decimal(length, &mut digits));
    output.extend_from_slice(end);
    if head_only {
        return 0;
    }
    output.extend_from_slice(text);
    filler
}

/// Status, fields up to the length of the body, and the body.
fn parts<'a>(
    answer: Answer,
    content: &'a [u8],
    host: &impl Host,
    room: &'a mut [u8; ROOM],
) -> (Status, &'static str, Body<'a>) {
    let ok = |body: &'a [u8]| (Status::Ok, TEXT, Body::Bytes(body));
    match answer {
        Answer::Hello => ok(b"Hello, World!"),
        Answer::Cluster => ok(text(room, format_args!("Running on worker with id ==> {}", host.worker()))),
        Answer::Pid => ok(text(room, format_args!("{}", host.pid()))),
        Answer::Sleep(ms) => ok(text(room, format_args!("slept {ms} ms"))),
        Answer::Bytes(count) => (Status::Ok, TEXT, Body::Filler(count)),
        Answer::Echo => (Status::Ok, OCTETS, Body::Bytes(content)),
        Answer::Exit(code) => ok(text(room, format_args!("exiting with code {code}"))),
        Answer::WrongNumber(numbered) => {
            let (path, limit) = (numbered.path, numbered.limit);
            let body = text(room, format_args!("{path}/N takes N from 0 to {limit}"));
            (Status::BadRequest, TEXT, Body::Bytes(body))
        }
        Answer::WrongMethod(allowed) => {
            let fields = match allowed {
                Allowed::GetAndHead => ALLOW_GET_AND_HEAD,
                Allowed::Post => ALLOW_POST,
            };
            (Status::MethodNotAllowed, fields, Body::Bytes(Status::MethodNotAllowed.reason().as_bytes()))
        }
        Answer::Plain(status) => (status, TEXT, Body::Bytes(status.reason().as_bytes())),
    }
}

enum Body<'a> {
    Bytes(&'a [u8]),
    /// So many bytes, never held in memory.
    Filler(u64),
}

/// Without an allocation.
fn text<'a>(room: &'a mut [u8; ROOM], text: Arguments<'_>) -> &'a [u8] {
    let mut rest = &mut room[..];
    rest.write_fmt(text).expect("every text of `parts` fits");
    let length = ROOM - rest.len();
    &room[..length]
}

fn decimal(mut number: u64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut begin = DIGITS;
    loop {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[begin..];
        }
    }
}

/// The longest text, with the largest number.
const ROOM: usize = "Running on worker with id ==> 18446744073709551615".len();

/// Of `u64::MAX`.
const DIGITS: usize = 20;

/// The longest head.
const HEAD: usize = 256;

const TEXT: &str = "Content-Type: text/plain\r\nContent-Length: ";
const OCTETS: &str = "Content-Type: application/octet-stream\r\nContent-Length: ";
const ALLOW_GET_AND_HEAD: &str = "Allow: GET, HEAD\r\nContent-Type: text/plain\r\nContent-Length: ";
const ALLOW_POST: &str = "Allow: POST\r\nContent-Type: text/plain\r\nContent-Length: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_is_that_of_the_standard_library() {
        for number in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; DIGITS]), number.to_string().as_bytes());
        }
    }
}
