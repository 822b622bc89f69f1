//! Raw requests and their answers: whole, and cut at every place, for the bytes of a stream arrive in any pieces.

use std::{cell::RefCell, fmt::Display, time::Duration};

use clap::Parser;
use mio_cluster::mio::Token;

use crate::{
    Options,
    output::Output,
    routes::Host,
    session::{Next, Session},
    table::Table,
};

/// Bad usage ends with 2 and names what is wrong; what a later version can do is told from a typing error.
#[test]
fn bad_usage_is_told() {
    let told = |arguments: &[&str]| {
        let arguments = ["http_server"].iter().chain(arguments);
        let error = Options::try_parse_from(arguments).err().expect("bad usage");
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    assert!(told(&["--nope"]).contains("--nope"));
    assert!(told(&["--workers", "many"]).contains("many"));
    for later in ["least-loaded", "cpu", "source-ip"] {
        assert!(told(&["--balance", later]).contains("not available in this version"));
    }
    assert!(told(&["--balance", "fair"]).contains("expected auto or kernel"));
    assert!(Options::try_parse_from(["http_server", "--balance", "kernel"]).is_ok());
}

const CLOSE: &str = "Connection: close\r\n";
const KEEP: &str = "Connection: keep-alive\r\n";
const ALLOW: &str = "Allow: GET, HEAD\r\n";
const ALLOW_CLOSE: &str = "Allow: GET, HEAD\r\nConnection: close\r\n";

/// Raw bytes · answers, each as status, fields and body · what the session wants then.
type Case = (&'static str, &'static [(&'static str, &'static str, &'static str)], Next);

const HELLO: (&str, &str, &str) = ("200 OK", "", "Hello, World!");
const LAST_HELLO: (&str, &str, &str) = ("200 OK", CLOSE, "Hello, World!");
const MALFORMED: (&str, &str, &str) = ("400 Bad Request", CLOSE, "Bad Request");
const UNKNOWN: (&str, &str, &str) = ("404 Not Found", "", "Not Found");
const WRONG_METHOD: (&str, &str, &str) = ("405 Method Not Allowed", ALLOW, "Method Not Allowed");

const CASES: &[Case] = &[
    // Routes.
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], Next::Read),
    ("GET /?q=/pid HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], Next::Read),
    ("GET http://a:8000/pid HTTP/1.1\r\nHost: a\r\n\r\n", &[("200 OK", "", "4242")], Next::Read),
    ("GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], Next::Read),
    ("GET /cluster HTTP/1.1\r\nHost: a\r\n\r\n", &[("200 OK", "", "Running on worker with id ==> 7")], Next::Read),
    ("GET /sleep/25 HTTP/1.1\r\nHost: a\r\n\r\n", &[("200 OK", "", "slept 25 ms")], Next::Read),
    ("GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n", &[("200 OK", "", "xxx")], Next::Read),
    ("GET /bytes/0 HTTP/1.1\r\nHost: a\r\n\r\n", &[("200 OK", "", "")], Next::Read),
    ("GET /exit/7 HTTP/1.1\r\nHost: a\r\n\r\nGET / H", &[("200 OK", CLOSE, "exiting with code 7")], Next::Exit(7)),
    ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], Next::Read),
    ("GET /pid/ HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], Next::Read),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], Next::Read),
    (
        "GET /sleep/60001 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("400 Bad Request", "", "/sleep/N takes N from 0 to 60000")],
        Next::Read,
    ),
    (
        "GET /exit/+1 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("400 Bad Request", "", "/exit/N takes N from 0 to 255")],
        Next::Read,
    ),
    // Methods and bodies.
    ("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", &[WRONG_METHOD], Next::Read),
    ("POST /exit/7 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[WRONG_METHOD], Next::Read),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET / HTTGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[WRONG_METHOD, HELLO],
        Next::Read,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\nab", &[HELLO], Next::Read),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        &[("405 Method Not Allowed", ALLOW_CLOSE, "Method Not Allowed")],
        Next::Close,
    ),
    // Keeping the connection.
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO, HELLO], Next::Read),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", &[HELLO], Next::Read),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\nGET / HTTP/1.1\r\n", &[LAST_HELLO], Next::Close),
    ("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", &[LAST_HELLO], Next::Close),
    (
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("200 OK", KEEP, "Hello, World!"), HELLO],
        Next::Read,
    ),
    // Incomplete and malformed.
    ("", &[], Next::Read),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r", &[], Next::Read),
    ("nonsense\r\n\r\n", &[MALFORMED], Next::Close),
    ("GET / HTTP/2.0\r\n\r\n", &[MALFORMED], Next::Close),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[MALFORMED], Next::Close),
    ("GET / HTTP/1.1\r\n\r\n", &[MALFORMED], Next::Close),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &[MALFORMED], Next::Close),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n\u{1}\r\n\r\n", &[HELLO, MALFORMED], Next::Close),
    ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", &[MALFORMED], Next::Close),
    ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", &[MALFORMED], Next::Close),
    ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", &[MALFORMED], Next::Close),
    ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", &[MALFORMED], Next::Close),
    ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", &[MALFORMED], Next::Close),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[("501 Not Implemented", CLOSE, "Not Implemented")],
        Next::Close,
    ),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", &[MALFORMED], Next::Close),
];

