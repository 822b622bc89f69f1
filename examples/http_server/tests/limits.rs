//! What is not in a table of short requests: large ones, full outputs, ends and times.

use std::time::Duration;

use super::{CLOSE, Client, Fixed, INPUT, LINGER, TEXT, last, ok, written};
use crate::session::{Next, Session};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn hello() -> String {
    written(ok("Hello, World!"), true)
}

#[test]
fn head_gets_the_head_of_the_answer_to_get() {
    let (answer, next) = Client::told(&[b"HEAD /bytes/67108864 HTTP/1.1\r\nHost: a\r\n\r\n"]);
    let (head, rest) = answer.split_once("Content-Length: 67108864\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!((rest, next), ("\r\n", INPUT));
    let (answer, _) = Client::told(&[b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"]);
    let not_found = written(("404 Not Found", TEXT, "", "Not Found"), false);
    assert_eq!(answer, written(ok("Hello, World!"), false) + &not_found);
}

#[test]
fn a_head_may_have_16_kib_and_64_fields() {
    let long = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - rest))
    };
    let many = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(fields - 1));
    let target = |bytes: usize| {
        format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - "GET /? HTTP/1.1\r\nHost: a\r\n\r\n".len()))
    };
    for fits in [long(16 << 10), many(64), target(16 << 10)] {
        assert_eq!(Client::told(&[fits.as_bytes()]), (hello(), INPUT));
    }
    let reason = "Request Header Fields Too Large";
    let large = written(last(("431 Request Header Fields Too Large", TEXT, "", reason)), true);
    let line = written(last(("414 URI Too Long", TEXT, "", "URI Too Long")), true);
    for (too_large, refusal) in [
        (long((16 << 10) + 1), &large),
        (many(65), &large),
        (target((16 << 10) + 1), &large),
        (target((16 << 10) + 14), &line),
        ("x".repeat(16 << 10), &line),
    ] {
        for size in [too_large.len(), 1000] {
            let pieces: Vec<&[u8]> = too_large.as_bytes().chunks(size).collect();
            assert_eq!(Client::told(&pieces), (refusal.clone(), LINGER), "pieces of {size}");
        }
    }
}

#[test]
fn content_may_have_1_mib() {
    let content = "abcdefgh".repeat(128 << 10);
    let fixed = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len());
    let chunks: String = content.as_bytes().chunks(5000).map(chunk).collect();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = format!("Content-Length: {}\r\n\r\n", content.len());
    for request in [fixed, format!("{head}{chunks}0\r\n\r\n")] {
        for size in [request.len(), 4099] {
            let pieces: Vec<&[u8]> = request.as_bytes().chunks(size).collect();
            let (answer, next) = Client::told(&pieces);
            assert!(answer.split_once(&length).is_some_and(|(_, body)| body == content), "pieces of {size}");
            assert_eq!(next, INPUT);
        }
    }
    let refused = written(last(("413 Content Too Large", TEXT, "", "Content Too Large")), true);
    assert_eq!(Client::told(&[head.as_bytes(), chunks.as_bytes(), b"1\r\n"]), (refused.clone(), LINGER));
    // Content that is of no use is not kept, and not without a limit either.
    let useless = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(Client::told(&[useless.as_bytes(), chunks.as_bytes(), b"1\r\n"]), (refused, LINGER));
}

fn chunk(content: &[u8]) -> String {
    format!("{:x}\r\n{}\r\n", content.len(), String::from_utf8_lossy(content))
}

