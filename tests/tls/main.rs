//! TLS around a service: `examples/support/tls.rs`, with rustls as the client.
#![allow(clippy::unwrap_used, reason = "a test program: a failure is a panic")]

mod client;
mod service;
#[path = "../../examples/support/tls.rs"]
mod tls;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::Duration,
};

use mio_cluster::{Closed, Deadline, Serve};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};

use self::{
    client::{Client, config},
    service::{Event, Server, WATCHDOG, pattern},
};

/// Of each version.
fn configs() -> [Arc<ClientConfig>; 2] {
    [&TLS12, &TLS13].map(|version| Arc::new(config(version)))
}

#[test]
fn any_split_of_the_bytes_is_the_same() {
    let server = Server::start(Serve::new());
    for mut config in [&TLS12, &TLS13].map(config) {
        // Messages of the handshake come in pieces of records, too.
        config.max_fragment_size = Some(32);
        let mut client = Client::new(server.address, &Arc::new(config));
        while client.tls.is_handshaking() {
            for byte in client.records() {
                client.socket.write_all(&[byte]).unwrap();
            }
            if client.tls.is_handshaking() {
                client.tls.read_tls(&mut client.socket).unwrap();
                client.tls.process_new_packets().unwrap();
            }
        }
        for byte in client.sealed("echo a line in more than one record, byte by byte\n") {
            client.socket.write_all(&[byte]).unwrap();
        }
        assert_eq!([client.line(), client.line()], ["hello", "a line in more than one record, byte by byte"]);
        client.close_notify();
        assert_eq!(client.rest().unwrap(), b"end\n");
        server.opened();
        assert!(matches!(server.event(), Event::EndOfInput));
        server.closed();
    }
    server.end();
}

#[test]
fn many_small_messages_are_answered_in_order() {
    let server = Server::start(Serve::new());
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        // A record each, and all at once.
        let records: Vec<u8> = (0..5000).flat_map(|n| client.sealed(format!("echo {n}\n"))).collect();
        thread::scope(|scope| {
            let mut socket = client.socket.try_clone().unwrap();
            scope.spawn(move || socket.write_all(&records).unwrap());
            for n in 0..5000 {
                assert_eq!(client.line(), n.to_string());
            }
        });
    }
}

/// What waits for a peer that does not read is bounded, by what the service is shown and by what it is asked for.
#[test]
fn a_peer_that_does_not_read_is_not_answered() {
    let server = Server::start(Serve::new().max_output(256 << 10));
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        // More than the kernel holds for both, in one answer and in many.
        client.send(format!("stream {LARGE}\n"));
        assert!(client.bytes(LARGE) == pattern(LARGE));
        client.send("write 20011\n".repeat(LARGE / 20_011));
        assert!(client.bytes(LARGE / 20_011 * 20_011) == pattern(20_011).repeat(LARGE / 20_011));
    }
}

/// With the marks so close to each other, the server reads on while answers wait.
#[test]
fn questions_wait_for_answers_and_the_end_for_both() {
    for config in configs() {
        let server = Server::start(Serve::new().water_marks((64 << 10) - 1, 64 << 10));
        let mut other = Client::connect(server.address, &config);
        server.opened();
        for says_goodbye in [true, false] {
            let mut client = Client::connect(server.address, &config);
            server.opened();
            let count = LARGE / 4001;
            let questions = client.sealed(format!("write 4001{:100}\n", "").repeat(count) + "echo a\n");
            client.socket.write_all(&questions).unwrap();
            if says_goodbye {
                client.close_notify();
            }
            client.cut_off();
            let answers = pattern(4001).repeat(count);
            for piece in answers.chunks(64 << 10) {
                assert!(client.bytes(piece.len()) == piece);
                // By now the server has filled what the client has taken.
                other.send("echo next\n");
                assert_eq!(other.line(), "next");
            }
            assert_eq!(client.rest().unwrap(), if says_goodbye { &b"a\nend\n"[..] } else { b"a\n" });
            if says_goodbye {
                assert!(matches!(server.event(), Event::EndOfInput));
            }
            server.closed();
        }
    }
}

#[test]
fn large_input_is_taken_however_it_comes() {
    // Records are larger than what the service may leave.
    let server = Server::start(Serve::new().max_input(1000));
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        let bytes = pattern(LARGE);
        let sum: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
        client.send(format!("take {LARGE}\n"));
        client.send(bytes);
        assert_eq!(client.line(), sum.to_string());
        client.send("e".repeat(1001));
        assert!(client.rest().is_err());
        server.opened();
        assert!(matches!(server.closed(), Closed::InputLimit));
    }
    server.end();
}