#[test]
fn every_request_gets_its_answer_however_it_is_cut() {
    for (raw, answers, end) in CASES {
        let expected: String = answers.iter().map(|(status, fields, body)| text(status, fields, body, body)).collect();
        let whole = Client::default().sends(&[raw.as_bytes()]);
        assert_eq!(whole, (expected, *end), "{raw:?}");
        for cut in 0..=raw.len() {
            let (a, b) = raw.as_bytes().split_at(cut);
            assert_eq!(Client::default().sends(&[a, b]), whole, "{raw:?} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = raw.as_bytes().chunks(1).collect();
        assert_eq!(Client::default().sends(&bytes), whole, "{raw:?} byte by byte");
    }
}

#[test]
fn head_gets_the_head_of_the_answer_to_get() {
    let (answer, end) = Client::default().sends(&[b"HEAD /bytes/67108864 HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 67108864\r\n\r\n");
    assert_eq!(end, Next::Read);
    let (answer, _) =
        Client::default().sends(&[b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!(answer, text("200 OK", "", "Hello, World!", "") + &text("404 Not Found", "", "Not Found", ""));
}

#[test]
fn a_head_may_have_16_kib_and_64_fields() {
    let long = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - rest))
    };
    let many = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields - 1));
    let reason = "Request Header Fields Too Large";
    let refused = text("431 Request Header Fields Too Large", CLOSE, reason, reason);
    for fits in [long(16 << 10), many(64)] {
        assert_eq!(Client::default().sends(&[fits.as_bytes()]).1, Next::Read);
    }
    for too_large in [long((16 << 10) + 1), many(65), "x".repeat(16 << 10)] {
        for size in [too_large.len(), 1000] {
            let pieces: Vec<&[u8]> = too_large.as_bytes().chunks(size).collect();
            assert_eq!(Client::default().sends(&pieces), (refused.clone(), Next::Close), "pieces of {size}");
        }
    }
}

#[test]
fn a_pipeline_is_answered_at_once_until_the_output_is_full() {
    let (host, mut session, mut output) = (Fixed::default(), Session::default(), Output::default());
    let hello = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10);
    assert_eq!(session.answer(hello.as_bytes(), &host, &mut output), (hello.len(), Next::Read));
    assert_eq!(String::from_utf8_lossy(output.chunk()).matches("Hello").count(), 10);

    let large = "GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = large.repeat(2);
    assert_eq!(session.answer(input.as_bytes(), &host, &mut output), (large.len(), Next::Write));
    let first = drain(&mut output);
    assert!(first.ends_with(&[b"\r\n\r\n".as_slice(), &[b'x'; 1_000_000]].concat()));
    assert_eq!(session.answer(&input.as_bytes()[large.len()..], &host, &mut output), (large.len(), Next::Read));
    assert!(first.ends_with(&drain(&mut output)), "the second answer is whole and like the first");
}

