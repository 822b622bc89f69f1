//! A client of one session, in memory. `cases`: raw requests and their answers; `limits`; `splits`: any requests, and
//! any bytes, in any pieces.

mod cases;
mod limits;
mod options;
mod served;
mod splits;

use std::{fmt::Display, time::Duration};

use crate::{
    answer::Host,
    date::Date,
    session::{End, Next, Session},
};

const INPUT: Next = Next::Input;
const CLOSE: Next = Next::End(End::Close);
const LINGER: Next = Next::End(End::Linger);

/// Reads all that it is sent.
#[derive(Default)]
struct Client {
    session: Session,
    host: Fixed,
    unused: Vec<u8>,
    answers: Vec<u8>,
}

impl Client {
    /// Of a new connection.
    fn told(pieces: &[&[u8]]) -> (String, Next) {
        Self::default().tells(pieces)
    }

    fn tells(mut self, pieces: &[&[u8]]) -> (String, Next) {
        let mut next = Next::Input;
        for piece in pieces {
            next = self.sends(piece);
        }
        (String::from_utf8_lossy(&self.answers).into_owned(), next)
    }

    fn sends(&mut self, piece: &[u8]) -> Next {
        self.unused.extend_from_slice(piece);
        loop {
            let (used, next) = self.session.receive(&self.unused, &mut self.host);
            self.unused.drain(..used);
            assert!(self.host.output.capacity() <= 4 << 20, "no more memory than the largest content takes");
            self.answers.append(&mut self.host.output);
            match next {
                Next::Room => {}
                Next::Input => {
                    assert!(self.unused.len() < 16 << 10, "no more is left than one head");
                    return next;
                }
                Next::End(_) => return next,
            }
        }
    }
}

struct Fixed {
    output: Vec<u8>,
    /// Of the year 1994 until it is told the time.
    date: Date,
    /// Unsent bytes that are full.
    high_water: usize,
    is_draining: bool,
    requests: usize,
    slept: Vec<Duration>,
}

impl Default for Fixed {
    fn default() -> Self {
        Self {
            output: Vec::new(),
            date: Date::new(),
            high_water: 64 << 10,
            is_draining: false,
            requests: 0,
            slept: Vec::new(),
        }
    }
}

impl Host for Fixed {
    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn output_and_date(&mut self) -> (&mut Vec<u8>, &Date) {
        (&mut self.output, &self.date)
    }

    fn is_full(&self) -> bool {
        self.output.len() >= self.high_water
    }

    fn is_draining(&self) -> bool {
        self.is_draining
    }

    fn greeting(&self) -> &'static [u8] {
        b"Hello, World!"
    }

    fn worker(&self) -> impl Display {
        7
    }

    fn pid(&self) -> u32 {
        4242
    }

    fn count(&mut self) {
        self.requests += 1;
    }

    fn sleep(&mut self, time: Duration) {
        self.slept.push(time);
    }
}

/// Status, fields between date and length, connection, body.
type Expected = (&'static str, &'static str, &'static str, &'static str);

const TEXT: &str = "Content-Type: text/plain\r\n";

/// The head says how long the body of the answer to GET is, the body may be missing.
fn written((status, fields, connection, body): Expected, with_body: bool) -> String {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{date}{fields}Content-Length: {length}\r\n{connection}\r\n");
    if with_body { head + body } else { head }
}

const fn ok(body: &'static str) -> Expected {
    ("200 OK", TEXT, "", body)
}

const fn last((status, fields, _, body): Expected) -> Expected {
    (status, fields, "Connection: close\r\n", body)
}