#[test]
fn goodbyes() {
    let server = Server::start(Serve::new());
    for config in configs() {
        // The client's; what it says after that means nothing.
        let mut client = Client::connect(server.address, &config);
        client.send("echo a\necho b");
        client.close_notify();
        client.socket.write_all(b"garbage").unwrap();
        assert_eq!(client.rest().unwrap(), b"a\nend\n");
        server.opened();
        assert!(matches!(server.event(), Event::EndOfInput));
        drop(client);
        server.closed();
        // It can still be told something.
        let mut client = Client::connect(server.address, &config);
        let (key, mailbox) = server.opened();
        client.send("stay\n");
        client.close_notify();
        client.socket.write_all(&vec![0; LARGE]).unwrap();
        assert!(matches!(server.event(), Event::EndOfInput));
        mailbox.post(key, "later\n".to_owned()).unwrap();
        assert_eq!(client.rest().unwrap(), b"end\nlater\n");
        server.closed();
        // The service's.
        let mut client = Client::connect(server.address, &config);
        client.send("close\necho unheard\n");
        assert_eq!(client.rest().unwrap(), b"closed\n");
        server.opened();
        assert!(matches!(server.closed(), Closed::ByService));
        // None.
        let mut client = Client::connect(server.address, &config);
        client.send("echo a\nabort\n");
        assert!(client.rest().is_err());
        server.opened();
        server.closed();
    }
    server.end();
}

#[test]
fn a_connection_that_is_cut_off_has_not_ended() {
    let server = Server::start(Serve::new());
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        client.send("write 1000000\n".repeat(10));
        client.send("echo a\ntake 10\n12345");
        client.cut_off();
        assert!(client.bytes(10_000_000) == pattern(1_000_000).repeat(10));
        assert_eq!(client.line(), "a", "what came before is answered");
        client.rest().unwrap();
        server.opened();
        assert_eq!(server.failed(), ErrorKind::UnexpectedEof);
        // In the middle of a record, of a message, and between messages.
        for (text, bytes) in [("echo a\n", 10), ("echo a", usize::MAX), ("echo a\n", usize::MAX)] {
            let mut client = Client::connect(server.address, &config);
            let record = client.sealed(text);
            client.socket.write_all(&record[..bytes.min(record.len())]).unwrap();
            client.cut_off();
            client.rest().unwrap();
            server.opened();
            if text.ends_with('\n') && bytes == usize::MAX {
                assert!(matches!(server.closed(), Closed::ByPeer));
            } else {
                assert_eq!(server.failed(), ErrorKind::UnexpectedEof);
            }
        }
    }
    server.end();
}

#[test]
fn what_is_not_tls_gets_an_alert() {
    let server = Server::start(Serve::new());
    let large = vec![b'x'; 1 << 20];
    for text in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0; 100], &[0x16, 3, 1, 0xff, 0xff], &large] {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        // The server may have had enough before the end.
        let _ = socket.write_all(text);
        let mut answer = Vec::new();
        let end = socket.read_to_end(&mut answer);
        assert_eq!(answer.first(), Some(&ALERT), "{end:?}");
    }
    // Nothing at all.
    let socket = TcpStream::connect(server.address).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!((&socket).read(&mut [0]).unwrap(), 0);
    server.end();
}

#[test]
fn a_record_that_was_changed_on_its_way_gets_an_alert() {
    let server = Server::start(Serve::new());
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        let mut record = client.sealed("echo a\n");
        *record.last_mut().unwrap() ^= 1;
        client.socket.write_all(&record).unwrap();
        assert_eq!(client.rest().unwrap_err().to_string(), "received fatal alert: BadRecordMac");
        server.opened();
        assert_eq!(server.failed(), ErrorKind::InvalidData);
    }
    server.end();
}

/// They are requests that are not complete.
#[test]
fn handshakes_have_a_deadline() {
    let server = Server::start(Serve::new().request_timeout(SOON));
    for config in configs() {
        for part in 1..=2 {
            let mut client = Client::new(server.address, &config);
            let hello = client.records();
            client.socket.write_all(&hello[..hello.len() * part / 2]).unwrap();
            let mut answer = Vec::new();
            client.socket.read_to_end(&mut answer).unwrap();
            assert_eq!(answer.is_empty(), part == 1);
        }
    }
    server.end();
}

