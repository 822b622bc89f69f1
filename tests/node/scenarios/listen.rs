//! Node's 2.6, first part: one address for all workers, and whose it is.

use std::{
    io::{self, BufRead, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use mio_cluster::{Cluster, Error, Listen, Worker};

use super::scenarios;
use crate::{
    harness::{self, Bench},
    stage::{Client, Gate, Place, Primary, ask, ask_all, idle, idlers, serve, serve_patiently, serve_patiently_on},
};

scenarios!("listen":
    listening_port,
    bind_twice seen by bind_twice_from_outside,
    eaddrinuse seen by eaddrinuse_from_outside,
    shared_handle_bind_error,
    bind_privileged_port,
    shared_handle_bind_privileged_port warns ["exited with code 0"],
    child_index_net,
    server_restart_rr,
    server_restart_none,
    net_listen_ipv6only_false,
    net_listen_ipv6only_rr,
    net_listen_ipv6only_none,
    port_reuse_between_workers,
    net_listen_twice,
    net_listen_shared_ports,
);

/// Port 0: the primary knows the real port from the event, which is the one that the address has.
fn listening_port(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), serve);
    let [first, second] = [1, 2].map(|id| primary.listening(id));
    assert!(first.port() != 0 && first == second, "{first} {second}");
    assert_eq!(primary.addresses()[0].socket_addr(), Some(first));
    ask_all(first, 2);
    primary.stop();
}

/// Two independent clusters at one address: the second one is refused, and the first one serves as before.
fn bind_twice(place: &Place) {
    let cluster = Cluster::new().workers(2);
    let Some(at) = place.1 else {
        let mut primary = Primary::start(cluster.listen(place.any()), serve);
        let at = primary.all_ready()[0];
        wait_for_a_line();
        ask_all(at, 2);
        return primary.stop();
    };
    let refused = cluster.listen(at).start(serve).unwrap_err();
    assert!(refused.is_address_in_use() && refused.to_string().contains(&at.to_string()), "{refused:?}");
}

fn bind_twice_from_outside(bench: &Bench) {
    let mut first = bench.start("bind_twice @");
    let at = first.ready();
    bench.start(&format!("bind_twice @ {at}")).end_with(0);
    first.tell("go on");
    first.end_with(0);
}

/// A taken address is refused, leaves the program as it was, and can be had as soon as it is given back.
fn eaddrinuse(place: &Place) {
    let Some(at) = place.1 else {
        let taken = TcpListener::bind(place.any()).unwrap();
        println!("taken {}", taken.local_addr().unwrap());
        return wait_for_a_line();
    };
    assert!(Cluster::new().listen(at).start(serve).unwrap_err().is_address_in_use());
    println!("refused");
    wait_for_a_line();
    let mut primary = Primary::start(Cluster::new().listen(at).workers(2), serve);
    primary.all_ready();
    ask_all(at, 2);
    primary.stop();
}

fn eaddrinuse_from_outside(bench: &Bench) {
    let mut holder = bench.start("eaddrinuse @");
    let mut run = bench.start(&format!("eaddrinuse @ {}", holder.fact("taken").rest()));
    run.fact("refused");
    holder.tell("give it back");
    holder.end_with(0);
    run.tell("go on");
    run.end_with(0);
}

