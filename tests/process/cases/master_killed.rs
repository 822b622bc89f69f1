//! Workers do not outlive their master, whatever they are doing.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::harness::{Bench, cases};

cases!("master_killed":
    workers_die_with_the_master,
    workers_die_with_the_master_while_one_spins,
    workers_die_with_the_master_while_one_is_stopped,
    workers_die_with_the_master_after_a_change_of_user,
    workers_die_with_the_master_after_a_change_of_user_in_a_plain_loop,
    nested_workers_die_with_the_outermost_master,
);

/// The harness waits for the last process of the group, and then looks whether the port is free.
fn workers_die_with_the_master(bench: &Bench) {
    for mode in ["mode=run", "", "mode=run worker=deaf"] {
        let mut run = bench.start(&format!("cluster listen=@:0 workers=4 {mode}"));
        run.ready();
        run.dies_by(Signal::SIGKILL);
        run.end();
    }
}

fn workers_die_with_the_master_while_one_spins(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2");
    let address = run.ready();
    let mut client = bench.connect(address);
    client.ask("who");
    client.say("spin");
    run.dies_by(Signal::SIGKILL);
    client.closed();
    run.end();
}

fn workers_die_with_the_master_while_one_is_stopped(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    run.ready();
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGSTOP);
    run.dies_by(Signal::SIGKILL);
    run.end();
}

/// setuid clears the parent-death signal; the worker's first poll sets it again.
fn workers_die_with_the_master_after_a_change_of_user(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=changes_user");
    let address = run.ready();
    assert_eq!(run.first("changed").rest(), "None");
    let mut client = bench.connect(address);
    assert_eq!(client.ask("pdeathsig"), "Some(SIGKILL)");
    run.dies_by(Signal::SIGKILL);
    client.closed();
    run.end();
}

/// The same, by the first accept.
fn workers_die_with_the_master_after_a_change_of_user_in_a_plain_loop(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=changes_user_in_a_plain_loop");
    let address = run.ready();
    assert_eq!(run.first("changed").rest(), "None");
    let _client = TcpStream::connect(address).unwrap();
    assert_eq!(run.fact("accepted").rest(), "Some(SIGKILL)");
    run.dies_by(Signal::SIGKILL);
    run.end();
}

fn nested_workers_die_with_the_outermost_master(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=nested_deaf");
    run.fact("inner");
    run.dies_by(Signal::SIGKILL);
    run.end();
}
