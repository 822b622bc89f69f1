//! Stopping: what was accepted is finished, deadlines hold, and a second word means now.

use std::{io::ErrorKind, net::TcpStream, time::Duration};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Run, cases};

cases!("stop":
    orderly_stop_by_term,
    orderly_stop_by_int_to_the_group,
    orderly_stop_finishes_what_was_queued,
    orderly_stop_refuses_who_comes_too_late,
    orderly_stop_refuses_newcomers_and_keeps_the_queue,
    orderly_stop_of_all_workers_at_once,
    stop_while_workers_start,
    stop_during_back_off,
    same_signal_again_ends_at_once,
    int_and_term_together_are_one_request,
    quit_ends_at_once,
    deaf_workers_are_terminated_and_it_is_said_once,
    handler_of_the_worker_wins,
    stubborn_workers_are_killed_after_the_deadlines,
    term_to_a_worker_lets_it_finish,
    second_term_to_a_worker_ends_it,
    term_to_every_process_lets_all_finish,
);

/// A client that one worker is busy with, so that this worker has something to finish.
fn accepted(bench: &Bench, run: &mut Run) -> Client {
    let mut client = bench.connect(run.ready());
    client.ask("who");
    client
}

/// The client is served to its end, then the worker goes as asked, and the cluster.
fn finishes(mut run: Run, mut client: Client) {
    assert!(!client.ask("who").is_empty());
    drop(client);
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
    assert_eq!(run.all("result")[0].rest(), "ok");
}

fn orderly_stop_by_term(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let client = accepted(bench, &mut run);
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("stopping").get::<String>("how"), "drain");
    finishes(run, client);
}

fn orderly_stop_by_int_to_the_group(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let client = accepted(bench, &mut run);
    run.signal_group(Signal::SIGINT);
    assert_eq!(run.fact("stopping").get::<String>("how"), "drain");
    finishes(run, client);
}

/// Connections that wait in the queue when the stop comes are accepted and served; later ones are refused.
fn orderly_stop_finishes_what_was_queued(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let address = run.ready();
    let mut first = bench.connect(address);
    first.ask("who");
    let mut queued: Vec<Client> = (0..20).map(|_| bench.connect(address)).collect();
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    first.ask("who");
    drop(first);
    for mut client in queued.drain(..) {
        assert!(client.ask("who").starts_with("1 0 "));
    }
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    run.end_with(0);
}

/// Not left to wait in the queue of a worker that is busy finishing.
fn orderly_stop_refuses_who_comes_too_late(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=lingers");
    let address = run.ready();
    run.signal(Signal::SIGTERM);
    run.fact("lingers");
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    run.expect_once("stopping at once: 1 worker killed");
    run.signal(Signal::SIGQUIT);
    run.end_with(0);
}

/// The worker stands still, and has not even heard of it.
fn orderly_stop_refuses_newcomers_and_keeps_the_queue(bench: &Bench) {
    for worker in ["serve", "managed", "threads", "bare"] {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0 worker={worker}"));
        let address = run.ready();
        let pid = run.all("ready")[0].get("pid");
        run.signal_to(pid, Signal::SIGSTOP);
        let waiting = [(); 10].map(|()| bench.connect(address));
        run.signal(Signal::SIGTERM);
        run.pass_until(|| TcpStream::connect(address).is_err());
        run.signal_to(pid, Signal::SIGCONT);
        for mut client in waiting {
            client.ask("who");
        }
        run.end_with(0);
    }
}

fn orderly_stop_of_all_workers_at_once(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=8");
    run.ready();
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    let exits = run.all("exit");
    assert_eq!(exits.len(), 8);
    assert!(exits.iter().all(|exit| exit.how() == "code 0, asked"), "{exits:?}");
    assert_eq!(run.all("fork").len(), 8);
}

fn stop_while_workers_start(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=8");
    run.fact("fork");
    // Whoever listens later than that.
    run.allow("this worker is to leave");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    assert!(run.all("exit").iter().all(|exit| exit.how().ends_with(", asked")));
}

