//! Addresses that are added and removed while the cluster runs.

use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
};

use nix::sys::signal::Signal;

use super::unix::Folder;
use crate::harness::{Bench, Client, Run, cases, free_port};

cases!("addresses":
    added_and_removed_in_the_managed_loop,
    added_and_removed_in_a_loop_of_the_program,
    unix_sockets_come_and_go,
    replacements_have_them_from_birth,
    whoever_waits_at_a_removed_address_is_served,
    threads_that_wait_at_a_removed_address_leave,
    worker_that_does_not_leave_is_shut_out,
    worker_that_starts_meanwhile_goes_without_it,
    removal_that_makes_a_worker_ready_wakes_the_program,
    bare_socket_at_a_removed_address_is_shut,
    same_port_again_and_again,
    listeners_not_kept,
    what_cannot_be_added_or_removed,
    not_while_the_cluster_stops,
    room_for_64,
    stopped_workers_hear_of_it_later,
);

fn stop(mut run: Run) {
    run.tell("stop");
    run.end_with(0);
}

/// Waits until so many workers listen there.
fn added(run: &mut Run, what: &str, workers: usize) -> String {
    run.tell(&format!("add {what}"));
    let address = run.fact("added").rest().to_owned();
    for _ in 0..workers {
        let listening =
            run.fact_where("listening", |fact| fact.name() == "listening" && fact.get::<String>("address") == address);
        assert_eq!(listening.get::<String>("address"), address);
    }
    address
}