#[test]
fn requests_have_a_deadline() {
    let server = Server::start(Serve::new().request_timeout(LATER));
    let config = &configs()[1];
    // In the middle of a message, of a record, and of a request whose bytes were all consumed.
    let begun = [("echo", usize::MAX), ("echo a\n", 20), ("take 10\n1234", usize::MAX)].map(|(text, bytes)| {
        let mut client = Client::connect(server.address, config);
        server.opened();
        let record = client.sealed(text);
        client.socket.write_all(&record[..bytes.min(record.len())]).unwrap();
        client
    });
    for mut client in begun {
        client.rest().expect("a goodbye");
        assert!(matches!(server.event(), Event::TimedOut(Deadline::Request)));
        assert!(matches!(server.closed(), Closed::TimedOut(Deadline::Request)));
    }
    server.end();
}

#[test]
fn what_is_complete_is_no_request() {
    let server = Server::start(Serve::new().idle_timeout(SOON));
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        client.send("echo a\n");
        client.rest().expect("a goodbye");
        server.opened();
        assert!(matches!(server.event(), Event::TimedOut(Deadline::Idle)));
        assert!(matches!(server.closed(), Closed::TimedOut(Deadline::Idle)));
    }
    server.end();
}

#[test]
fn a_client_that_comes_back_need_not_begin_from_scratch() {
    let server = Server::start(Serve::new());
    for config in configs() {
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut client = Client::connect(server.address, &config);
            assert_eq!(client.tls.handshake_kind(), Some(kind));
            client.send("close\n");
            client.rest().unwrap();
        }
    }
}

#[test]
fn keys_are_changed_when_the_client_asks() {
    let server = Server::start(Serve::new());
    let mut client = Client::connect(server.address, &Arc::new(config(&TLS13)));
    for n in 0..10 {
        client.tls.refresh_traffic_keys().unwrap();
        client.send(format!("echo {n}\n"));
        assert_eq!(client.line(), n.to_string());
    }
}

#[test]
fn output_is_sent_whatever_it_was_written_for() {
    let server = Server::start(Serve::new());
    for config in configs() {
        let mut client = Client::connect(server.address, &config);
        let (key, mailbox) = server.opened();
        let record = client.sealed("echo a\n");
        // Perhaps in the middle of a record.
        client.socket.write_all(&record[..10]).unwrap();
        mailbox.post(key, "posted\n".to_owned()).unwrap();
        assert_eq!(client.line(), "posted");
        client.socket.write_all(&record[10..]).unwrap();
        assert_eq!(client.line(), "a");
        client.send("close\n");
        client.rest().unwrap();
        server.closed();
    }
    server.end();
}

#[test]
fn a_drain_finishes_what_has_begun_and_says_goodbye() {
    for config in configs() {
        let server = Server::start(Serve::new());
        let mut client = Client::connect(server.address, &config);
        // In its handshake.
        let mut late = Client::new(server.address, &config);
        let hello = late.records();
        late.socket.write_all(&hello).unwrap();
        late.tls.read_tls(&mut late.socket).unwrap();
        // Large enough that the kernel cannot hold it.
        client.send(format!("stream {LARGE}\n"));
        client.bytes(1);
        server.handle.disconnect().unwrap();
        let rest = client.rest().unwrap();
        let told = rest.windows(9).position(|text| text == b"draining\n").unwrap();
        assert!([&rest[..told], &rest[told + 9..]].concat() == pattern(LARGE)[1..]);
        late.tls.process_new_packets().unwrap();
        // Who opens in the drain is told, when what may have come with the end of the handshake is answered.
        let with_it = if late.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) { "a\n" } else { "" };
        if !with_it.is_empty() {
            late.send(format!("echo {with_it}"));
        }
        assert_eq!(late.rest().unwrap(), format!("hello\n{with_it}draining\n").as_bytes());
        for _ in 0..2 {
            server.opened();
            assert!(matches!(server.event(), Event::TimedOut(Deadline::Drain)));
            assert!(matches!(server.closed(), Closed::Drained));
        }
        server.end();
    }
}

/// More bytes than two sockets hold.
const LARGE: usize = 6_000_000;

/// A record's type.
const ALERT: u8 = 0x15;

/// A deadline that passes in any case.
const SOON: Duration = Duration::from_millis(50);

/// One before which several clients have done something, on a slow machine too.
const LATER: Duration = Duration::from_secs(2);
