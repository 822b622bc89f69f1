//! Raw requests and their answers: whole, and cut at every place.

use super::{CLOSE, Client, Expected, INPUT, LINGER, TEXT, last, ok, written};
use crate::session::{End, Next};

/// Raw bytes, answers, and what the session wants then.
type Case = (&'static str, &'static [Expected], Next);

const HELLO: Expected = ok("Hello, World!");
const KEPT_HELLO: Expected = ("200 OK", TEXT, "Connection: keep-alive\r\n", "Hello, World!");
const UNKNOWN: Expected = ("404 Not Found", TEXT, "", "Not Found");
const NO_GET: Expected =
    ("405 Method Not Allowed", "Allow: POST\r\nContent-Type: text/plain\r\n", "", "Method Not Allowed");
const ONLY_GET: Expected =
    ("405 Method Not Allowed", "Allow: GET, HEAD\r\nContent-Type: text/plain\r\n", "", "Method Not Allowed");
const UNKNOWN_METHOD: Expected = ("501 Not Implemented", TEXT, "", "Not Implemented");
const BAD: Expected = last(("400 Bad Request", TEXT, "", "Bad Request"));
const TOO_LARGE: Expected = last(("413 Content Too Large", TEXT, "", "Content Too Large"));
const NOT_EXPECTED: Expected = last(("417 Expectation Failed", TEXT, "", "Expectation Failed"));
const OTHER_VERSION: Expected = last(("505 HTTP Version Not Supported", TEXT, "", "HTTP Version Not Supported"));

const fn wrong(text: &'static str) -> Expected {
    ("400 Bad Request", TEXT, "", text)
}

const fn echo(body: &'static str) -> Expected {
    ("200 OK", "Content-Type: application/octet-stream\r\n", "", body)
}

const ROUTES: &[Case] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], INPUT),
    ("GET /?q=/pid HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], INPUT),
    ("GET http://a:8000/pid?q HTTP/1.1\r\nHost: a\r\n\r\n", &[ok("4242")], INPUT),
    ("GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], INPUT),
    ("GET http://a?/pid HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO], INPUT),
    ("GET /cluster HTTP/1.1\r\nHost: a\r\n\r\n", &[ok("Running on worker with id ==> 7")], INPUT),
    ("GET /sleep/25 HTTP/1.1\r\nHost: a\r\n\r\n", &[ok("slept 25 ms")], INPUT),
    ("GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n", &[ok("xxx")], INPUT),
    ("GET /bytes/0 HTTP/1.1\r\nHost: a\r\n\r\n", &[ok("")], INPUT),
    ("GET /exit/7 HTTP/1.1\r\nHost: a\r\n\r\nGET / H", &[last(ok("exiting with code 7"))], Next::End(End::Exit(7))),
    ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], INPUT),
    ("GET /pid/ HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], INPUT),
    ("GET /exit HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], INPUT),
    ("GET /%70id HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], INPUT),
    ("GET /sleep/60001 HTTP/1.1\r\nHost: a\r\n\r\n", &[wrong("/sleep/N takes N from 0 to 60000")], INPUT),
    ("GET /bytes/ HTTP/1.1\r\nHost: a\r\n\r\n", &[wrong("/bytes/N takes N from 0 to 67108864")], INPUT),
    ("GET /exit/+1 HTTP/1.1\r\nHost: a\r\n\r\n", &[wrong("/exit/N takes N from 0 to 255")], INPUT),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], INPUT),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", &[UNKNOWN], INPUT),
];

const METHODS: &[Case] = &[
    ("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", &[ONLY_GET], INPUT),
    ("POST /exit/7 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[ONLY_GET], INPUT),
    ("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[NO_GET], INPUT),
    ("POST /nothing HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN], INPUT),
    ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", &[UNKNOWN_METHOD], INPUT),
    ("get /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", &[UNKNOWN_METHOD], INPUT),
];

const BODIES: &[Case] = &[
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[echo("hello")], INPUT),
    ("POST /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[echo("")], INPUT),
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[echo("GET "), HELLO],
        INPUT,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[HELLO, HELLO],
        INPUT,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET / HTTGET", &[ONLY_GET], INPUT),
    ("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nabGET", &[last(echo("ab"))], CLOSE),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", &[], INPUT),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", &[TOO_LARGE], LINGER),
    // Chunked.
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
        &[echo("hello0123456789")],
        INPUT,
    ),
    (
        "POST /echo HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\nA: b\r\nContent-Length:\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[echo(""), HELLO],
        INPUT,
    ),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \t;\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[ONLY_GET, HELLO],
        INPUT,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", &[HELLO], INPUT),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", &[TOO_LARGE], LINGER),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", &[TOO_LARGE], LINGER),
];

/// Behind `PUT / HTTP/1.1`, `Host: a` and `Transfer-Encoding: chunked`.
const BAD_CHUNKS: &[&str] = &[
    "\r\n",
    "g\r\n",
    "-1\r\n",
    "+1\r\n",
    "0x1\r\n",
    " 1\r\n",
    "1 \r\n",
    "1\n",
    "1;\n",
    "1;\r\r",
    "1;\0\r\n",
    "1;\u{7f}\r\n",
    "1\r\nab",
    "1\r\na\n",
    "1\r\na\r\r",
    "00000000000000001\r\n",
    "10000000000000000\r\n",
    "0\r\n\n",
    "0\r\n\r\r",
    "0\r\n a: b\r\n",
    "0\r\n: b\r\n",
    "0\r\na : b\r\n",
    "0\r\na\r\n",
    "0\r\na: b\n",
    "0\r\na: b\r\r",
    "0\r\na: \0",
];

const EXPECTATIONS: &[Case] = &[
    ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", &[echo("ab")], INPUT),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 0\r\n\r\n", &[echo("")], INPUT),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &[HELLO], INPUT),
    ("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\nGET", &[last(ONLY_GET)], LINGER),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", &[NOT_EXPECTED], LINGER),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n", &[NOT_EXPECTED], LINGER),
    ("POST /echo HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\na", &[last(echo("a"))], CLOSE),
];

