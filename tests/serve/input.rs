//! Input: split, left over, ended, too much.

use std::time::Duration;

use mio_cluster::{Io, Serve, Service};
use socket2::SockRef;

use crate::{
    harness::{Client, Closed, Server, options},
    obedient::Obedient,
    order::What,
};

/// Consumes a message of this length at a time and answers it by its first byte.
struct Messages(usize);

impl Service for Messages {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        if input.len() < self.0 {
            return 0;
        }
        io.write(&input[..1]);
        self.0
    }
}

fn received(shown: usize, used: usize) -> What {
    What::Received { shown, used }
}

#[test]
fn a_message_per_call() {
    let server = Server::start(options(), Messages(4));
    let mut client = server.connect();
    client.send(b"a...b...c...d");
    assert_eq!(client.take(3), b"abc");
    client.send(b"...e...");
    assert_eq!(client.take(2), b"de");
    client.finish();
    client.ends();
    assert_eq!(server.closed(), "ByPeer");
}

#[test]
fn what_is_left_comes_again_with_more_behind_it() {
    let server = Server::start(options(), Messages(4));
    let mut client = server.connect();
    for (byte, fact) in [(b"a", (1, 0)), (b".", (2, 0)), (b".", (3, 0)), (b".", (4, 4)), (b"b", (1, 0))] {
        client.send(byte);
        assert_eq!(server.fact(|what| matches!(what, What::Received { .. })).what, received(fact.0, fact.1));
    }
    client.finish();
    // What is left is no message, and is not shown again.
    assert_eq!([server.next().what, server.next().what], [What::EndOfInput, What::Closed("ByPeer".to_owned())]);
    assert_eq!(client.rest(), b"a");
}

/// It was all there before the worker looked for the first time.
#[test]
fn data_and_end_before_the_first_read() {
    let closed = Closed::new();
    let mut client = closed.connect();
    client.send(b"a...b");
    client.finish();
    let server = closed.run(options(), Messages(4));
    assert_eq!(client.rest(), b"a");
    let facts: Vec<What> = server.end().into_iter().map(|fact| fact.what).collect();
    let expected = [What::Started, What::Opened, received(5, 4), received(1, 0), What::EndOfInput];
    assert_eq!(facts[..5], expected);
    assert_eq!(facts[5], What::Closed("ByPeer".to_owned()));
}

#[test]
fn more_consumed_than_shown_is_all() {
    struct Liar;
    impl Service for Liar {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            io.write(input);
            usize::MAX
        }
    }
    let server = Server::start(options(), Liar);
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(b"abc");
        assert_eq!(client.take(3), b"abc");
    }
}

#[test]
fn input_that_nobody_wants_is_limited() {
    let server = Server::start(options().max_input(100), Messages(1000));
    let mut client = server.connect();
    client.send([0; 100]);
    server.wait(received(100, 0));
    client.send([0; 1]);
    assert_eq!(server.closed(), "InputLimit");
    client.ends();
}

/// Without room for the answers.
#[test]
fn what_was_left_for_want_of_room_comes_again() {
    struct Large;
    impl Service for Large {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            let mut used = 0;
            while used < input.len() && !io.is_full() {
                io.write(&[input[used]; LARGE]);
                used += 1;
            }
            used
        }
    }
    const LARGE: usize = 100_000;
    let server = Server::start(options(), Large);
    let mut client = server.connect();
    let messages: Vec<u8> = (0..200).collect();
    client.send(&messages);
    for message in messages {
        assert!(client.take(LARGE).iter().all(|&byte| byte == message));
    }
}

/// The answer to one message is written in pieces, and the message consumed with the last one.
#[test]
fn a_message_that_is_left_until_all_of_its_answer_had_room() {
    struct Pieces;
    impl Service for Pieces {
        type Conn = usize;
        fn opened(&mut self, _io: &mut Io<'_>) -> usize {
            0
        }
        fn received(&mut self, written: &mut usize, io: &mut Io<'_>, _input: &[u8]) -> usize {
            while *written < LENGTH {
                if io.is_full() {
                    return 0;
                }
                io.write(&[b'.'; 10_000]);
                *written += 10_000;
            }
            *written = 0;
            1
        }
    }
    const LENGTH: usize = 1_000_000;
    let server = Server::start(options(), Pieces);
    let mut client = server.connect();
    client.send(b"12");
    client.skip(2 * LENGTH);
    client.finish();
    client.ends();
}

