//! Servers that do one thing wrong, each time in the same way.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::harness::Bench;

/// Does the same to so many connections, each in a thread of its own, and then listens no more.
pub(super) fn server(bench: &Bench, count: usize, each: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((bench.ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(count) {
            let (stream, each) = (stream.unwrap(), each.clone());
            thread::spawn(move || each(stream));
        }
    });
    address
}

/// The next request, or false at the end.
pub(super) fn hear(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

pub(super) fn say(stream: &mut TcpStream, bytes: &str) {
    // Who has gone meanwhile has what it wanted.
    let _heard = stream.write_all(bytes.as_bytes());
}

/// Once for each request.
pub(super) fn answering(bytes: &'static str) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |mut stream| {
        while hear(&mut stream) {
            say(&mut stream, bytes);
        }
    }
}

/// The first request, and then the connection is closed or reset.
pub(super) fn cutting(bytes: &'static str, cut: fn(TcpStream)) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |mut stream| {
        hear(&mut stream);
        say(&mut stream, bytes);
        cut(stream);
    }
}

/// As [`cutting`], when the next request has come, too.
pub(super) fn cutting_next(bytes: &'static str, cut: fn(TcpStream)) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |mut stream| {
        hear(&mut stream);
        say(&mut stream, bytes);
        if hear(&mut stream) {
            cut(stream);
        }
    }
}

pub(super) fn close(stream: TcpStream) {
    drop(stream);
}

pub(super) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Until the client closes.
pub(super) fn hold(mut stream: TcpStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub(super) const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
pub(super) const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no";
