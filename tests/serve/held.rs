//! Services that hold their input back, and peers that have said all they want before they are answered.

use std::io::{ErrorKind, Write};

use mio_cluster::{Io, Key, Posted, Service};

use crate::{
    harness::{Client, Server, options},
    order::What,
};

/// One job at a time per connection: answers each line, in order, though it has several threads.
struct OneByOne;

impl Service for OneByOne {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        assert_eq!(io.jobs(), 0, "it holds the input while a job runs");
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        let line = input[..=end].to_ascii_uppercase();
        io.spawn(move || line).unwrap();
        io.hold_input(true);
        end + 1
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, value: Posted) {
        io.write(&value.downcast::<Vec<u8>>().unwrap());
        io.hold_input(false);
    }
}

#[test]
fn input_that_was_held_back_is_shown_when_it_goes_on() {
    let server = Server::start(options().threads(4), OneByOne);
    let mut client = server.connect();
    client.send(b"a\nb\nc\nd");
    assert_eq!([client.line(), client.line(), client.line()], ["A", "B", "C"]);
    client.send(b"\n");
    assert_eq!(client.line(), "D");
}

#[test]
fn half_closed_peer_gets_the_results_of_its_jobs() {
    let server = Server::start(options().threads(4), OneByOne);
    let mut client = server.connect();
    client.send(b"a\nb\nc\n");
    client.finish();
    assert_eq!([client.line(), client.line(), client.line()], ["A", "B", "C"]);
    client.ends();
    assert_eq!(server.closed(), "ByPeer");
}

/// `h` holds the connection's input, and `r` from another one lets it go on.
#[derive(Default)]
struct Valve(Option<Key>);

impl Service for Valve {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        match input[0] {
            b'h' => {
                self.0 = Some(io.key());
                io.hold_input(true);
                io.write(b"held\n");
                return 1;
            }
            b'r' => {
                let held = self.0.take().unwrap();
                io.turn().post(held, ());
            }
            _other => {}
        }
        input.len()
    }

    fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, _value: Posted) {
        io.hold_input(false);
    }
}

/// And not looked at, or its memory would not be bounded.
#[test]
fn peer_whose_input_is_held_is_not_read() {
    let server = Server::start(options(), Valve::default());
    let (mut held, mut other) = (server.connect(), server.connect());
    held.send(b"h");
    assert_eq!(held.line(), "held");
    server.wait(What::Received { shown: 1, used: 1 });
    let sent = fill(&mut held);
    // Turns in which it could have been read.
    other.send(b"x");
    server.wait(What::Received { shown: 1, used: 1 });
    other.send(b"r");
    server.wait(What::Received { shown: 1, used: 1 });
    let mut seen = 0;
    while seen < sent {
        match server.next().what {
            What::Received { used, .. } => seen += used,
            What::Posted => assert_eq!(seen, 0, "nothing was shown before the input went on"),
            _other => {}
        }
    }
    assert_eq!(seen, sent);
}

/// Nor is its end taken for a reset.
#[test]
fn peer_that_finishes_while_its_input_is_held_is_answered() {
    let server = Server::start(options(), Valve::default());
    let (mut held, mut other) = (server.connect(), server.connect());
    held.send(b"h");
    assert_eq!(held.line(), "held");
    held.send(b"h");
    held.finish();
    other.send(b"r");
    assert_eq!(held.line(), "held");
    other.send(b"r");
    held.ends();
    assert_eq!(server.closed(), "ByPeer");
}

/// As much as the kernel takes for a peer that is not read.
fn fill(client: &mut Client) -> usize {
    client.0.set_nonblocking(true).unwrap();
    let mut sent = 0;
    loop {
        match client.0.write(&[b'x'; 1 << 16]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                client.0.set_nonblocking(false).unwrap();
                return sent;
            }
        }
    }
}