#[test]
fn end_of_input_may_ask_for_flushed() {
    struct Late;
    impl Service for Late {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
            input.len()
        }
        fn end_of_input(&mut self, _conn: &mut (), io: &mut Io<'_>) {
            io.want_flushed();
        }
        fn flushed(&mut self, _conn: &mut (), io: &mut Io<'_>) {
            io.write(b"bye");
            io.close();
        }
    }
    let server = Server::start(options(), Late);
    let mut client = server.connect();
    client.finish();
    assert_eq!(client.rest(), b"bye");
    assert_eq!(server.closed(), "ByPeer");
}

/// What it has sent already is no reason for a reset.
#[test]
fn a_client_that_is_refused_at_once_can_read_why() {
    struct Full;
    impl Service for Full {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            io.write(b"full");
            io.close();
        }
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, _input: &[u8]) -> usize {
            panic!("it is closed");
        }
    }
    let closed = Closed::new();
    let mut client = closed.connect();
    client.send(b"hello");
    let server = closed.run(options(), Full);
    assert_eq!(client.rest(), b"full");
    drop(client);
    assert_eq!(server.closed(), "ByService");
}

/// Much more than one read.
#[test]
fn input_behind_a_close_does_not_destroy_the_answers() {
    let closed = Closed::new();
    let mut client = closed.connect();
    client.send(b"say a\nbytes 100000\nsay b\nclose\n");
    client.send([b'\n'; 200_000]);
    let server = closed.run(options(), Obedient);
    let answers = client.rest();
    assert_eq!((answers.len(), &answers[..2], &answers[100_002..]), (100_004, &b"a\n"[..], &b"b\n"[..]));
    drop(client);
    assert_eq!(server.closed(), "ByService");
}

/// A read stops at urgent data, and no event tells of what is behind it.
#[test]
fn urgent_data_hides_nothing() {
    let closed = Closed::new();
    let mut early = closed.connect();
    let ask = |client: &mut Client| {
        client.send(b"say a");
        SockRef::from(&client.0).send_out_of_band(b"!").unwrap();
        client.send(b"b\nsay c\n");
    };
    ask(&mut early);
    let server = closed.run(options(), Obedient);
    let mut late = server.connect();
    ask(&mut late);
    for mut client in [early, late] {
        assert_eq!((client.line(), client.line()), ("ab".to_owned(), "c".to_owned()));
    }
}

/// The client goes on sending while it is refused.
#[test]
fn a_lingering_close_lets_the_client_finish() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"say no\nlinger\n");
    assert_eq!(client.rest(), b"no\n");
    client.send([0; 1_000_000]);
    client.finish();
    assert_eq!(server.closed(), "ByService");
}

#[test]
fn a_failure_is_answered_and_told() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"say broken\nfail\nsay more\n");
    assert_eq!(client.rest(), b"broken\n");
    drop(client);
    let why = server.closed();
    assert!(why.starts_with("Failed") && why.contains("as it was told"), "{why}");
}

#[test]
fn an_abort_is_a_reset() {
    let server = Server::start(options(), Obedient);
    let mut client = server.connect();
    client.send(b"abort\n");
    client.is_reset();
    assert_eq!(server.closed(), "ByService");
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let server = Server::start(options().threads(1), Obedient);
    let mut client = server.connect();
    client.send(b"stream 300000\njob done\nsay b");
    client.send(b"ye\n");
    client.finish();
    client.skip(300_000);
    assert_eq!(client.rest(), b"done\nbye\n");
    assert_eq!(server.closed(), "ByPeer");
}

#[test]
fn options_that_cannot_work_are_refused_all_at_once() {
    let wrong = Serve::new().max_connections(0).max_input(0).max_output(0).water_marks(1, 1).threads(1).queue(0);
    let wrong = wrong.idle_timeout(Duration::ZERO);
    let error = Server::start(wrong, Obedient).error();
    assert!(error.is_invalid_config());
    for text in ["max_connections(0)", "max_input(0)", "max_output(0)", "low-water", "queue(0)", "timeout of 0"] {
        assert!(error.to_string().contains(text), "{error}");
    }
}
