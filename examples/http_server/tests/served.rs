//! The HTTP in the worker's loop, over real sockets, in this process.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio_cluster::{Cluster, Result, Serve, WorkerHandle};

use crate::service::Http;

struct Server {
    address: SocketAddr,
    handle: WorkerHandle,
    thread: JoinHandle<Result<()>>,
}

impl Server {
    fn start(options: Serve) -> Self {
        let worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
        let (address, handle) = (worker.addresses()[0].socket_addr().unwrap(), worker.handle());
        Self { address, handle, thread: thread::spawn(move || worker.serve_with(options, Http::new(b"Hello, World!"))) }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(WATCHDOG)).unwrap();
        client
    }

    /// Returns all that it sends until it closes.
    fn tell(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.client();
        client.write_all(request).unwrap();
        rest(client)
    }

    fn stop(self) {
        self.handle.disconnect().unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

fn rest(mut client: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Long before this something has gone wrong.
const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn large_answers_of_a_pipeline_all_come() {
    let server = Server::start(Serve::new());
    let large = "GET /bytes/20000000 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    let answers = server.tell(format!("{large}GET /pid HTTP/1.0\r\n\r\n").as_bytes());
    let pid = std::process::id().to_string();
    assert!(answers.len() > 60_000_000 && answers.ends_with(format!("\r\nConnection: close\r\n\r\n{pid}").as_bytes()));
    server.stop();
}

#[test]
fn content_goes_there_and_back() {
    let server = Server::start(Serve::new());
    let content: Vec<u8> = (0..1_u32 << 20).map(|n| (n >> 8 ^ n) as u8).collect();
    let head = format!("POST /echo HTTP/1.0\r\nContent-Length: {}\r\n\r\n", content.len());
    assert!(server.tell(&[head.as_bytes(), &content].concat()).ends_with(&content));
    server.stop();
}

/// A reset would destroy the answer.
#[test]
fn a_client_whose_content_is_refused_can_read_why() {
    let server = Server::start(Serve::new());
    let request =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".to_owned() + &"x".repeat(1_048_577);
    assert!(server.tell(request.as_bytes()).starts_with(b"HTTP/1.1 413 Content Too Large\r\n"));
    server.stop();
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let server = Server::start(Serve::new());
    let mut client = server.client();
    client.write_all(b"GET /bytes/9000000 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answers = rest(client);
    assert!(answers.len() > 9_000_000 && answers.ends_with(b"\r\n\r\nHello, World!"));
    server.stop();
}

#[test]
fn a_request_that_is_late_is_told_so() {
    let server = Server::start(Serve::new().request_timeout(Duration::from_millis(10)));
    let body = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na";
    for request in ["GET / H", body] {
        assert!(server.tell(request.as_bytes()).starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
    }
    server.stop();
}

/// Also if the next one has begun whenever one ends.
#[test]
fn every_request_has_its_own_time() {
    let time = Duration::from_millis(300);
    let server = Server::start(Serve::new().request_timeout(time));
    // A machine that stands still makes a request late in fact.
    while !all_are_answered(&mut server.client(), time) {}
    server.stop();
}

/// Of requests over a much longer time; `false`: one of them took long.
fn all_are_answered(client: &mut TcpStream, time: Duration) -> bool {
    let begin = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na";
    let answer_of = |rest: &[u8]| rest.ends_with(b"\r\n\r\nab");
    client.write_all(begin.as_bytes()).unwrap();
    let first = Instant::now();
    let mut last = first;
    while first.elapsed() < time * 3 {
        client.write_all(format!("b{begin}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer_of(&answer) {
            let mut bytes = [0; 1000];
            let count = client.read(&mut bytes).unwrap();
            if last.elapsed() > time / 2 {
                return false;
            }
            answer.extend_from_slice(&bytes[..count]);
            assert!(answer.starts_with(&b"HTTP/1.1 200 "[..answer.len().min(13)]), "{}", answer.escape_ascii());
        }
        last = Instant::now();
    }
    true
}

#[test]
fn an_idle_client_is_told_nothing() {
    let server = Server::start(Serve::new().idle_timeout(Duration::from_millis(10)));
    let answer = server.tell(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with(b"\r\n\r\nHello, World!"));
    server.stop();
}

#[test]
fn the_last_answer_of_a_drain_says_so() {
    let server = Server::start(Serve::new().drain_grace(WATCHDOG));
    let mut client = server.client();
    let mut first = [0; 8];
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.read_exact(&mut first).unwrap();
    server.handle.disconnect().unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(rest(client).ends_with(b"\r\nConnection: close\r\n\r\nHello, World!"));
    server.thread.join().unwrap().unwrap();
}