fn refused_at(address: &str) {
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

fn added_and_removed_in_the_managed_loop(bench: &Bench) {
    let mut run = bench.start(&format!("cluster told listen={0}:0,a workers=2 worker=managed", bench.ip()));
    let first = run.ready();
    let address = added(&mut run, &format!("{}:0,b", bench.ip()), 2);
    let at: SocketAddr = address.parse().unwrap();
    let mut answered = HashSet::new();
    while answered.len() < 2 {
        answered.insert(bench.ask(at, "who"));
    }
    let mut client = bench.connect(at);
    let before = client.ask("descriptors");
    run.tell("remove b");
    assert_eq!(run.fact("removed").rest(), "[\"a\"]");
    run.until("heard_removed", 2);
    // Its connections go on, and so do the other addresses.
    while client.ask("descriptors") == before {}
    refused_at(&address);
    bench.ask(first, "who");
    drop(client);
    run.pass_until(|| free_port(at).is_ok());
    stop(run);
}

fn added_and_removed_in_a_loop_of_the_program(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={}:0,a workers=2 worker=follows", bench.ip()));
    run.ready();
    let address = added(&mut run, &format!("{}:0,b", bench.ip()), 2);
    assert!(run.all("heard_added").iter().all(|fact| fact.rest() == "b true"));
    let at: SocketAddr = address.parse().unwrap();
    let mut answered = HashSet::new();
    while answered.len() < 2 {
        answered.insert(bench.ask(at, "who"));
    }
    run.tell("remove b");
    run.until("heard_removed", 2);
    assert!(run.all("heard_removed").iter().all(|fact| fact.rest() == "b 1"));
    run.pass_until(|| free_port(at).is_ok());
    assert!(TcpStream::connect(at).is_err());
    assert_eq!(run.logged("gives up"), run.logged("its address was removed"));
    stop(run);
}

fn unix_sockets_come_and_go(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    for worker in ["managed told", "follows"] {
        let mut run = bench.start(&format!("cluster listen={}:0,a workers=2 worker={worker}", bench.ip()));
        run.ready();
        added(&mut run, &format!("unix:{path},u,mode=600"), 2);
        bench.connect_unix(&path).ask("who");
        run.tell("remove u");
        run.fact("removed");
        assert!(!Path::new(&path).exists());
        run.until("heard_removed", 2);
        // Once more: its place is another one.
        added(&mut run, &format!("unix:{path},u"), 2);
        bench.connect_unix(&path).ask("who");
        stop(run);
        assert!(!Path::new(&path).exists());
    }
}

fn replacements_have_them_from_birth(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster told listen={}:0,a worker=managed", bench.ip()));
    let first = run.ready();
    let b: SocketAddr = added(&mut run, &format!("{}:0,b", bench.ip()), 1).parse().unwrap();
    added(&mut run, &format!("unix:{path},u"), 1);
    run.tell("remove a");
    run.until("heard_removed", 1);
    run.expect_once("was killed by SIGKILL");
    let pid = run.first("ready").get("pid");
    let before = bench.ask(b, "descriptors");
    run.signal_to(pid, Signal::SIGKILL);
    run.fact_of("ready", 2);
    assert!(bench.ask(b, "who").starts_with("2 0 "));
    assert!(bench.connect_unix(&path).ask("who").starts_with("2 0 "));
    assert_eq!(bench.ask(b, "descriptors"), before, "and nothing of what is gone");
    assert_eq!(run.all("listening").len(), 5, "at three addresses, then at two");
    refused_at(&first.to_string());
    stop(run);
}

/// They came before the worker could hear of it.
fn whoever_waits_at_a_removed_address_is_served(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    for worker in ["managed told", "follows"] {
        let script = format!("cluster listen={0}:0,a listen={0}:0,b listen=unix:{path},u worker={worker}", bench.ip());
        let mut run = bench.start(&script);
        let b = run.ready_at()[1];
        let pid = run.first("ready").get("pid");
        bench.ask(b, "who");
        run.signal_to(pid, Signal::SIGSTOP);
        let mut clients: Vec<Client> = (0..50).map(|_| bench.connect(b)).collect();
        clients.extend((0..50).map(|_| bench.connect_unix(&path)));
        clients.iter_mut().for_each(|client| client.say("who"));
        for name in ["b", "u"] {
            run.tell(&format!("remove {name}"));
            run.fact("removed");
        }
        assert!(bench.stream_unix(&path).is_err(), "at once");
        run.signal_to(pid, Signal::SIGCONT);
        for mut client in clients {
            client.hear().unwrap();
        }
        run.pass_until(|| TcpStream::connect(b).is_err());
        stop(run);
    }
}

fn threads_that_wait_at_a_removed_address_leave(bench: &Bench) {
    let folder = Folder::new(bench);
    let scripts = [
        format!("listen={}:0,a worker=threads", bench.ip()),
        format!("listen=unix:{},a worker=unix_threads", folder.socket()),
    ];
    for script in scripts {
        let mut run = bench.start(&format!("cluster signals restart=never no_restart_on=0 {script}"));
        run.fact("all_ready");
        run.expect("exited with code 0");
        run.tell("remove a");
        assert_eq!(run.fact("joined").rest(), "false");
        run.end_with(0);
    }
}

fn worker_that_does_not_leave_is_shut_out(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={}:0,a worker=deaf", bench.ip()));
    let address = run.ready();
    let waiting = bench.connect(address);
    run.tell("remove a");
    let line = run.log("slot 0 gives up its socket");
    assert!(line.ends_with("its address was removed; 1 waiting client reset"), "{line}");
    waiting.closed();
    refused_at(&address.to_string());
    stop(run);
}

/// In the managed loop it is no failure that an address is gone by the time that the worker gets there.
fn worker_that_starts_meanwhile_goes_without_it(bench: &Bench) {
    let mut run = bench.start(&format!("cluster manual told listen={}:0,a workers=20 worker=managed", bench.ip()));
    for id in 1..=20 {
        run.tell(&format!("add {}:0,b", bench.ip()));
        run.fact("added");
        // In one turn of the master.
        run.tell("fork\nremove b");
        run.fact("removed");
        run.fact_of("ready", id);
    }
    stop(run);
}

/// A program in an edge-triggered loop of its own learns of it without another reason to look.
fn removal_that_makes_a_worker_ready_wakes_the_program(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={0}:0,a listen={0}:0,b worker=only_a", bench.ip()));
    run.fact("listening");
    run.tell("remove b &");
    run.fact("ready");
    stop(run);
}

fn bare_socket_at_a_removed_address_is_shut(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={}:0,a restart=never worker=bare", bench.ip()));
    let address = run.ready();
    bench.ask(address, "who");
    run.tell("remove a");
    run.pass_until(|| TcpStream::connect(address).is_err());
    stop(run);
}

fn same_port_again_and_again(bench: &Bench) {
    let mut run = bench.start(&format!("cluster told listen={}:0,a worker=managed", bench.ip()));
    let first = run.ready();
    let at = bench.free_address();
    let mut counts = HashSet::new();
    for _ in 0..5 {
        added(&mut run, &format!("{at},b"), 1);
        bench.ask(at, "who");
        run.tell("remove b");
        run.until("heard_removed", 1);
        // Its worker has left it.
        run.pass_until(|| TcpListener::bind(at).is_ok());
        run.pass_until(|| {
            let mut client = bench.connect(first);
            let count = client.ask("descriptors");
            counts.insert(count.clone());
            counts.len() <= 2
        });
    }
    assert!(counts.len() <= 2, "with and without the listener that goes: {counts:?}");
    stop(run);
}

fn listeners_not_kept(bench: &Bench) {
    let mut run = bench.start(&format!("cluster keep=false told listen={}:0,a worker=managed", bench.ip()));
    run.ready();
    let address = added(&mut run, &format!("{}:0,b", bench.ip()), 1);
    bench.ask(address.parse::<SocketAddr>().unwrap(), "who");
    run.tell("remove b");
    run.until("heard_removed", 1);
    run.pass_until(|| TcpStream::connect(&*address).is_err());
    stop(run);
}

fn what_cannot_be_added_or_removed(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={}:0,a worker=follows", bench.ip()));
    let a = run.ready();
    let mut other = bench.start(&format!("cluster mode=run listen={}:0", bench.ip()));
    let taken = other.ready();
    let commands = [
        ("remove x".to_owned(), "invalid_config remove_address(\"x\"): there is no address of that name, only: \"a\""),
        (format!("add {a}"), "is given twice"),
        (format!("add {}:0,a", bench.ip()), "invalid_config add_address: two addresses are called \"a\""),
        (format!("add {taken},b"), "address_in_use claiming"),
        ("add nonsense".to_owned(), "is not an address"),
        (format!("add unix:/tmp/{}", "x".repeat(103)), "108 bytes long"),
    ];
    for (command, expected) in commands {
        run.tell(&command);
        let fact = run.fact("refused");
        assert!(fact.rest().contains(expected), "{command}: {fact:?}");
    }
    run.tell("remove a");
    run.fact("removed");
    run.tell("remove a");
    assert!(run.fact("refused").rest().contains("only: "), "only once");
    other.signal(Signal::SIGTERM);
    other.end_with(0);
    stop(run);
}

fn not_while_the_cluster_stops(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={}:0,a", bench.ip()));
    let address = run.ready();
    let mut busy = bench.connect(address);
    busy.ask("who");
    run.tell("stop");
    run.fact("stopping");
    run.tell(&format!("add {}:0,b", bench.ip()));
    assert!(run.fact("refused").rest().starts_with("gone add_address: the cluster is stopping"));
    run.tell("remove a");
    run.fact("removed");
    drop(busy);
    run.end_with(0);
}

fn room_for_64(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={}:0,a0 told worker=managed", bench.ip()));
    run.ready();
    for number in 1..64 {
        let address = added(&mut run, &format!("{}:0,a{number}", bench.ip()), 1);
        run.tell(&format!("remove a{number}"));
        run.fact("removed");
        run.pass_until(|| TcpStream::connect(&*address).is_err());
    }
    run.tell(&format!("add {}:0,a64", bench.ip()));
    assert!(run.fact("refused").rest().contains("room for 64 addresses in its life"));
    stop(run);
}

/// Its channel is full: what is gone again by the time that there is room it never hears of.
fn stopped_workers_hear_of_it_later(bench: &Bench) {
    let mut run = bench.start(&format!("cluster listen={0}:0,a told worker=managed", bench.ip()));
    run.ready();
    let pid = run.first("ready").get("pid");
    run.signal_to(pid, Signal::SIGSTOP);
    run.tell("flood 8");
    run.fact("flooded");
    for round in 0..20 {
        run.tell(&format!("add {}:0,b{round}", bench.ip()));
        run.fact("added");
        run.tell(&format!("remove b{round}"));
        run.fact("removed");
    }
    run.tell(&format!("add {}:0,last", bench.ip()));
    let last: SocketAddr = run.fact("added").rest().parse().unwrap();
    run.signal_to(pid, Signal::SIGCONT);
    run.fact_where("listening", |fact| fact.name() == "listening" && fact.get::<String>("address") == last.to_string());
    bench.ask(last, "who");
    run.tell("stop");
    run.end_with(0);
    let heard = run.all("heard_added").len();
    assert!(heard < 21 && heard == run.all("heard_removed").len() + 1, "{heard}");
}
