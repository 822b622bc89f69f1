//! Workers without a fork, on the threads of libtest: what a user's own unit tests do.
#![allow(clippy::unwrap_used, reason = "a test program: a failure is a panic")]

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process,
    thread::{self, JoinHandle},
    time::Duration,
};

use mio_cluster::{
    Cluster, Listen, Worker, WorkerEvent, WorkerHandle, is_master, is_worker,
    mio::{Events, Interest, Poll, Token},
};

/// Greets whoever connects with the number of its greeting, until it is to leave.
fn greet(mut worker: Worker) -> io::Result<usize> {
    let mut listener = worker.listen()?;
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let mut greeted = 0;
    loop {
        worker.poll(&mut poll, &mut events, None)?;
        let last_turn = worker.is_draining();
        while let Ok((mut stream, _)) = listener.accept() {
            greeted += 1;
            writeln!(stream, "{greeted} {}", worker.addresses()[0])?;
        }
        if last_turn {
            return Ok(greeted);
        }
    }
}

struct Server {
    address: SocketAddr,
    handle: WorkerHandle,
    thread: JoinHandle<io::Result<usize>>,
}

impl Server {
    fn start(ip: Ipv4Addr) -> Self {
        let worker = Cluster::new().listen(SocketAddr::from((ip, 0))).standalone().unwrap();
        let (address, handle) = (at(&worker), worker.handle());
        Self { address, handle, thread: thread::spawn(|| greet(worker)) }
    }

    fn end(self) -> usize {
        self.handle.disconnect().unwrap();
        self.thread.join().unwrap().unwrap()
    }
}

fn at(worker: &Worker) -> SocketAddr {
    worker.addresses()[0].socket_addr().unwrap()
}

/// An address of this test and this run: a port of it is free or taken because of the test and of nobody else.
fn own_ip(test: u8) -> Ipv4Addr {
    let [.., high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, test)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream
}