#[test]
fn text_fills_the_output_too() {
    let (host, mut session, mut output) = (Fixed::default(), Session::default(), Output::default());
    let input = "GET /bytes/60000 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let (used, next) = session.answer(input.as_bytes(), &host, &mut output);
    assert_eq!((used * 100 / input.len(), next), (18, Next::Write), "18 answers of 60 000 bytes are more than 1 MiB");
    assert!(output.is_full() && !output.is_empty());
}

#[test]
fn while_draining_every_answer_is_the_last_one() {
    let client = Client { host: Fixed { drains: true, ..Fixed::default() }, ..Client::default() };
    let answers = client.sends(&[b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!(answers, (text("200 OK", CLOSE, "Hello, World!", "Hello, World!"), Next::Close));
}

#[test]
fn a_session_is_between_requests_unless_a_body_is_missing() {
    let (host, mut session, mut output) = (Fixed::default(), Session::default(), Output::default());
    assert!(session.is_between_requests());
    session.answer(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", &host, &mut output);
    assert!(!session.is_between_requests());
    session.answer(b"b", &host, &mut output);
    assert!(session.is_between_requests());
}

#[test]
fn a_sleep_takes_the_time_that_the_path_says() {
    let (host, mut session, mut output) = (Fixed::default(), Session::default(), Output::default());
    session.answer(
        b"HEAD /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\nPUT /sleep/1 HTTP/1.1\r\nHost: a\r\n\r\n",
        &host,
        &mut output,
    );
    assert_eq!(*host.slept.borrow(), [Duration::from_secs(60)]);
}

#[test]
fn a_token_of_an_earlier_connection_finds_nothing() {
    let mut table = Table::new();
    let [first, other] = ["first", "other"].map(|name| table.insert_with(|_| Ok(name)).unwrap());
    assert_eq!(table.remove(first), Some("first"));
    let second = table.insert_with(|_| Ok("second")).unwrap();
    assert!(first != second && table.tokens().contains(&second), "the index is used again, the token is not");
    assert_eq!(table.get_mut(first), None);
    assert_eq!(table.remove(first), None);
    assert_eq!(table.get_mut(second).copied(), Some("second"));
    assert_eq!(table.get_mut(other).copied(), Some("other"));
    assert_eq!(table.get_mut(Token(0)), None, "the tokens of doors are no connections");
    assert!(table.insert_with(|_| Err(std::io::Error::other("refused"))).is_err());
    assert_eq!(table.len(), 2);
}

/// A client that reads all that it is sent.
#[derive(Default)]
struct Client {
    host: Fixed,
    session: Session,
}

impl Client {
    fn sends(mut self, pieces: &[&[u8]]) -> (String, Next) {
        let (mut input, mut output, mut answers) = (Vec::new(), Output::default(), Vec::new());
        let mut end = Next::Read;
        for piece in pieces {
            input.extend_from_slice(piece);
            while !matches!(end, Next::Close | Next::Exit(_)) {
                let (used, next) = self.session.answer(&input, &self.host, &mut output);
                input.drain(..used);
                answers.extend(drain(&mut output));
                end = next;
                if next == Next::Read {
                    break;
                }
            }
        }
        (String::from_utf8(answers).expect("answers are ASCII"), end)
    }
}

#[derive(Default)]
struct Fixed {
    drains: bool,
    slept: RefCell<Vec<Duration>>,
}

impl Host for Fixed {
    fn worker(&self) -> impl Display {
        7
    }

    fn pid(&self) -> u32 {
        4242
    }

    fn is_draining(&self) -> bool {
        self.drains
    }

    fn count(&self) {}

    fn sleep(&self, time: Duration) {
        self.slept.borrow_mut().push(time);
    }
}

fn drain(output: &mut Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !output.is_empty() {
        // Odd sizes, as sockets take them.
        let taken = output.chunk().len().min(4099);
        bytes.extend_from_slice(&output.chunk()[..taken]);
        output.wrote(taken);
    }
    bytes
}

fn text(status: &str, fields: &str, whole_body: &str, body: &str) -> String {
    let length = whole_body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}
