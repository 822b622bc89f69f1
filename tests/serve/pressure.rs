//! Peers that take their answers slowly, or never.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use mio_cluster::{Deadline, Io, Key, Mailbox, Posted, Service};

use crate::{
    harness::{Server, ms, options},
    obedient::Obedient,
    order::What,
};

/// Sends back what it gets, and keeps the most that ever waited.
struct Echo(Arc<AtomicUsize>);

impl Service for Echo {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        io.write(input);
        self.0.fetch_max(io.output().len(), Ordering::Relaxed);
        input.len()
    }
}

const MIB: usize = 1 << 20;

/// Both sides' buffers in the kernel and in the loop are filled, and the loop's stays small.
#[test]
fn a_peer_that_sends_and_does_not_read_is_not_read() {
    const TOTAL: usize = 64 * MIB;
    let most = Arc::new(AtomicUsize::new(0));
    let server = Server::start(options(), Echo(Arc::clone(&most)));
    let mut client = server.connect();
    let mut sender = client.0.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let mib = vec![b'.'; MIB];
        (0..TOTAL / MIB).for_each(|_| std::io::Write::write_all(&mut sender, &mib).unwrap());
    });
    // Others are served meanwhile.
    let mut other = server.connect();
    for _ in 0..100 {
        assert_eq!(other.ask("hello"), "hello");
    }
    client.skip(TOTAL);
    sending.join().unwrap();
    // What is below the high-water mark, one read, and what was sent already.
    assert!(most.load(Ordering::Relaxed) <= 4 * 64 * 1024, "{most:?}");
}

/// With a low-water mark of 0 everything must be out before the next input is looked at.
#[test]
fn reading_goes_on_at_the_low_water_mark() {
    struct Strict;
    impl Service for Strict {
        type Conn = ();
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, _input: &[u8]) -> usize {
            assert!(io.output().is_empty());
            io.write(&[b'.'; 500_000]);
            1
        }
    }
    let server = Server::start(options().water_marks(0, 1), Strict);
    let mut client = server.connect();
    client.send([0; 100]);
    client.skip(100 * 500_000);
}

#[test]
fn output_is_limited() {
    let server = Server::start(options().max_output(100_000), Obedient);
    let mut client = server.connect();
    client.send(b"bytes 100000\n");
    client.skip(100_000);
    // More than the kernel takes.
    client.send(b"bytes 100000000\n");
    assert_eq!(server.closed(), "OutputLimit");
    client.is_gone();
}

/// Answers that no input causes.
#[test]
fn output_is_limited_while_the_peer_takes_none_of_it() {
    struct Told(std::sync::mpsc::Sender<(Mailbox, Key)>);
    impl Service for Told {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            self.0.send((io.mailbox(), io.key())).unwrap();
        }
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
            input.len()
        }
        fn posted(&mut self, _conn: &mut (), io: &mut Io<'_>, _value: Posted) {
            // With what the kernel has taken of it already.
            assert!(io.output().len() <= 10 * MIB, "the limit is {MIB}");
            io.write(&vec![b'.'; MIB]);
        }
    }
    let (said, heard) = std::sync::mpsc::channel();
    let server = Server::start(options().max_output(MIB), Told(said));
    let _client = server.connect();
    let (mailbox, key) = heard.recv().unwrap();
    for _ in 0..100 {
        mailbox.post(key, ()).unwrap();
    }
    assert_eq!(server.closed(), "OutputLimit");
}

#[test]
fn a_large_answer_goes_out_piece_by_piece() {
    struct Stream(Arc<AtomicUsize>);
    impl Service for Stream {
        type Conn = usize;
        fn opened(&mut self, _io: &mut Io<'_>) -> usize {
            0
        }
        fn received(&mut self, left: &mut usize, io: &mut Io<'_>, input: &[u8]) -> usize {
            *left = TOTAL;
            io.want_flushed();
            input.len()
        }
        fn flushed(&mut self, left: &mut usize, io: &mut Io<'_>) {
            if *left > 0 {
                io.write(&[b'.'; 1 << 16]);
                *left -= 1 << 16;
                io.want_flushed();
                self.0.fetch_max(io.output().len(), Ordering::Relaxed);
            }
        }
    }
    const TOTAL: usize = 64 * MIB;
    let most = Arc::new(AtomicUsize::new(0));
    let server = Server::start(options(), Stream(Arc::clone(&most)));
    let mut client = server.connect();
    client.send(b".");
    // Its half is closed at once, by which the connection is to be closed when all output is out.
    client.finish();
    client.skip(TOTAL);
    client.ends();
    assert_eq!(most.load(Ordering::Relaxed), 1 << 16, "no more than a piece");
    let flushed = server.end().iter().filter(|fact| fact.what == What::Flushed).count();
    assert_eq!(flushed, 1 + TOTAL / (1 << 16));
}

/// Each time it is asked, it waits on; at last it gives up, and what waits is dropped.
#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    struct Patient;
    impl Service for Patient {
        type Conn = u32;
        fn opened(&mut self, io: &mut Io<'_>) -> u32 {
            io.write(&vec![b'.'; 10 * MIB]);
            0
        }
        fn received(&mut self, _tries: &mut u32, _io: &mut Io<'_>, _input: &[u8]) -> usize {
            panic!("there is unsent output");
        }
        fn timed_out(&mut self, tries: &mut u32, io: &mut Io<'_>, which: Deadline) {
            assert_eq!(which, Deadline::Write);
            *tries += 1;
            if *tries == 3 {
                io.close();
            }
        }
    }
    let server = Server::start(options().write_timeout(ms(20)), Patient);
    let mut client = server.connect();
    client.send(b"anything");
    let mut before = server.wait(What::Opened).at;
    for _ in 0..3 {
        let now = server.wait(What::TimedOut(Deadline::Write)).at;
        assert!(now - before >= ms(20), "{:?}", now - before);
        before = now;
    }
    assert_eq!(server.closed(), "TimedOut(Write)");
    client.is_gone();
}

/// It was closed by the service already, and the last answer is not taken.
#[test]
fn a_closing_connection_is_given_up_as_well() {
    let server = Server::start(options().write_timeout(ms(20)), Obedient);
    let mut client = server.connect();
    client.send(b"bytes 15000000\nclose\n");
    server.wait(What::TimedOut(Deadline::Write));
    assert_eq!(server.closed(), "TimedOut(Write)");
    client.is_gone();
}

/// One that takes its answer slowly, but takes it, is served.
#[test]
fn every_byte_that_is_taken_starts_the_time_anew() {
    let server = Server::start(options().write_timeout(ms(5000)), Obedient);
    let mut client = server.connect();
    client.send(b"bytes 15000000\n");
    for _ in 0..150 {
        client.skip(100_000);
    }
    client.finish();
    client.ends();
    assert_eq!(server.closed(), "ByPeer");
}