/// A port that the primary itself holds is refused to its cluster and to its worker, and the worker exits 0.
fn shared_handle_bind_error(place: &Place) {
    let hogged = TcpListener::bind(place.any()).unwrap();
    let at = hogged.local_addr().unwrap();
    assert!(Cluster::new().listen(at).start(serve).unwrap_err().is_address_in_use());
    let mut primary = Primary::start(idlers().workers(1), move |worker: Worker| {
        assert_eq!(TcpListener::bind(at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        idle(worker)
    });
    primary.ready(1);
    let id = primary.id(1);
    primary.disconnect(id).unwrap();
    assert!(primary.exit(1).status.success());
    primary.end();
}

/// Port 42 without the right to it: the error says so, and the program ends well.
fn bind_privileged_port(_place: &Place) {
    if !harness::restrict_low_ports(42) {
        return;
    }
    harness::become_unprivileged(false);
    let refused: Error = Cluster::new().listen("0.0.0.0:42").start(serve).unwrap_err();
    assert!(refused.is_permission_denied() && refused.to_string().contains("0.0.0.0:42"), "{refused:?}");
}

/// The same for a worker that binds by itself: it gets the error and exits 0.
fn shared_handle_bind_privileged_port(_place: &Place) {
    if !harness::restrict_low_ports(42) {
        return;
    }
    harness::become_unprivileged(false);
    let mut primary = Primary::start(Cluster::new().manual(), |_worker| {
        assert_eq!(TcpListener::bind("0.0.0.0:42").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    });
    let id = primary.fork();
    assert_eq!(primary.exit(id).status.code(), Some(0));
    primary.end();
}

/// Two addresses opened and closed in turn, again and again, by one worker: it can go on, and both serve at last.
fn child_index_net(place: &Place) {
    let cluster = idlers().listen(Listen::from(place.any()).name("a")).listen(Listen::from(place.any()).name("b"));
    let mut primary = Primary::start(cluster.workers(1), |mut worker: Worker| {
        worker.is_draining();
        for _round in 0..10 {
            let a = worker.listen_on("a")?;
            let b = worker.listen_on("b")?;
            drop(a);
            drop(worker.listen_on("a")?);
            drop(b);
        }
        let listeners = [worker.listen_on("a")?, worker.listen_on("b")?];
        worker.ready()?;
        for listener in listeners {
            while let Some((mut client, _peer)) = listener.accept_blocking()? {
                writeln!(client, "{}", listener.local_addr()?)?;
            }
        }
        Ok::<(), io::Error>(())
    });
    let at = primary.all_ready();
    let mut b = Client::connect(at[1]);
    assert_eq!(Client::connect(at[0]).hear(), at[0].to_string());
    let id = primary.id(1);
    primary.disconnect(id).unwrap();
    assert_eq!(b.hear(), at[1].to_string());
    assert!(primary.exit(1).status.success());
    primary.end();
}

/// One worker closes and listens again at the shared address while the other one serves its client: both exit 0.
fn server_restart_rr(place: &Place) {
    server_restart(place, true);
}

/// The same when the master keeps no sockets.
fn server_restart_none(place: &Place) {
    server_restart(place, false);
}

fn server_restart(place: &Place, keep: bool) {
    let gate = Gate::new();
    let inside = gate.share();
    let cluster = idlers().listen(place.any()).manual().keep_listeners(keep);
    let mut primary = Primary::start(cluster, move |mut worker: Worker| {
        worker.is_draining();
        let mut listener = worker.listen()?;
        if worker.id().as_u64() == 2 {
            inside.wait();
            for _round in 0..10 {
                drop(listener);
                listener = worker.listen()?;
            }
        }
        worker.ready()?;
        serve_patiently_on(worker, listener)
    });
    primary.fork();
    let at = primary.listening(1);
    let mut client = Client::connect(at);
    assert_eq!(client.ask(), "1 false");
    primary.fork();
    primary.listening(2);
    gate.open();
    primary.ready(2);
    assert_eq!(client.ask(), "1 false");
    drop(client);
    ask_all(at, 2);
    let ids = [1, 2].map(|id| primary.id(id));
    ids.into_iter().for_each(|id| primary.disconnect(id).unwrap());
    assert!([1, 2].into_iter().all(|id| primary.exit(id).status.success()));
    primary.end();
}

/// `[::]` takes IPv4, too: three workers agree on the port, and an IPv4 client gets in.
fn net_listen_ipv6only_false(place: &Place) {
    if !has_ipv6() {
        return;
    }
    let mut primary = Primary::start(Cluster::new().listen("[::]:0").workers(3), serve);
    let at = [1, 2, 3].map(|id| primary.listening(id));
    assert!(at[0].port() != 0 && at.iter().all(|other| *other == at[0]), "{at:?}");
    ask_all((place.0, at[0].port()).into(), 3);
    ask((Ipv6Addr::LOCALHOST, at[0].port()).into());
    primary.stop();
}

/// With `v6_only` the IPv4 side of the same port stays free for others.
fn net_listen_ipv6only_rr(place: &Place) {
    ipv6_only(place, true);
}

/// The same when the master keeps no sockets.
fn net_listen_ipv6only_none(place: &Place) {
    ipv6_only(place, false);
}

fn ipv6_only(place: &Place, keep: bool) {
    if !has_ipv6() {
        return;
    }
    let cluster = Cluster::new().listen(Listen::from("[::]:0").v6_only(true)).workers(2).keep_listeners(keep);
    let mut primary = Primary::start(cluster, serve);
    let port = primary.all_ready()[0].port();
    let v4 = SocketAddr::from((place.0, port));
    assert_eq!(TcpStream::connect(v4).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    drop(TcpListener::bind(v4).expect("the IPv4 side is free"));
    ask((Ipv6Addr::LOCALHOST, port).into());
    primary.stop();
}

/// After a second `listen` that failed, and a close, in worker 1, worker 2 takes the port, and then worker 1 again.
fn port_reuse_between_workers(place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(idlers().listen(place.any()).manual(), move |mut worker: Worker| {
        worker.is_draining();
        let mut listener = worker.listen()?;
        if worker.id().as_u64() == 1 {
            assert!(worker.listen().unwrap_err().is_invalid_config());
            drop(listener);
            inside.wait();
            listener = worker.listen()?;
        }
        worker.ready()?;
        serve_patiently_on(worker, listener)
    });
    primary.fork();
    let at = primary.listening(1);
    primary.fork();
    primary.ready(2);
    gate.open();
    primary.ready(1);
    ask_all(at, 2);
    primary.stop();
}

/// To listen twice is an error, there is one event, and the worker serves on and exits 0.
fn net_listen_twice(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(1), |mut worker: Worker| {
        worker.is_draining();
        let listener = worker.listen()?;
        assert!(worker.listen().unwrap_err().is_invalid_config());
        serve_patiently_on(worker, listener)
    });
    assert_eq!(ask(primary.all_ready()[0]), "1 false");
    let id = primary.id(1);
    primary.disconnect(id).unwrap();
    assert!(primary.exit(1).status.success());
    assert_eq!(primary.count("listening"), 1);
    primary.end();
}

/// Both workers have the shared port; a socket of a worker's own at the same address is refused, in either of them.
fn net_listen_shared_ports(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(2), |worker: Worker| {
        let at = worker.addresses()[0].socket_addr().unwrap();
        assert_eq!(TcpListener::bind(at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        serve_patiently(worker)
    });
    ask_all(primary.all_ready()[0], 2);
    primary.stop();
}

fn has_ipv6() -> bool {
    let bound = TcpListener::bind((IpAddr::from(Ipv6Addr::LOCALHOST), 0));
    if let Err(error) = &bound {
        println!("impossible no IPv6 on this machine: {error}");
    }
    bound.is_ok()
}

/// What the harness says.
fn wait_for_a_line() {
    io::stdin().lock().read_line(&mut String::new()).unwrap();
}
