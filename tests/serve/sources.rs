//! What a service brings into the loop: sockets and timers of its own.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket as Udp},
    sync::mpsc,
    thread,
    time::Duration,
};

use mio_cluster::{
    Closed, Cluster, Io, Key, Listen, Posted, Service, SourceId, TimerId, Turn,
    mio::{
        Interest,
        event::Event,
        net::{TcpStream, UdpSocket},
    },
};

use crate::{
    harness::{self, Client, Server, WATCHDOG, ms, options},
    order::What,
};

/// Each connection has one of its own to another server.
struct Proxy {
    to: SocketAddr,
    backends: HashMap<u32, (Key, TcpStream, Vec<u8>)>,
    next: u32,
}

impl Proxy {
    /// Both directions, until the socket has no more and takes no more.
    fn pump(&mut self, turn: &mut Turn<'_>, id: u32) {
        let Some((key, stream, waiting)) = self.backends.get_mut(&id) else { return };
        while !waiting.is_empty() {
            match stream.write(waiting) {
                Ok(count) => drop(waiting.drain(..count)),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::NotConnected].contains(&error.kind()) => break,
                Err(error) => panic!("{error}"),
            }
        }
        loop {
            let mut bytes = vec![0; 1 << 16];
            match stream.read(&mut bytes) {
                Ok(count) => {
                    bytes.truncate(count);
                    turn.post(*key, bytes);
                    if count == 0 {
                        break;
                    }
                }
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::NotConnected].contains(&error.kind()) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Service for Proxy {
    type Conn = u32;

    fn opened(&mut self, io: &mut Io<'_>) -> u32 {
        let mut stream = TcpStream::connect(self.to).unwrap();
        self.next += 1;
        io.turn().register(&mut stream, SourceId(self.next), Interest::READABLE | Interest::WRITABLE).unwrap();
        self.backends.insert(self.next, (io.key(), stream, Vec::new()));
        self.next
    }

    fn received(&mut self, id: &mut u32, io: &mut Io<'_>, input: &[u8]) -> usize {
        let (_, _, waiting) = self.backends.get_mut(id).unwrap();
        waiting.extend_from_slice(input);
        self.pump(&mut io.turn(), *id);
        input.len()
    }

    fn end_of_input(&mut self, id: &mut u32, _io: &mut Io<'_>) {
        let (_, stream, waiting) = &self.backends[id];
        assert!(waiting.is_empty(), "the backend takes everything at once");
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn posted(&mut self, _id: &mut u32, io: &mut Io<'_>, value: Posted) {
        match value.downcast::<Vec<u8>>().unwrap() {
            bytes if bytes.is_empty() => io.close(),
            bytes => io.write(&bytes),
        }
    }

    fn closed(&mut self, id: u32, turn: &mut Turn<'_>, _why: Closed) {
        let (_, mut stream, _) = self.backends.remove(&id).unwrap();
        turn.deregister(&mut stream).unwrap();
    }

    fn ready(&mut self, turn: &mut Turn<'_>, SourceId(id): SourceId, _event: &Event) {
        self.pump(turn, id);
    }
}

/// Sends everything back, in lower case.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 1000];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..count].to_ascii_lowercase()).unwrap();
                }
            });
        }
    });
    at
}

#[test]
fn a_proxy() {
    let server = Server::start(options(), Proxy { to: backend(), backends: HashMap::new(), next: 0 });
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask(&format!("HELLO {round} {number}")), format!("hello {round} {number}"));
        }
    }
    // Its end comes back, too.
    let mut last = clients.pop().unwrap();
    last.send(b"BYE");
    last.finish();
    assert_eq!(last.rest(), b"bye");
    assert_eq!(server.closed(), "ByPeer");
    drop(clients);
    (0..9).for_each(|_| assert_eq!(server.closed(), "ByPeer"));
}

/// Its own socket, and no connection at all.
struct Datagrams {
    socket: UdpSocket,
    is_over: bool,
}

impl Service for Datagrams {
    type Conn = ();

    fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        turn.register(&mut self.socket, SourceId(0), Interest::READABLE)
    }

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, input: &[u8]) -> usize {
        input.len()
    }

    fn ready(&mut self, turn: &mut Turn<'_>, id: SourceId, event: &Event) {
        assert!(id == SourceId(0) && event.is_readable() && !self.is_over);
        let mut bytes = [0; 100];
        while let Ok((count, from)) = self.socket.recv_from(&mut bytes) {
            self.socket.send_to(&bytes[..count], from).unwrap();
            if &bytes[..count] == b"stop" {
                self.is_over = true;
                turn.deregister(&mut self.socket).unwrap();
            }
        }
    }
}