fn greeting(stream: TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn several_serve_at_once() {
    let servers: Vec<Server> = (0..4).map(|_| Server::start(own_ip(1))).collect();
    for round in 1..=3 {
        for server in &servers {
            assert_eq!(greeting(connect(server.address)), format!("{round} {}", server.address));
        }
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    assert!(servers.into_iter().all(|server| server.end() == 3));
    for address in addresses {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn whoever_connects_before_it_listens_is_served_also_by_one_that_leaves() {
    let worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
    let clients: Vec<TcpStream> = (0..3).map(|_| connect(at(&worker))).collect();
    worker.handle().disconnect().unwrap();
    let thread = thread::spawn(|| greet(worker));
    assert!(clients.into_iter().all(|client| !greeting(client).is_empty()));
    assert_eq!(thread.join().unwrap().unwrap(), 3);
}

/// One whose loop sleeps on the worker alone, and has looked before.
#[test]
fn a_sleeping_loop_is_woken() {
    let mut worker = Cluster::new().drain_timeout(Duration::from_secs(7)).standalone().unwrap();
    let handle = worker.handle();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
    poll.registry().register(&mut worker, Token(0), Interest::READABLE).unwrap();
    // Until its own readiness from birth is over, and nothing but the handle can wake it.
    while !worker.is_draining() {
        worker.poll(&mut poll, &mut events, Some(Duration::ZERO)).unwrap();
        if events.is_empty() {
            break;
        }
    }
    let thread = thread::spawn(move || {
        let mut heard = Vec::new();
        while heard.is_empty() {
            worker.poll(&mut poll, &mut events, None).unwrap();
            heard.extend(std::iter::from_fn(|| worker.next_event()));
        }
        assert!(worker.is_draining());
        (heard, worker)
    });
    handle.disconnect().unwrap();
    let (heard, mut worker) = thread.join().unwrap();
    assert!(matches!(heard[..], [WorkerEvent::Drain { within }] if within == Duration::from_secs(7)));
    // Asking again changes nothing.
    handle.clone().disconnect().unwrap();
    worker.disconnect().unwrap();
    worker.dispatch().unwrap();
    assert!(worker.next_event().is_none());
}

#[test]
fn threads_that_wait_in_accept_are_woken() {
    let mut worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
    let (listener, handle, address) = (worker.listen().unwrap(), worker.handle(), at(&worker));
    thread::scope(|scope| {
        let serve = || {
            while let Some((mut stream, _)) = listener.accept_blocking().unwrap() {
                writeln!(stream, "hello").unwrap();
            }
        };
        let threads = [scope.spawn(serve), scope.spawn(serve)];
        assert_eq!(greeting(connect(address)), "hello");
        handle.disconnect().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Also if the loop never turns again.
#[test]
fn a_bare_socket_is_shut() {
    let mut worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
    let bare = worker.listen().unwrap().into_std().unwrap();
    assert_eq!(bare.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    worker.handle().disconnect().unwrap();
    assert_eq!(bare.accept().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_handle_says_that_the_worker_is_gone() {
    let mut worker = Cluster::new().listen("127.0.0.1:0").standalone().unwrap();
    let (handle, listener) = (worker.handle(), worker.listen().unwrap());
    drop(worker);
    handle.disconnect().expect("the listener still serves");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(listener);
    assert!(handle.disconnect().unwrap_err().is_gone());
}

#[test]
fn a_port_in_use_is_refused_in_the_usual_words() {
    let any = SocketAddr::from((own_ip(2), 0));
    let foreign = TcpListener::bind(any).unwrap();
    let worker = Cluster::new().listen(any).standalone().unwrap();
    for address in [foreign.local_addr().unwrap(), at(&worker)] {
        let error = Cluster::new().listen(address).standalone().unwrap_err();
        assert!(error.is_address_in_use());
        let text = format!("claiming {address}: another program, or another copy of this one, has it");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    let address = at(&worker);
    drop(worker);
    Cluster::new().listen(address).standalone().expect("the port is free again");
}

#[test]
fn a_bad_configuration_is_refused_as_by_run() {
    let bad = || Cluster::new().workers(0).listen("localhost:80").ready_timeout(Duration::ZERO);
    let error = bad().standalone().unwrap_err();
    assert!(error.is_invalid_config());
    assert_eq!(error.to_string(), bad().run(|_worker| ()).unwrap_err().to_string());
}

#[test]
fn it_is_worker_1_in_slot_0_and_the_process_has_no_role() {
    let mut worker = Cluster::new().workers(8).standalone().unwrap();
    assert_eq!((worker.id().as_u64(), worker.slot().index()), (1, 0));
    assert!(!is_worker() && !is_master());
    worker.ready().unwrap();
    worker.dispatch().unwrap();
    assert!(!worker.is_draining());
    assert!(worker.listen().unwrap_err().to_string().contains("the cluster has no address"));
}

#[test]
fn addresses_have_names_and_one_listener_each() {
    let cluster = Cluster::new().listen(Listen::from("127.0.0.1:0").name("a"));
    let mut worker = cluster.listen(Listen::from("127.0.0.1:0").name("b")).standalone().unwrap();
    assert!(worker.listen_on("c").unwrap_err().to_string().contains("\"a\", \"b\""));
    let b = worker.listen_on("b").unwrap();
    assert_eq!(b.local_addr().ok(), worker.addresses()[1].socket_addr());
    assert!(worker.listen_on("b").unwrap_err().to_string().contains("drop that listener first"));
    drop(b);
    let address = worker.addresses()[1].socket_addr().unwrap();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let b = worker.listen_on("b").unwrap();
    TcpStream::connect(b.local_addr().unwrap()).unwrap();
    TcpStream::connect(at(&worker)).expect("nobody has asked for this one yet, and it is open");
}

/// For one read; a server answers at once.
const WATCHDOG: Duration = Duration::from_secs(60);
