//! Node's 2.6, second part: sockets that are a worker's or the primary's own, queues and limits.

use std::{
    fs::File,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    sync::atomic::Ordering,
};

use mio_cluster::{
    Cluster, Io, Listen, Serve, Service, Worker,
    mio::{Events, Interest, Poll, Token},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd::getppid,
};
use socket2::{Domain, Socket, Type};

use super::scenarios;
use crate::{
    harness::{Bench, free_port},
    stage::{Client, Gate, Lent, Lines, Place, Primary, ask, pipe, serve, serve_patiently_on},
};

scenarios!("sockets":
    net_listen warns ["exited with code 0"],
    net_reuseport warns ["exited with code 0"],
    child_process_net_reuseport warns ["exited with code 0"],
    net_listen_exclusive_random_ports warns ["exited with code 0"],
    net_listen_handle_in_cluster_1 warns ["exited with code 0"],
    net_listen_backlog,
    net_server_drop_connection,
    http_server_drop_connections_in_cluster,
    accept_fail warns ["pauses accepting"],
    net_server_close_before_ipc_response seen by net_server_close_before_ipc_response_from_outside,
);

/// A cluster without an address: `listen` says so, a socket of the worker's own works, and the worker exits 0.
fn net_listen(place: &Place) {
    let (mut heard, lent) = pipe();
    let (said, any) = (lent.share(), place.any());
    let mut primary = Primary::start(Cluster::new().manual(), move |mut worker: Worker| {
        assert!(worker.listen().unwrap_err().is_invalid_config());
        let listener = TcpListener::bind(any)?;
        said.say(listener.local_addr()?);
        listener.accept().map(drop)
    });
    let id = primary.fork();
    let at: SocketAddr = heard.line().parse().unwrap();
    assert_ne!(at.port(), 0);
    Client::connect(at).closed();
    assert_eq!(primary.exit(id).status.code(), Some(0));
    primary.end();
}

/// Two SO_REUSEPORT sockets of a worker's own share a port, and the primary is never asked.
fn net_reuseport(place: &Place) {
    let any = place.any();
    let mut primary = Primary::start(Cluster::new().manual(), move |_worker| {
        let first = reuse_port(any);
        let at = first.local_addr().unwrap();
        let both = [first, reuse_port(at)];
        both.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        let mut accepted = [0, 0];
        while accepted.contains(&0) {
            let _client = Client::connect(at);
            let mut counts = accepted.iter_mut().zip(&both);
            counts.by_ref().for_each(|(count, listener)| *count += u32::from(listener.accept().is_ok()));
        }
    });
    let id = primary.fork();
    assert_eq!(primary.exit(id).status.code(), Some(0));
    assert_eq!(primary.events_of(id), ["fork", "online", "ready", "disconnect", "exit"]);
    primary.end();
}

/// Two workers listen, with sockets of their own, on the port at which the primary has bound one with SO_REUSEPORT.
fn child_process_net_reuseport(place: &Place) {
    let parents = bind_reuse_port(place.any());
    let at = parents.local_addr().unwrap().as_socket().unwrap();
    let (mut heard, lent) = pipe();
    let said = lent.share();
    let mut primary = Primary::start(Cluster::new().manual(), move |worker: Worker| {
        let listener = reuse_port(at);
        said.say("listening");
        let (mut client, _peer) = listener.accept().unwrap();
        writeln!(client, "{}", worker.id()).unwrap();
    });
    let ids = [primary.fork(), primary.fork()];
    ids.iter().for_each(|_id| assert_eq!(heard.line(), "listening"));
    // When the first one has answered it is gone, and its socket with it.
    let mut answers: Vec<u64> = Vec::new();
    while answers.len() < 2 {
        answers.extend(Client::connect(at).try_hear().and_then(|line| line.parse::<u64>().ok()));
    }
    answers.sort_unstable();
    assert_eq!(answers, ids);
    assert!(ids.iter().all(|id| primary.exit(*id).status.success()));
    primary.end();
}

/// Port 0 for a socket of a worker's own is another port in each, and the primary hears nothing of it.
fn net_listen_exclusive_random_ports(place: &Place) {
    let (mut heard, lent) = pipe();
    let (said, any) = (lent.share(), place.any());
    let mut primary = Primary::start(Cluster::new().manual(), move |_worker| {
        let listener = TcpListener::bind(any).unwrap();
        said.say(listener.local_addr().unwrap());
        listener.accept().unwrap();
    });
    let ids = [primary.fork(), primary.fork()];
    let ports: [SocketAddr; 2] = [(); 2].map(|()| heard.line().parse().unwrap());
    assert_ne!(ports[0], ports[1]);
    ports.into_iter().for_each(|at| Client::connect(at).closed());
    assert!(ids.iter().all(|id| primary.exit(*id).status.success()));
    assert_eq!(primary.count("listening"), 0);
    primary.end();
}

/// A worker serves on a listener that the primary has opened and that its function captured.
fn net_listen_handle_in_cluster_1(place: &Place) {
    let listener = TcpListener::bind(place.any()).unwrap();
    let at = listener.local_addr().unwrap();
    let lent = Lent::new(listener);
    let inherited = lent.share();
    let mut primary = Primary::start(Cluster::new().manual(), move |worker: Worker| {
        let (mut client, _peer) = inherited.take().accept().unwrap();
        writeln!(client, "{}", worker.id()).unwrap();
    });
    let id = primary.fork();
    assert_eq!(Client::connect(at).hear(), id.to_string());
    assert_eq!(primary.exit(id).status.code(), Some(0));
    primary.end();
}