#[test]
fn a_socket_of_the_service() {
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = socket.local_addr().unwrap();
    let server = Server::start(options(), Datagrams { socket, is_over: false });
    let client = Udp::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    let mut bytes = [0; 100];
    for text in [&b"a"[..], b"b", b"stop"] {
        client.send_to(text, at).unwrap();
        let (count, _) = client.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], text);
    }
    // Nobody is told of this one: the service would panic.
    client.send_to(b"late", at).unwrap();
    let mut tcp = server.connect();
    tcp.finish();
    tcp.ends();
}

/// Timers set when it starts.
struct Clock(Vec<(u32, Option<Duration>)>);

impl Service for Clock {
    type Conn = ();

    fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        self.0.drain(..).for_each(|(id, after)| turn.set_timer(TimerId(id), after));
        Ok(())
    }

    fn opened(&mut self, _io: &mut Io<'_>) {}

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        io.write(input);
        input.len()
    }

    fn timer(&mut self, turn: &mut Turn<'_>, id: TimerId) {
        if id == AT_ONCE {
            turn.set_timer(id, Some(Duration::ZERO));
        }
    }
}

/// Set anew at once, for ever.
const AT_ONCE: TimerId = TimerId(u32::MAX);

fn timers(set: &[(u32, Option<Duration>)]) -> Server {
    Server::start(options(), Clock(set.to_vec()))
}

#[test]
fn timers_come_in_order_and_once() {
    let never = ms(3_600_000);
    let server = timers(&[
        (1, Some(ms(30))),
        (2, Some(ms(10))),
        (3, Some(ms(10))),
        (4, Some(ms(5))),
        (5, Some(never)),
        (6, Some(ms(20))),
        // Taken back, moved forth and back.
        (4, None),
        (6, Some(ms(40))),
        (5, Some(ms(20))),
    ]);
    let started = server.wait(What::Started).at;
    for (id, after) in [(2, 10), (3, 10), (5, 20), (1, 30), (6, 40)] {
        let fact = server.next();
        assert!(fact.what == What::Timer(TimerId(id)) && fact.at - started >= ms(after), "{id}: {fact:?}");
    }
    assert!(!server.end().iter().any(|fact| matches!(fact.what, What::Timer(_))));
}

#[test]
fn a_timer_of_no_time_starves_nobody() {
    let server = timers(&[(AT_ONCE.0, Some(Duration::ZERO))]);
    let mut client = server.connect();
    for _ in 0..10 {
        server.wait(What::Timer(AT_ONCE));
        assert_eq!(client.ask("a"), "a");
    }
}

/// A drain does not wait for them.
#[test]
fn timers_do_not_hold_the_worker() {
    let server = timers(&[(1, Some(ms(3_600_000)))]);
    server.wait(What::Started);
    server.end();
}

#[test]
fn a_service_that_does_not_start_is_an_error() {
    struct Broken;
    impl Service for Broken {
        type Conn = ();
        fn started(&mut self, _turn: &mut Turn<'_>) -> io::Result<()> {
            Err(io::Error::other("no disk"))
        }
        fn opened(&mut self, _io: &mut Io<'_>) {}
        fn received(&mut self, _conn: &mut (), _io: &mut Io<'_>, _input: &[u8]) -> usize {
            0
        }
    }
    let server = Server::start(options(), Broken);
    let at = server.address;
    let error = server.error();
    assert_eq!(format!("{error:#}"), "starting the service: no disk");
    assert_eq!(std::net::TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// From what is known of its worker to what it may count.
#[test]
fn a_connection_knows_where_it_is() {
    struct Curious(mpsc::Sender<(SocketAddr, String, String, usize)>);
    impl Service for Curious {
        type Conn = ();
        fn opened(&mut self, io: &mut Io<'_>) {
            let (slot, id) = io.worker();
            let (peer, address) = (io.peer().unwrap(), io.address().to_owned());
            self.0.send((peer, address, format!("{slot} {id}"), io.turn().connections())).unwrap();
        }
        fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
            io.requests(1);
            io.turn().row().user(0).fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            input.len()
        }
    }
    let (said, heard) = mpsc::channel();
    let door = || Listen::from("127.0.0.1:0");
    let worker = Cluster::new().listen(door().name("a")).listen(door().name("b")).standalone().unwrap();
    let at: Vec<SocketAddr> = worker.addresses().iter().map(|address| address.socket_addr().unwrap()).collect();
    let _server = harness::Closed(worker).run(options(), Curious(said));
    let mut clients = Vec::new();
    for (address, name) in [(at[1], "b"), (at[0], "a")] {
        clients.push(Client::connect(address));
        let peer = clients.last().unwrap().0.local_addr().unwrap();
        let expected = (peer, name.to_owned(), "0 1".to_owned(), clients.len());
        assert_eq!(heard.recv_timeout(WATCHDOG).unwrap(), expected);
    }
}
