//! Connections that may stay longer than others when the worker is to leave.

use mio_cluster::{Deadline, Io, Service};

use crate::{
    harness::{Client, Server, ms, options},
    layered::Layered,
    order::What,
};

/// | line | does |
/// |---|---|
/// | `stay MS` | sets the deadline |
/// | `go` | takes it back |
/// | `begin`, `end` | a request in between |
/// | `tick` | a line every other millisecond from now on |
///
/// Every line comes back. In a drain it says `bye`, and those who have said `late` stay for 200 ms.
struct Resident;

#[derive(Default)]
struct State {
    is_late: bool,
}

impl Service for Resident {
    type Conn = State;

    fn opened(&mut self, _io: &mut Io<'_>) -> State {
        State::default()
    }

    fn received(&mut self, state: &mut State, io: &mut Io<'_>, input: &[u8]) -> usize {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        match &input[..end] {
            b"go" => io.set_drain_deadline(None),
            b"late" => state.is_late = true,
            b"begin" => io.set_in_request(true),
            b"end" => io.set_in_request(false),
            b"tick" => io.set_deadline(Some(ms(2))),
            line => {
                if let Some(time) = line.strip_prefix(b"stay ") {
                    let time = String::from_utf8_lossy(time).parse().unwrap();
                    io.set_drain_deadline(Some(ms(time)));
                }
            }
        }
        io.write(&input[..=end]);
        end + 1
    }

    fn timed_out(&mut self, _state: &mut State, io: &mut Io<'_>, which: Deadline) {
        if which == Deadline::Own {
            io.write(b"tick\n");
            io.set_deadline(Some(ms(2)));
        } else {
            io.write(format!("{which:?}\n").as_bytes());
            // A line of the client's may be on its way.
            io.close_lingering();
        }
    }

    fn draining(&mut self, state: &mut State, io: &mut Io<'_>) {
        io.write(b"bye\n");
        if state.is_late {
            io.set_drain_deadline(Some(ms(200)));
        }
    }
}

fn says(server: &Server, line: &str) -> Client {
    let mut client = server.connect();
    assert_eq!(client.ask(line), line);
    client
}

#[test]
fn it_goes_on_until_its_own_deadline() {
    let server = Server::start(options().drain_grace(ms(20)), Resident);
    let (mut stays, mut other) = (says(&server, "stay 300"), says(&server, "hello"));
    server.disconnect();
    let begin = server.wait(What::Draining).at;
    assert_eq!(other.rest(), b"bye\nDrain\n");
    assert_eq!(stays.line(), "bye");
    // It lives on, and that does not put off the end.
    while stays.ask("again") != "Drain" {}
    drop(stays);
    let ends = [(); 2].map(|()| server.wait(What::TimedOut(Deadline::Drain)).at - begin);
    assert!(ends[0] >= ms(20) && ends[1] >= ms(300), "{ends:?}");
    assert_eq!(server.closed(), "Drained");
}

#[test]
fn it_is_set_and_taken_back_at_any_time() {
    let server = Server::start(options().drain_grace(ms(20)), Resident);
    let (mut late, mut gone) = (says(&server, "late"), says(&server, "stay 3600000"));
    assert_eq!(gone.ask("go"), "go");
    server.disconnect();
    let begin = server.wait(What::Draining).at;
    assert_eq!(gone.rest(), b"bye\nDrain\n");
    assert_eq!(late.rest(), b"bye\nDrain\n");
    let [_, last] = [(); 2].map(|()| server.wait(What::TimedOut(Deadline::Drain)).at - begin);
    assert!(last >= ms(200), "{last:?}");
}

/// The deadline has passed by the time that the request has ended.
#[test]
fn a_request_is_waited_for() {
    let server = Server::start(options().drain_grace(ms(20)), Resident);
    let (mut client, mut other) = (says(&server, "stay 1"), says(&server, "stay 100"));
    assert_eq!(client.ask("begin"), "begin");
    server.disconnect();
    assert_eq!(other.rest(), b"bye\nDrain\n");
    assert_eq!([client.line(), client.ask("end")], ["bye", "end"]);
    assert_eq!(client.rest(), b"Drain\n");
    drop((client, other));
    assert_eq!([server.closed(), server.closed()], ["Drained", "Drained"]);
}

/// Whoever only listens is not idle in a drain either.
#[test]
fn what_is_sent_is_a_sign_of_life() {
    let server = Server::start(options().drain_grace(ms(20)).idle_timeout(ms(100)), Resident);
    let mut client = says(&server, "stay 400");
    assert_eq!(client.ask("tick"), "tick");
    server.disconnect();
    let begin = server.wait(What::Draining).at;
    assert!(client.rest().ends_with(b"Drain\n"), "and not Idle");
    let end = server.wait(What::TimedOut(Deadline::Drain)).at - begin;
    assert!(end >= ms(400), "{end:?}");
}

#[test]
fn a_layer_passes_it_on() {
    let server = Server::start(options().drain_grace(ms(20)), Layered::new(Resident));
    let mut client = says(&server, "stay 200");
    server.disconnect();
    let begin = server.wait(What::Draining).at;
    assert_eq!(client.rest(), b"bye\nDrain\n");
    let end = server.wait(What::TimedOut(Deadline::Drain)).at - begin;
    assert!(end >= ms(200), "{end:?}");
}
