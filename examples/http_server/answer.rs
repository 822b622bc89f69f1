//! How answers are written. Pure but for [`Host`], which the worker and the tests implement.

use std::{
    fmt::{Arguments, Display},
    io::Write,
    time::Duration,
};

use crate::{
    date::Date,
    request::Connection,
    routes::{Allowed, Answer},
    status::Status,
};

/// The world of a session: the output of its connection, and the process that answers.
pub(crate) trait Host {
    fn output(&mut self) -> &mut Vec<u8>;
    /// Both at once, as the date is written to the output.
    fn output_and_date(&mut self) -> (&mut Vec<u8>, &Date);
    /// The peer takes its answers more slowly than it asks: answer no more until this is false.
    fn is_full(&self) -> bool;
    fn is_draining(&self) -> bool;
    /// What `/` answers.
    fn greeting(&self) -> &'static [u8];
    fn worker(&self) -> impl Display;
    fn pid(&self) -> u32;
    /// A request is answered.
    fn count(&mut self);
    /// Blocks the thread, and with it every connection of this worker: that is what `/sleep` is for.
    fn sleep(&mut self, time: Duration);
}

/// Writes the answer, or only its head. `content`: what the request has brought. Returns how many bytes of filler
/// belong behind it.
pub(crate) fn write(
    answer: &Answer,
    connection: Connection,
    head_only: bool,
    content: &[u8],
    host: &mut impl Host,
) -> u64 {
    let mut room = [0; ROOM];
    let (kind, body) = parts(answer, content, host, &mut room);
    let (length, text, filler) = match body {
        Body::Bytes(bytes) => (bytes.len() as u64, bytes, 0),
        Body::Filler(count) => (count, &[] as &[u8], count),
    };
    let (output, date) = host.output_and_date();
    output.reserve(HEAD + text.len());
    match kind {
        Kind::Text => output.extend_from_slice(date.begin_of_text()),
        Kind::Other(status, fields) => {
            output.extend_from_slice(status.line().as_bytes());
            output.extend_from_slice(date.field());
            output.extend_from_slice(fields.as_bytes());
        }
    }
    push_decimal(output, length);
    match connection {
        Connection::Stays => output.extend_from_slice(b"\r\n\r\n"),
        Connection::KeptAlive => output.extend_from_slice(b"\r\nConnection: keep-alive\r\n\r\n"),
        Connection::Closes => output.extend_from_slice(b"\r\nConnection: close\r\n\r\n"),
    }
    if head_only {
        return 0;
    }
    output.extend_from_slice(text);
    filler
}

/// The kind of the head, and the body.
fn parts<'a>(answer: &Answer, content: &'a [u8], host: &impl Host, room: &'a mut [u8; ROOM]) -> (Kind, Body<'a>) {
    let ok = |body: &'a [u8]| (Kind::Text, Body::Bytes(body));
    let other = |status, fields, body: &'a [u8]| (Kind::Other(status, fields), Body::Bytes(body));
    match *answer {
        Answer::Hello => ok(host.greeting()),
        Answer::Cluster => ok(text(room, format_args!("Running on worker with id ==> {}", host.worker()))),
        Answer::Pid => ok(text(room, format_args!("{}", host.pid()))),
        Answer::Sleep(ms) => ok(text(room, format_args!("slept {ms} ms"))),
        Answer::Bytes(count) => (Kind::Text, Body::Filler(count)),
        Answer::Echo => other(Status::Ok, OCTETS, content),
        Answer::Exit(code) => ok(text(room, format_args!("exiting with code {code}"))),
        Answer::WrongNumber(numbered) => {
            let (path, limit) = (numbered.path, numbered.limit);
            other(Status::BadRequest, TEXT, text(room, format_args!("{path}/N takes N from 0 to {limit}")))
        }
        Answer::WrongMethod(allowed) => {
            let fields = match allowed {
                Allowed::GetAndHead => ALLOW_GET_AND_HEAD,
                Allowed::Post => ALLOW_POST,
            };
            other(Status::MethodNotAllowed, fields, Status::MethodNotAllowed.reason().as_bytes())
        }
        Answer::Plain(status) => other(status, TEXT, status.reason().as_bytes()),
    }
}

enum Kind {
    /// A text with status 200.
    Text,
    /// The fields end with the name of the length.
    Other(Status, &'static str),
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

#[inline]
fn push_decimal(output: &mut Vec<u8>, number: u64) {
    let digit = |number: u64| b'0' + (number % 10) as u8;
    match number {
        0..10 => output.push(digit(number)),
        10..100 => output.extend_from_slice(&[digit(number / 10), digit(number)]),
        _long => write!(output, "{number}").expect("a Vec takes every write"),
    }
}

/// The longest text, with the largest number.
const ROOM: usize = "Running on worker with id ==> 18446744073709551615".len();

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
            let mut output = Vec::new();
            push_decimal(&mut output, number);
            assert_eq!(output, number.to_string().as_bytes());
        }
    }
}