/// The backlog of the address is the one of the worker's socket: of eight clients that nobody accepts, one more than it
/// get in.
fn net_listen_backlog(place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let cluster = Cluster::new().listen(Listen::from(place.any()).backlog(4)).workers(1);
    let mut primary = Primary::start(cluster, move |mut worker: Worker| {
        worker.is_draining();
        let listener = worker.listen()?;
        inside.wait();
        serve_patiently_on(worker, listener)
    });
    let at = primary.all_ready()[0];
    let clients = [(); 8].map(|()| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _in_progress = client.connect(&at.into());
        client
    });
    let connected = || clients.iter().filter(|client| client.peer_addr().is_ok()).count();
    while connected() < 5 {}
    let mut rest: Vec<PollFd<'_>> =
        clients[5..].iter().map(|client| PollFd::new(client.as_fd(), PollFlags::POLLOUT)).collect();
    assert_eq!((poll(&mut rest, PollTimeout::ZERO), connected()), (Ok(0), 5));
    drop(clients);
    gate.open();
    primary.stop();
}

/// A worker holds exactly as many connections as it may; who comes then is not lost, and has its turn when one leaves.
fn net_server_drop_connection(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(1), |worker: Worker| {
        worker.serve_with(Serve::new().max_connections(9), Lines)
    });
    let at = primary.all_ready()[0];
    let mut clients = [(); 9].map(|()| Client::connect(at));
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(), "1"));
    let mut tenth = Client::connect(at);
    let board = primary.scoreboard();
    while !board.workers()[0].full {}
    assert_eq!(board.workers()[0].open(), 9);
    drop(clients);
    assert_eq!(tenth.ask(), "1");
    drop(tenth);
    primary.stop();
}

/// A service that turns clients away beyond its limit: they see the end, and the worker's count of them is seen by the
/// primary.
fn http_server_drop_connections_in_cluster(place: &Place) {
    let mut primary =
        Primary::start(Cluster::new().listen(place.any()).workers(1), |worker: Worker| worker.serve(AtMostTwo));
    let at = primary.all_ready()[0];
    let mut clients = [(); 2].map(|()| Client::connect(at));
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(), "1"));
    (0..3).for_each(|_| Client::connect(at).closed());
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(), "1"));
    assert_eq!(primary.scoreboard().workers()[0].user[0], 3);
    drop(clients);
    primary.stop();
}

struct AtMostTwo;

impl Service for AtMostTwo {
    type Conn = ();

    fn opened(&mut self, io: &mut Io<'_>) {
        if io.turn().connections() > 2 {
            io.turn().row().user(0).fetch_add(1, Ordering::Relaxed);
            io.close();
        }
    }

    fn received(&mut self, conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        Lines.received(conn, io, input)
    }
}

/// An accept that fails for want of descriptors harms nobody: the client waits, and is served when there are some
/// again.
fn accept_fail(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(1), |mut worker: Worker| {
        worker.is_draining();
        let mut listener = worker.listen()?;
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
        poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
        let hoard = hoard();
        // The spurious first turn, the client, and what the listener does by itself to try again.
        for _try in 0..3 {
            worker.poll(&mut poll, &mut events, None)?;
            assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        drop(hoard);
        serve_patiently_on(worker, listener)
    });
    assert_eq!(ask(primary.all_ready()[0]), "1 false");
    primary.stop();
}

/// All descriptors that this process may still have.
fn hoard() -> Vec<File> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, most).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// A worker dies while the primary has not answered its `listen` yet: nothing is left of it, and the next one listens.
fn net_server_close_before_ipc_response(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).manual(), |worker: Worker| {
        if worker.id().as_u64() == 1 {
            nix::sys::signal::kill(getppid(), Signal::SIGSTOP).unwrap();
            println!("asks {}", std::process::id());
        }
        serve(worker)
    });
    primary.fork();
    assert_eq!(primary.exit(1).status.signal(), Some(mio_cluster::Signal::KILL));
    primary.fork();
    assert_eq!(ask(primary.listening(2)), "2");
    primary.stop();
}

fn net_server_close_before_ipc_response_from_outside(bench: &Bench) {
    let mut run = bench.start("net_server_close_before_ipc_response @");
    let pid: u32 = run.fact("asks").rest().parse().unwrap();
    // Until it sleeps, which is when it waits for the answer.
    while !std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") S ") {}
    run.signal_to(pid, Signal::SIGKILL);
    run.signal(Signal::SIGCONT);
    run.expect("was killed by SIGKILL");
    run.end_with(0);
    assert_eq!(run.all("result").len(), 1);
    free_port(run.all("listening").last().unwrap().get("address")).expect("nothing is left");
}

fn reuse_port(at: SocketAddr) -> TcpListener {
    let socket = bind_reuse_port(at);
    socket.listen(16).unwrap();
    socket.into()
}

fn bind_reuse_port(at: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket
}
