//! Addresses: whose they are, what a second claimant is told, and that all workers share them.

use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Fact, Run, cases, free_port};

cases!("ports":
    one_port_for_all,
    port_0_is_known_when_start_returns,
    second_start_is_refused,
    second_start_is_refused_while_no_worker_lives,
    second_start_is_refused_also_of_simultaneous_ones,
    second_cluster_of_a_process_is_refused,
    foreign_listener_comes_first,
    foreign_listener_comes_second,
    port_is_free_for_the_next_start,
    not_an_address_of_this_machine,
    low_port_without_the_right,
    several_named_addresses,
    ipv6,
    dual_stack,
    v6_only_beside_ipv4,
);

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn one_port_for_all(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=4");
    let address = run.ready();
    assert_ne!(address.port(), 0);
    assert!(run.all("listening").iter().all(|fact| fact.get::<SocketAddr>("address") == address));
    let mut answered = HashSet::new();
    // The kernel picks by a hash; all four have answered after about eight.
    while answered.len() < 4 {
        answered.insert(bench.ask(address, "who"));
    }
    stop(run);
}

fn port_0_is_known_when_start_returns(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 signals");
    let known: SocketAddr = run.fact("address").rest().parse().unwrap();
    assert!(run.all("listening").is_empty());
    assert_eq!(run.ready(), known);
    stop(run);
}

/// Starts another cluster at `address`, which must be told whose it is.
fn refused(bench: &Bench, address: SocketAddr) {
    let mut second = bench.start(&format!("cluster mode=run listen={address}"));
    let result = second.fact("result");
    let text = result.rest();
    assert!(text.starts_with("address_in_use") && text.contains(&address.to_string()), "{text}");
    assert!(text.contains("another copy of this one") && text.contains("choose another port"), "{text}");
    second.end_with(1);
}

fn second_start_is_refused(bench: &Bench) {
    for address in [bench.free_address(), (bench.ip(), 0).into()] {
        let mut first = bench.start(&format!("cluster mode=run listen={address} workers=2"));
        let address = first.ready();
        refused(bench, address);
        refused(bench, address);
        bench.ask(address, "who");
        stop(first);
    }
}

fn second_start_is_refused_while_no_worker_lives(bench: &Bench) {
    let mut first = bench.start(&format!("cluster listen={} manual signals", bench.free_address()));
    let address: SocketAddr = first.fact("address").rest().parse().unwrap();
    refused(bench, address);
    first.tell("fork");
    first.fact("ready");
    bench.ask(address, "who");
    stop(first);
}

/// Exactly one of ten that start at once has the port, whichever it is.
fn second_start_is_refused_also_of_simultaneous_ones(bench: &Bench) {
    let script = format!("cluster mode=run listen={}", bench.free_address());
    one_wins((0..10).map(|_| bench.start(&script)), String::new);
}

/// Of programs that start at once one serves, as `ask` shows, and the others are refused.
pub(super) fn one_wins(runs: impl Iterator<Item = Run>, ask: impl FnOnce() -> String) {
    let mut runs: Vec<Run> = runs.collect();
    let outcomes: Vec<Fact> = runs.iter_mut().map(Run::outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.name() == "all_ready").count(), 1, "{outcomes:?}");
    ask();
    for (mut run, outcome) in runs.into_iter().zip(outcomes) {
        if outcome.name() == "all_ready" {
            stop(run);
        } else {
            assert!(outcome.rest().starts_with("address_in_use"), "{outcome:?}");
            run.end_with(1);
        }
    }
}

fn second_cluster_of_a_process_is_refused(bench: &Bench) {
    let mut run = bench.start("two_masters listen=@:0 same_port");
    assert!(run.fact("second").rest().starts_with("address_in_use"));
    run.end_with(0);
}

fn foreign_listener_comes_first(bench: &Bench) {
    let foreign = TcpListener::bind((bench.ip(), 0)).unwrap();
    refused(bench, foreign.local_addr().unwrap());
    let mut wildcard =
        bench.start(&format!("cluster mode=run listen=0.0.0.0:{}", foreign.local_addr().unwrap().port()));
    assert!(wildcard.fact("result").rest().starts_with("address_in_use"));
    wildcard.end_with(1);
}