fn stop_during_back_off(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 worker=fails_in_slot_1 backoff=30000,30000");
    run.expect("failed: no disk");
    run.expect("exited with code 1");
    run.expect("delayed start number 1");
    run.fact("backoff");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn same_signal_again_ends_at_once(bench: &Bench) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut run = bench.start("cluster mode=run listen=@:0");
        let client = accepted(bench, &mut run);
        run.signal(signal);
        assert_eq!(run.fact("stopping").get::<String>("how"), "drain");
        // Sooner it would count as the same request.
        run.pass(Duration::from_millis(50));
        run.signal(signal);
        assert_eq!(run.fact("stopping").get::<String>("how"), "now");
        client.closed();
        assert_eq!(run.fact("exit").how(), "signal 9, asked");
        run.expect_once("stopping at once: 1 worker killed");
        run.end_with(0);
    }
}

/// A terminal and a process manager may both speak. The master is held while both arrive, so that it reads them in one
/// turn.
fn int_and_term_together_are_one_request(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let client = accepted(bench, &mut run);
    run.signal(Signal::SIGSTOP);
    run.signal(Signal::SIGINT);
    run.signal(Signal::SIGTERM);
    run.signal(Signal::SIGCONT);
    run.log("SIGINT");
    run.fact("stopping");
    finishes(run, client);
}

fn quit_ends_at_once(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2");
    let client = accepted(bench, &mut run);
    run.signal(Signal::SIGQUIT);
    assert_eq!(run.fact("stopping").get::<String>("how"), "now");
    client.closed();
    run.expect_once("stopping at once: 2 workers killed");
    run.end_with(0);
    assert!(run.all("exit").iter().all(|exit| exit.how() == "signal 9, asked"));
}

fn deaf_workers_are_terminated_and_it_is_said_once(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=3 worker=deaf");
    run.ready();
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    assert!(run.all("exit").iter().all(|exit| exit.how() == "signal 15, asked"));
    assert_eq!(run.logged("cannot be asked to drain"), 1);
}

/// SIGTERM to a worker that never looks, but has a handler, of signal-hook, which calls the handler before it.
fn handler_of_the_worker_wins(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=handles_term");
    run.ready();
    run.signal(Signal::SIGTERM);
    run.fact("leaves");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
}

/// 50 ms to finish, 50 ms after SIGTERM.
fn stubborn_workers_are_killed_after_the_deadlines(bench: &Bench) {
    let mut run =
        bench.start("cluster mode=run listen=@:0 workers=2 worker=stubborn drain_timeout=50 terminate_timeout=50");
    run.ready();
    run.expect("has not finished within 50ms: it gets SIGTERM");
    run.expect("has not ended within 50ms of SIGTERM: it gets SIGKILL");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    let exits = run.all("exit");
    assert!(exits.iter().all(|exit| exit.how() == "signal 9, asked"), "{exits:?}");
}

fn term_to_a_worker_lets_it_finish(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let mut client = accepted(bench, &mut run);
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGTERM);
    assert!(client.ask("who").starts_with("1 0 "));
    drop(client);
    assert_eq!(run.known("exit", 1).how(), "code 0, own");
    run.expect_once("exited with code 0");
    run.known("ready", 2);
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn second_term_to_a_worker_ends_it(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let mut client = accepted(bench, &mut run);
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGTERM);
    // The answer shows that the first one was taken: both at once would be one.
    client.ask("who");
    run.signal_to(pid, Signal::SIGTERM);
    client.closed();
    assert_eq!(run.fact("exit").how(), "signal 15, own");
    run.expect_once("was killed by SIGTERM");
    run.fact_of("ready", 2);
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// systemd's way: the master asks over the channel, and the group's TERM comes at the same time.
fn term_to_every_process_lets_all_finish(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let client = accepted(bench, &mut run);
    run.signal_group(Signal::SIGTERM);
    run.fact("stopping");
    finishes(run, client);
}
