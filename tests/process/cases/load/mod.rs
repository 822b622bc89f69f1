//! The load generator against servers that misbehave in each way: its table of failures is exact.

mod ends;
mod servers;

use std::{
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use self::{
    ends::{
        a_worker_that_dies, exit_codes, interrupted, interrupted_and_killed, interrupted_while_nobody_answers,
        not_replaced,
    },
    servers::{HALF, LAST, OK, answering, close, cutting, cutting_next, hear, hold, reset, say, server},
};
use crate::harness::{Bench, Fact, cases};

cases!("load":
    refused,
    no_connection_in_time,
    no_local_address,
    closed_without_an_answer,
    reset_without_an_answer,
    reset_at_once,
    closed_inside_an_answer,
    reset_inside_an_answer,
    no_answer_in_time,
    no_http,
    wrong_answers,
    closed_on_reuse,
    reset_on_reuse,
    told_that_it_closes,
    not_told_that_it_closes,
    closed_while_idle,
    idle_connections_that_are_reset,
    idle_connections_that_are_kept,
    pings_on_idle_connections,
    a_stall_shows_in_the_open_loop,
    what_was_due_and_never_sent,
    a_schedule_beside_idle_connections,
    interrupted,
    interrupted_while_nobody_answers,
    interrupted_and_killed,
    not_replaced,
    exit_codes,
    a_worker_that_dies,
    who_answers,
    pipelined_at_a_unix_socket,
);

/// Runs it to its end; the report.
fn load(bench: &Bench, at: SocketAddr, options: &str) -> Fact {
    let mut run = bench.example(&format!("load {at} --json {options}"));
    let report = run.fact("report");
    run.end_with(0);
    balanced(&report);
    report
}

/// What was begun has ended, but for idle connections that were kept: what is open is what is missing in the sum.
fn balanced(report: &Fact) {
    let text = format!("{report:?}");
    for book in text.split("\"idle\":{") {
        let [open, kept] = ["open", "kept"].map(|key| number_in(book, "connections", key));
        assert_eq!((open, number_in(book, "requests", "open")), (kept, 0), "{text}");
    }
    assert_eq!(number(report, "connections", "kept"), 0, "{text}");
}

fn number(report: &Fact, section: &str, key: &str) -> u64 {
    number_in(&format!("{report:?}"), section, key)
}

fn number_in(text: &str, section: &str, key: &str) -> u64 {
    let (_, rest) = text.split_once(&format!("\"{section}\":{{")).unwrap_or_else(|| panic!("no {section}: {text}"));
    let value = rest.split_once(&format!("\"{key}\":")).and_then(|(_, rest)| rest.split([',', '}']).next());
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {key} in {section}: {text}"))
}

/// These failures and no others.
fn failed(report: &Fact, expected: &[(&str, u64)]) {
    let found: Vec<(&str, u64)> = FAILURES.iter().map(|name| (*name, number(report, "failures", name))).collect();
    let found: Vec<(&str, u64)> = found.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, expected, "{report:?}");
}

/// Eight requests, each on a connection of its own, which all end in the same way.
fn all_fail(bench: &Bench, each: impl Fn(TcpStream) + Clone + Send + 'static, how: &str, options: &str) {
    let report = load(bench, server(bench, 8, each), &format!("-n 8 -c 2 --new {options}"));
    failed(&report, &[(how, 8)]);
    assert_eq!(["established", "failed"].map(|key| number(&report, "connections", key)), [8, 8]);
    assert_eq!((number(&report, "requests", "ok"), number(&report, "requests", "lost")), (0, 8));
}

fn refused(bench: &Bench) {
    let report = load(bench, bench.free_address(), "-n 10 -c 3");
    failed(&report, &[("refused", 10)]);
    assert_eq!((number(&report, "connections", "established"), number(&report, "requests", "lost")), (0, 10));
}

