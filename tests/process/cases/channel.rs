//! A worker that sends what it should not: the master survives, and says so once.

use crate::harness::{Bench, cases};

cases!("channel":
    malformed_packets_are_said_once,
    refused_sockets_do_not_fill_the_log,
    wrong_sockets_are_refused_and_closed,
    what_waits_for_the_master_is_sent_when_it_reads,
);

/// What is sent, and how the master calls it.
const PACKETS: [(&str, &str); 13] = [
    ("empty", "empty packet"),
    ("short", "packet of 3 bytes, too short for a header"),
    ("unknown", "unknown kind 77"),
    ("oversized", "packet of more than 65536 bytes"),
    ("token", "Ready with a token that does not belong there"),
    ("batch", "batch whose lengths do not add up"),
    ("request", "a request, which only a master makes"),
    ("stray_descriptor", "Message that announces 0 descriptors and brings 1"),
    ("of_a_master", "a statement that only a master makes"),
    ("no_descriptor", "Listen that announces 0 descriptors and brings 0"),
    ("no_such_address", "there is no address number 99"),
    ("descriptors", "Ready that announces 0 descriptors and brings 1"),
    ("opened", "that it keeps a socket to itself"),
];

/// Each kind from a worker of its own, which serves on; then more of everything from the last one.
fn malformed_packets_are_said_once(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 backoff=1,1");
    let address = run.ready();
    run.expect("exited with code 0");
    for (id, (packet, text)) in (1..).zip(PACKETS) {
        let mut client = bench.connect(address);
        for _ in 0..3 {
            assert!(client.ask(&format!("send {packet}")).starts_with("Ok("));
        }
        assert!(client.ask("who").starts_with(&format!("{id} 0 ")));
        // While the worker lives: of a dead one, an empty packet looks like the end.
        run.log(&format!("worker {id} sent "));
        run.expect(text);
        client.say("return");
        client.closed();
        run.fact_of("ready", id + 1);
    }
    let mut client = bench.connect(address);
    for (packet, _) in PACKETS.iter().cycle().take(50) {
        client.ask(&format!("send {packet}"));
    }
    client.ask("who");
    drop(client);
    run.log("worker 14 sent ");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
    assert_eq!(run.logged("it is ignored, and so is more of the kind"), 14);
}

/// Descriptors that are no socket of this address.
fn refused_sockets_do_not_fill_the_log(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let mut client = bench.connect(run.ready());
    for _ in 0..5 {
        assert!(client.ask("send no_socket").starts_with("Ok("));
    }
    drop(client);
    run.expect_once("examining the socket");
    run.log("examining the socket");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
}

/// What a worker hands over instead of its socket, and how the master calls it.
const SOCKETS: [(&str, &str); 6] = [
    ("udp", "is not a stream socket"),
    ("unix", "is bound to no IP address"),
    ("foreign_port", "is bound to 127."),
    ("of_nobody", "is bound to 0.0.0.0:0"),
    ("another_listener", "listens already"),
    ("many", "Listen that announces 253 descriptors and brings 253"),
];

/// Each from a worker of its own, which serves on; the master keeps none of them.
fn wrong_sockets_are_refused_and_closed(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 backoff=1,1");
    let address = run.ready();
    run.expect("exited with code 0");
    let mut open = Vec::new();
    for (id, (socket, text)) in (1..).zip(SOCKETS) {
        let mut client = bench.connect(address);
        assert!(client.ask(&format!("hand_over {socket}")).starts_with("Ok("));
        assert!(client.ask("who").starts_with(&format!("{id} 0 ")), "the worker serves on");
        let line = run.log(text);
        assert!(line.contains(&format!("worker {id}")), "{line}");
        client.say("return");
        client.closed();
        run.fact_of("ready", id + 1);
        open.push(std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count());
    }
    assert!(open.iter().all(|count| *count == open[0]), "descriptors of the master after each: {open:?}");
    assert_eq!(bench.ask(address, "hand_over too_many"), "Err(EINVAL)", "the kernel's own limit");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
}

/// By a worker that has nothing else to say, and to which nothing is said.
fn what_waits_for_the_master_is_sent_when_it_reads(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=drops_while_the_master_is_stopped");
    run.ready();
    run.log("slot 0 gives up its socket");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
}