const CONNECTIONS: &[Case] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[HELLO, HELLO], INPUT),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", &[HELLO], INPUT),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\nGET / HTTP/1.1\r\n", &[last(HELLO)], CLOSE),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", &[last(HELLO)], CLOSE),
    ("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", &[last(HELLO)], CLOSE),
    ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[KEPT_HELLO, HELLO], INPUT),
    ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", &[last(HELLO)], CLOSE),
];

const HEADS: &[Case] = &[
    ("", &[], INPUT),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r", &[], INPUT),
    ("GET / HTTP/1.1\r\nHost: a\r\nA:b\r\nC: \t d \t\r\nE:\r\nF: \t\r\nG: \u{fc}\r\n\r\n", &[HELLO], INPUT),
    ("GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", &[HELLO], INPUT),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", &[HELLO], INPUT),
    ("GET / HTTP/2.0\r\n\r\n", &[OTHER_VERSION], LINGER),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[OTHER_VERSION], LINGER),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", &[OTHER_VERSION], LINGER),
    ("GET / HTTP/3", &[OTHER_VERSION], LINGER),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n\u{1}\r\n\r\n", &[HELLO, BAD], LINGER),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", &[last(UNKNOWN_METHOD)], LINGER),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", &[last(UNKNOWN_METHOD)], LINGER),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", &[last(UNKNOWN_METHOD)], LINGER),
];

/// The answer to each is 400, and then the connection closes.
const MALFORMED: &[&str] = &[
    "nonsense\r\n\r\n",
    "GET /\r\n\r\n",
    "GET / \r\n",
    "GET /  HTTP/1.1\r\n",
    "GET  / HTTP/1.1\r\n",
    "GET / HTTP/1.1 \r\n",
    "GET / HTTP/1.11\r\n",
    "GET / http/1.1\r\n",
    "GET / HTTP/1,1\r\n",
    "GET / HTTP/1.x\r\n",
    "GET / HTTP/x.1\r\n",
    "GET / XTTP/1.1\r\n",
    " GET / HTTP/1.1\r\n",
    "GET pid HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:///pid HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\0 HTTP/1.1\r\n",
    "G\u{e4}T / HTTP/1.1\r\n",
    // A proxy may see other lines, other fields or another host.
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\r",
    "GET / HTTP/1.1\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: y \t\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\n",
    "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\r\n",
    "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    // Where the body ends is not clear.
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
    "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "PUT / HTTP/1.0\r\nTransfer-Encoding: x\r\n\r\n",
];

#[test]
fn every_request_gets_its_answer_however_it_is_cut() {
    for (raw, answers, next) in [ROUTES, METHODS, BODIES, EXPECTATIONS, CONNECTIONS, HEADS].into_iter().flatten() {
        let expected: String = answers.iter().map(|&answer| written(answer, true)).collect();
        in_any_pieces(raw, &(expected, *next));
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let refusal = (written(BAD, true), LINGER);
    for raw in MALFORMED {
        in_any_pieces(raw, &refusal);
    }
    for raw in BAD_CHUNKS {
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        in_any_pieces(&format!("{head}{raw}"), &refusal);
    }
}

/// Whole, in two pieces, and byte by byte.
fn in_any_pieces(raw: &str, expected: &(String, Next)) {
    let bytes = raw.as_bytes();
    assert_eq!(Client::told(&[bytes]), *expected, "{raw:?}");
    let cut = |at| Vec::from(<[&[u8]; 2]>::from(bytes.split_at(at)));
    for pieces in (0..=raw.len()).map(cut).chain([bytes.chunks(1).collect()]) {
        let (answers, next) = Client::told(&pieces);
        // Whether the body has begun to come when the head is read depends on the cut.
        let answers = answers.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        assert_eq!((&answers, &next), (&expected.0, &expected.1), "{raw:?} in {pieces:?}");
    }
}
