//! The listener in loops, threads and shortages, and the bare socket.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, cases};

cases!("listener":
    threads_that_wait_are_woken_one_by_one_and_all_at_the_end,
    threads_finish_what_waits,
    shortage_of_descriptors_pauses_accepting,
    thread_sleeps_in_a_drain_without_descriptors,
    registered_in_two_polls,
    dropped_while_registered_it_leaves_no_ghost,
    bare_socket_is_drained,
    bare_socket_survives_its_worker,
    bare_socket_made_blocking_blocks_nobody_else,
);

fn threads_that_wait_are_woken_one_by_one_and_all_at_the_end(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=threads");
    let address = run.ready();
    for _ in 0..20 {
        bench.ask(address, "who");
    }
    // Each takes a thread.
    let mut clients: Vec<Client> = (0..4).map(|_| bench.connect(address)).collect();
    for client in clients.iter_mut().rev() {
        client.ask("who");
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("joined").rest(), "true");
    run.end_with(0);
}

fn threads_finish_what_waits(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=threads");
    let address = run.ready();
    // Four are being served, two wait.
    let mut clients: Vec<Client> = (0..6).map(|_| bench.connect(address)).collect();
    run.signal(Signal::SIGTERM);
    run.log("stopping");
    for client in &mut clients {
        client.ask("who");
    }
    assert_eq!(run.fact("joined").rest(), "true");
    run.end_with(0);
}

fn shortage_of_descriptors_pauses_accepting(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=starved");
    let address = run.ready();
    run.first("full");
    let mut client = bench.connect(address);
    run.expect_once("worker 1 (slot 0) pauses accepting at");
    run.tell("go on");
    // Two pauses of 50 ms lie between the tries, so it does not spin.
    assert!(run.fact("tried").rest().parse::<u64>().unwrap() >= 100);
    client.ask("who");
    drop(client);
    bench.ask(address, "who");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn thread_sleeps_in_a_drain_without_descriptors(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=starved_thread no_restart_on=0");
    run.ready();
    run.first("full");
    run.expect_once("accepting at");
    run.log("accepting at");
    run.tell("go on");
    assert_eq!(run.fact("woken").rest(), "None");
    run.end_with(0);
}

fn registered_in_two_polls(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=in_two_polls");
    let address = run.ready();
    for _ in 0..5 {
        bench.ask(address, "who");
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("accepted").rest(), "5, then WouldBlock");
    run.end_with(0);
}

fn dropped_while_registered_it_leaves_no_ghost(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=drops_while_registered");
    run.ready();
    run.expect_once("1 waiting client reset");
    assert_eq!(run.first("events").rest(), "0 after Err(ConnectionReset)");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn bare_socket_is_drained(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=bare");
    let address = run.ready();
    assert!(run.first("again").rest().contains("listens on"));
    let mut busy = bench.connect(address);
    let mut waiting = bench.connect(address);
    run.signal(Signal::SIGTERM);
    run.log("stopping");
    // Both were there before the worker could look.
    busy.ask("who");
    waiting.ask("who");
    assert_eq!(run.fact("left").rest(), "InvalidInput", "shut");
    run.end_with(0);
    assert!(TcpStream::connect(address).is_err());
}

fn bare_socket_survives_its_worker(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=bare");
    let address = run.ready();
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGSTOP);
    let mut waiting = bench.connect(address);
    run.expect_once("was killed by SIGKILL");
    run.signal_to(pid, Signal::SIGKILL);
    run.fact_of("ready", 2);
    waiting.ask("who");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("left").rest(), "InvalidInput", "shut");
    run.end_with(0);
}

fn bare_socket_made_blocking_blocks_nobody_else(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=makes_it_block");
    let address = run.ready();
    run.expect_once("was killed by SIGABRT");
    bench.connect(address).closed();
    run.fact_of("ready", 2);
    assert!(bench.ask(address, "who").starts_with("2 0 "));
    // A worker that blocks in accept would not hear this.
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}
