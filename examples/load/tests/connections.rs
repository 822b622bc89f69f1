use std::{
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use clap::Parser;
use mio_cluster::mio::{Events, Poll, Token};
use socket2::SockRef;

use crate::{
    client::{Asked, Client, End},
    connection::Connection,
    failure::Failure,
    options::Options,
    socket::Sockets,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

fn listener() -> (TcpListener, Sockets) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let plan = Options::parse_from(["load", &address, "--source", "127.0.0.2", "--source", "127.0.0.3"]).plan();
    (listener, Sockets::new(&plan.unwrap()).unwrap())
}

fn start(sockets: &mut Sockets, poll: &Poll) -> Connection {
    Connection::start(sockets, poll.registry(), Token(7), Client::new(0), Instant::now()).unwrap()
}

/// The reset is there before the client had a look at the connection.
#[test]
fn a_reset_before_the_request_is_told_from_one_after_it() {
    let (listener, mut sockets) = listener();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
    let mut connection = start(&mut sockets, &poll);
    connection.ask(Asked { wanted: Instant::now(), begun: Instant::now() }, REQUEST.len());
    let (stream, _) = listener.accept().unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    while !events.iter().any(|event| event.is_error()) {
        poll.poll(&mut events, None).unwrap();
    }
    let event = events.iter().next().unwrap();
    let news = connection.work(event, REQUEST, &mut [0; 99], &mut |_, _, _| unreachable!("nobody has answered"));
    assert!(news.established);
    assert_eq!(news.end, Some(End::Failed(Failure::ResetBeforeRequest)));
    assert!(!connection.client.is_connecting());
}

#[test]
fn local_addresses_are_used_in_turn() {
    let (listener, mut sockets) = listener();
    let poll = Poll::new().unwrap();
    let connections: Vec<_> = (0..4).map(|_| start(&mut sockets, &poll)).collect();
    let peers: Vec<_> = connections.iter().map(|_| listener.accept().unwrap().1.ip().to_string()).collect();
    assert_eq!(peers, ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
}