#[test]
fn what_comes_beside_content_may_have_16_kib() {
    let reason = "Request Header Fields Too Large";
    let refused = written(last(("431 Request Header Fields Too Large", TEXT, "", reason)), true);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(1023)).repeat(16);
    let trailer = format!("x:{}\r\n", "x".repeat(1022)).repeat(16);
    for (begin, end, one_more) in [(extensions, "0\r\n\r\n", "1;"), (format!("0\r\n{trailer}"), "\r\n", "x")] {
        let begun = [head.as_bytes(), begin.as_bytes()];
        let (answer, next) = Client::told(&[begun[0], begun[1], end.as_bytes()]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && next == INPUT);
        assert_eq!(Client::told(&[begun[0], begun[1], one_more.as_bytes()]), (refused.clone(), LINGER));
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_once() {
    let mut client = Client::default();
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(client.sends(head), INPUT);
    assert_eq!(client.answers, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.answers.clear();
    assert!(client.session.is_in_body());
    client.sends(b"1\r\na");
    assert!(client.answers.is_empty() && client.host.requests == 0);
    client.sends(b"\r\n0\r\n\r\n");
    assert!(client.answers.starts_with(b"HTTP/1.1 200 OK\r\n") && client.answers.ends_with(b"\r\n\r\na"));
    assert!(!client.session.is_in_body() && client.host.requests == 1);
}

#[test]
fn a_pipeline_is_answered_at_once_until_the_output_is_full() {
    let (mut session, mut host) = (Session::default(), Fixed::default());
    let ten = GET.repeat(10);
    assert_eq!(session.receive(ten.as_bytes(), &mut host), (ten.len(), INPUT));
    assert_eq!(host.output, hello().repeat(10).as_bytes());
    assert_eq!(host.requests, 10);

    host.high_water = host.output.len() + hello().len() + 1;
    assert_eq!(session.receive(ten.as_bytes(), &mut host), (2 * GET.len(), Next::Room));
    assert_eq!(session.receive(ten.as_bytes(), &mut host), (0, Next::Room));
    host.output.clear();
    assert_eq!(session.receive(GET.as_bytes(), &mut host), (GET.len(), INPUT));
    assert_eq!(host.output, hello().as_bytes());
}

#[test]
fn a_large_answer_is_written_in_pieces() {
    let input = "GET /bytes/1000000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /bytes/1000001 HTTP/1.0\r\n\r\n";
    let (mut session, mut host, mut answers) = (Session::default(), Fixed::default(), String::new());
    let (mut used, mut next) = session.receive(input.as_bytes(), &mut host);
    assert_eq!((used, next), (input.len() / 2 + 12, Next::Room));
    while next == Next::Room {
        assert!((64 << 10..129 << 10).contains(&host.output.len()), "full, and not much more");
        answers += std::str::from_utf8(&host.output).unwrap();
        host.output.clear();
        next = session.fill(&mut host);
        if next == INPUT {
            let (more, then) = session.receive(&input.as_bytes()[used..], &mut host);
            (used, next) = (used + more, then);
        }
    }
    answers += std::str::from_utf8(&host.output).unwrap();
    assert_eq!((used, next), (input.len(), CLOSE));
    let (first, second) = answers.split_at(answers.rfind("HTTP/1.1").unwrap());
    assert!(first.ends_with(&format!("\r\nConnection: keep-alive\r\n\r\n{}", "x".repeat(1_000_000))));
    assert!(second.ends_with(&format!("\r\nConnection: close\r\n\r\n{}", "x".repeat(1_000_001))));
}

#[test]
fn in_a_drain_the_answer_to_the_last_request_that_is_there_is_the_last_one() {
    let last_hello = written(last(ok("Hello, World!")), true);
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    let fields = "Allow: GET, HEAD\r\nContent-Type: text/plain\r\n";
    let not_allowed = ("405 Method Not Allowed", fields, "", "Method Not Allowed");
    for (there, answers) in [
        (GET.to_owned(), last_hello.clone()),
        (GET.repeat(3), hello().repeat(2) + &last_hello),
        (format!("{GET}GET / HTTP/1.1\r\nHost"), last_hello.clone()),
        (format!("{GET}{put}ab"), hello() + &written(last(not_allowed), true)),
        (format!("{GET}nonsense\r\n"), last_hello),
    ] {
        let mut client = Client::default();
        client.host.is_draining = true;
        assert_eq!(client.tells(&[there.as_bytes(), GET.as_bytes()]), (answers, LINGER));
    }
}

#[test]
fn a_request_that_does_not_come_in_time_is_told_so() {
    let refused = written(last(("408 Request Timeout", TEXT, "", "Request Timeout")), true);
    for begun in ["GET / HT", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"] {
        let mut client = Client::default();
        client.sends(begun.as_bytes());
        assert_eq!(client.session.time_out(&mut client.host), LINGER);
        assert_eq!(client.host.output, refused.as_bytes());
        assert!(!client.session.is_in_body());
        assert_eq!(client.session.time_out(&mut client.host), LINGER);
        assert_eq!(client.host.output, refused.as_bytes(), "told once");
    }
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let (mut session, mut host) = (Session::default(), Fixed::default());
    let (_, next) = session.receive(b"GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\nGET /", &mut host);
    assert_eq!(next, Next::Room);
    assert_eq!(session.end_of_input(&mut host), Next::Room);
    let first = host.output.len();
    host.output.clear();
    assert_eq!(session.fill(&mut host), CLOSE);
    assert!(first + host.output.len() > 100_000);
    assert_eq!(Session::default().end_of_input(&mut host), CLOSE);
}

#[test]
fn a_sleep_takes_the_time_that_the_path_says() {
    let mut client = Client::default();
    client.sends(b"HEAD /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\nPUT /sleep/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.host.slept, [Duration::from_secs(60)]);
}