/// The only place in the queue is taken, so the server does not hear them.
fn no_connection_in_time(bench: &Bench) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((bench.ip(), 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let _first = bench.stream(at);
    failed(&load(bench, at, "-n 3 -c 3 --timeout 100"), &[("connect_timeout", 3)]);
}

fn no_local_address(bench: &Bench) {
    let report = load(bench, bench.free_address(), "-n 4 -c 2 --source 192.0.2.1");
    failed(&report, &[("no_local_port", 4)]);
}

fn closed_without_an_answer(bench: &Bench) {
    all_fail(bench, cutting("", close), "eof_before_answer", "");
}

fn reset_without_an_answer(bench: &Bench) {
    all_fail(bench, cutting("", reset), "reset_after_request", "");
}

/// Whether the request has left by then is a matter of luck.
fn reset_at_once(bench: &Bench) {
    let report = load(bench, server(bench, 50, reset), "-n 50 -c 5 --new");
    let resets = ["reset_before_request", "reset_after_request"].map(|how| number(&report, "failures", how));
    assert_eq!((resets.iter().sum::<u64>(), number(&report, "connections", "failed")), (50, 50), "{report:?}");
}

fn closed_inside_an_answer(bench: &Bench) {
    all_fail(bench, cutting(HALF, close), "eof_inside_answer", "");
}

fn reset_inside_an_answer(bench: &Bench) {
    all_fail(bench, cutting(HALF, reset), "reset_inside_answer", "");
}

fn no_answer_in_time(bench: &Bench) {
    all_fail(bench, hold, "answer_timeout", "--timeout 100");
    let half = |mut stream: TcpStream| {
        say(&mut stream, HALF);
        hold(stream);
    };
    all_fail(bench, half, "answer_timeout", "--timeout 100");
}

fn no_http(bench: &Bench) {
    all_fail(bench, cutting("220 mail\r\n", hold), "malformed_answer", "");
}

/// They are answers, so the connection is good for the next one.
fn wrong_answers(bench: &Bench) {
    let right = load(bench, server(bench, 1, answering(OK)), "-n 8 -c 1 --expect-body no --expect-body ok");
    failed(&right, &[]);
    let body = load(bench, server(bench, 1, answering(OK)), "-n 8 -c 1 --expect-body no");
    failed(&body, &[("wrong_body", 8)]);
    assert_eq!(["started", "closed", "failed"].map(|key| number(&body, "connections", key)), [1, 1, 0]);
    let status = load(bench, server(bench, 1, answering(OK)), "-n 8 -c 1 --expect-status 204 --expect-body no");
    failed(&status, &[("wrong_status", 8)]);
}

fn closed_on_reuse(bench: &Bench) {
    let report = load(bench, server(bench, 4, cutting_next(OK, close)), "-n 8 -c 1");
    failed(&report, &[("eof_on_reuse", 4)]);
    assert_eq!((number(&report, "requests", "ok"), number(&report, "requests", "lost")), (4, 4));
}

fn reset_on_reuse(bench: &Bench) {
    failed(&load(bench, server(bench, 4, cutting_next(OK, reset)), "-n 8 -c 1"), &[("reset_on_reuse", 4)]);
}

/// Every client takes another connection then, and nothing has failed.
fn told_that_it_closes(bench: &Bench) {
    for cut in [close, reset] {
        let report = load(bench, server(bench, 8, cutting(LAST, cut)), "-n 8 -c 2");
        failed(&report, &[]);
        assert_eq!(
            ["started", "closed", "closed_while_idle"].map(|key| number(&report, "connections", key)),
            [8, 8, 0]
        );
    }
}

/// The server keeps connections that were to have one request each: then the client closes them.
fn not_told_that_it_closes(bench: &Bench) {
    for options in ["-n 8 -c 2 --new", "-n 8 -c 2 --new --rate 1000"] {
        let report = load(bench, server(bench, 8, answering(OK)), options);
        failed(&report, &[]);
        assert_eq!(
            ["started", "closed", "closed_while_idle"].map(|key| number(&report, "connections", key)),
            [8, 8, 0]
        );
    }
}

/// Long before the next request is due.
fn closed_while_idle(bench: &Bench) {
    let report = load(bench, server(bench, 3, cutting(OK, close)), "-n 3 -c 1 --rate 4");
    failed(&report, &[]);
    assert_eq!(["started", "closed"].map(|key| number(&report, "connections", key)), [3, 3]);
    // Whether the server or the client closes the last one first nobody knows.
    assert!(number(&report, "connections", "closed_while_idle") >= 2, "{report:?}");
}

/// It ends when there is nothing left to watch.
fn idle_connections_that_are_reset(bench: &Bench) {
    let report = load(bench, server(bench, 3, reset), "--idle 3 --duration 50");
    let failures = ["reset_while_idle", "reset_before_request"].map(|how| number(&report, "idle", how));
    assert_eq!((failures.iter().sum::<u64>(), number(&report, "idle", "failed")), (3, 3), "{report:?}");
    assert_eq!((number(&report, "connections", "started"), report.get::<u64>("errors")), (0, 3));
    let report = load(bench, server(bench, 3, close), "--idle 3 --duration 50");
    assert_eq!(["closed", "closed_while_idle", "failed"].map(|key| number(&report, "idle", key)), [3, 3, 0]);
    assert!(report.field("shortest_life_seconds").is_some());
}

/// A server may say what it likes to those that only listen.
fn idle_connections_that_are_kept(bench: &Bench) {
    let talks = |mut stream: TcpStream| {
        say(&mut stream, "Your name?\n");
        hold(stream);
    };
    let report = load(bench, server(bench, 5, talks), "--idle 5 --duration 0.3");
    assert_eq!(["established", "closed", "failed", "open"].map(|key| number(&report, "idle", key)), [5, 0, 0, 5]);
    assert_eq!(report.field("shortest_life_seconds"), None);
}

fn pings_on_idle_connections(bench: &Bench) {
    let report = load(bench, server(bench, 2, answering(OK)), "--idle 2 --ping 20 --duration 0.5");
    let [begun, ok] = ["begun", "ok"].map(|key| number(&report, "idle", key));
    assert!(begun == ok && begun > 2, "{report:?}");
    assert_eq!(number(&report, "idle", "open"), 2);
    // One that is cut between its pings.
    let report = load(bench, server(bench, 2, cutting_next(OK, close)), "--idle 2 --ping 20 --duration 50");
    assert_eq!(["ok", "lost", "eof_on_reuse"].map(|key| number(&report, "idle", key)), [2, 2, 2]);
}

/// The schedule goes on while the server does not: the requests of that time waited for long, and it shows. A closed
/// loop would have sent one.
fn a_stall_shows_in_the_open_loop(bench: &Bench) {
    let (stalls, stalled) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let at = server(bench, 1, move |mut stream| {
        for number in 0.. {
            if !hear(&mut stream) {
                return;
            }
            if number == 40 {
                stalls.send(()).unwrap();
                wait.lock().unwrap().recv().unwrap();
            }
            say(&mut stream, OK);
        }
    });
    let mut run = bench.example(&format!("load {at} --json -c 1 --rate 200 -d 2"));
    stalled.recv().unwrap();
    run.pass(STALL);
    go_on.send(()).unwrap();
    let report = run.fact("report");
    run.end_with(0);
    failed(&report, &[]);
    assert_eq!(number(&report, "requests", "ok"), 400, "{report:?}");
    // 100 of the 400 waited, evenly between no time and all of it.
    let [p90, max] = ["p90", "max"].map(|name| report.get::<f64>(name));
    assert!(p90 >= 250_000.0 && max >= 490_000.0, "microseconds: {report:?}");
}

/// The server never answers, so the only connection is seldom free.
fn what_was_due_and_never_sent(bench: &Bench) {
    let at = server(bench, usize::MAX, hold);
    let report = load(bench, at, "-c 1 --rate 100 -d 0.2 --timeout 300");
    let [begun, unsent] = ["begun", "unsent"].map(|key| number(&report, "requests", key));
    assert!(begun + unsent == 20 && begun > 0 && unsent > 0, "{report:?}");
    failed(&report, &[("answer_timeout", begun)]);
    assert_eq!((report.get::<u64>("errors"), report.get::<f64>("count")), (begun + unsent, unsent as f64));
    let mut run = bench.example(&format!("load {at} -c 1 --rate 100 -d 0.2 --timeout 300 --max-errors {begun}"));
    run.end_with(1);
}

/// The second worker has only idle ones, and so nothing is due there.
fn a_schedule_beside_idle_connections(bench: &Bench) {
    let at = server(bench, usize::MAX, answering(OK));
    let report = load(bench, at, "-c 1 --rate 100 -d 0.3 --timeout 300 --idle 2 -w 2");
    assert_eq!(["ok", "unsent"].map(|key| number(&report, "requests", key)), [30, 0], "{report:?}");
    assert_eq!((report.get::<u64>("errors"), number(&report, "idle", "kept")), (0, 2));
}

fn who_answers(bench: &Bench) {
    let mut server = bench.example("http_server --listen @:0 --workers 2 --json");
    let at = server.ready();
    let report = load(bench, at, "--path /cluster -n 500 --new -c 8 --count-bodies");
    failed(&report, &[]);
    let [first, second] = [1, 2].map(|id| number(&report, "bodies", &format!("Running on worker with id ==> {id}")));
    assert!(first + second == 500 && first > 0 && second > 0, "{report:?}");
    server.signal(Signal::SIGTERM);
    server.end_with(0);
}

fn pipelined_at_a_unix_socket(bench: &Bench) {
    let path = std::env::temp_dir().join(format!("mio-cluster-load-{}", std::process::id()));
    let mut server = bench.example(&format!("http_server --listen unix:{} --workers 2 --json", path.display()));
    server.fact("all_ready");
    let mut run = bench.example(&format!("load unix:{} --json -n 1000 -c 4 --pipeline 16", path.display()));
    let report = run.fact("report");
    run.end_with(0);
    failed(&report, &[]);
    assert_eq!((number(&report, "requests", "ok"), number(&report, "connections", "started")), (1000, 4));
    server.signal(Signal::SIGTERM);
    server.end_with(0);
}

const FAILURES: [&str; 17] = [
    "no_local_port",
    "local",
    "unreachable",
    "refused",
    "connect_timeout",
    "reset_before_request",
    "reset_after_request",
    "eof_before_answer",
    "reset_on_reuse",
    "eof_on_reuse",
    "reset_inside_answer",
    "eof_inside_answer",
    "answer_timeout",
    "malformed_answer",
    "reset_while_idle",
    "wrong_status",
    "wrong_body",
];

const STALL: Duration = Duration::from_millis(500);