fn foreign_listener_comes_second(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let address = run.ready();
    assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
    let wildcard = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    assert_eq!(TcpListener::bind(wildcard).unwrap_err().kind(), ErrorKind::AddrInUse);
    bench.ask(address, "who");
    stop(run);
}

/// Connections that the server has closed are in TIME_WAIT at its port; they keep nobody away.
fn port_is_free_for_the_next_start(bench: &Bench) {
    let address = bench.free_address();
    for _ in 0..3 {
        let mut run = bench.start(&format!("cluster mode=run listen={address}"));
        run.ready();
        let mut client = bench.connect(address);
        client.ask("who");
        client.say("return");
        client.closed();
        run.expect("exited with code 0");
        run.fact("exit");
        // Its replacement may be about to listen.
        run.allow("this worker is to leave");
        stop(run);
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

fn not_an_address_of_this_machine(bench: &Bench) {
    // TEST-NET-3, which no machine has.
    let mut run = bench.start("cluster mode=run listen=203.0.113.7:8000");
    let result = run.fact("result");
    let text = result.rest();
    assert!(text.contains("203.0.113.7:8000: this machine has no such address (`ip address` lists them)"), "{text}");
    run.end_with(1);
}

fn low_port_without_the_right(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=0.0.0.0:80 own_ports unprivileged");
    let result = run.outcome();
    if let Some(why) = run.all("impossible").first() {
        run.dies_by(Signal::SIGKILL);
        run.end();
        bench.cannot(why.rest());
    }
    let text = result.rest();
    assert!(text.starts_with("permission_denied") && text.contains("0.0.0.0:80"), "{text}");
    assert!(text.contains("CAP_NET_BIND_SERVICE") && text.contains("from 1024"), "{text}");
    run.end_with(1);
}

fn several_named_addresses(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0,a listen=@:0,b workers=2 worker=both");
    let addresses = run.ready_at();
    assert_eq!(addresses.len(), 2);
    assert_eq!(run.all("listening").len(), 4);
    assert!(run.all("b").iter().all(|fact| fact.rest() == addresses[1].to_string()));
    bench.ask(addresses[0], "who");
    TcpStream::connect(addresses[1]).unwrap();
    // Nobody accepts there.
    run.expect_once("1 waiting client reset");
    stop(run);
}

/// A port for IPv6, or the case is ignored.
fn v6_port(bench: &Bench) -> u16 {
    match free_port((Ipv6Addr::LOCALHOST, 0).into()) {
        Ok(address) => address.port(),
        Err(error) => bench.cannot(&format!("no IPv6 on this machine: {error}")),
    }
}

fn ipv6(bench: &Bench) {
    let port = v6_port(bench);
    for port in [0, port] {
        let mut run = bench.start(&format!("cluster mode=run listen=[::1]:{port} workers=2"));
        let address = run.ready();
        assert!(address.is_ipv6());
        refused(bench, address);
        bench.ask(address, "who");
        stop(run);
    }
}

fn dual_stack(bench: &Bench) {
    v6_port(bench);
    let mut run = bench.start("cluster mode=run listen=[::]:0");
    let port = run.ready().port();
    bench.ask((Ipv6Addr::LOCALHOST, port), "who");
    bench.ask((bench.ip(), port), "who");
    stop(run);

    let mut run = bench.start("cluster mode=run listen=[::]:0,v6_only");
    let port = run.ready().port();
    bench.ask((Ipv6Addr::LOCALHOST, port), "who");
    let refused = TcpStream::connect((bench.ip(), port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    stop(run);
}

fn v6_only_beside_ipv4(bench: &Bench) {
    let port = v6_port(bench);
    let script = format!("cluster mode=run listen=0.0.0.0:{port},a listen=[::]:{port},b worker=both");
    let mut run = bench.start(&script);
    run.ready();
    bench.ask((bench.ip(), port), "who");
    TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    run.expect_once("1 waiting client reset");
    stop(run);
}
