//! Workers in a tokio runtime: what the master says reaches them, and what was accepted is finished.

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Run, cases};

cases!("tokio":
    event_delivers_what_the_master_says,
    event_that_was_cancelled_loses_nothing,
    event_hears_what_a_thread_has_read,
    event_moves_to_another_runtime,
    outside_of_a_runtime_is_an_error,
    drained_resolves_when_the_cluster_stops,
    drained_resolves_when_the_worker_is_disconnected,
    drained_keeps_the_channel_open,
    drained_marks_the_worker_when_called,
    requests_in_flight_are_answered,
    connections_in_the_queue_are_answered,
    kill_9_is_replaced,
);

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r";
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r";

fn event_delivers_what_the_master_says(bench: &Bench) {
    hears(bench.start("cluster mode=run worker=tokio_events"), 3);
}

/// Each wait is dropped as soon as it has begun.
fn event_that_was_cancelled_loses_nothing(bench: &Bench) {
    hears(bench.start("cluster mode=run worker=tokio_cancels"), 50);
}

fn event_hears_what_a_thread_has_read(bench: &Bench) {
    hears(bench.start("cluster mode=run listen=@:0 worker=tokio_beside_a_thread"), 50);
}

/// The first runtime is there, but nobody runs it; then it is gone.
fn event_moves_to_another_runtime(bench: &Bench) {
    hears(bench.start("cluster mode=run worker=tokio_two_runtimes"), 4);
}

/// One statement of the master at a time, and then the last one.
fn hears(mut run: Run, times: usize) {
    run.fact("all_ready");
    for _ in 0..times {
        run.signal(Signal::SIGUSR1);
        assert_eq!(run.fact("heard").rest(), "ReopenLogs");
    }
    run.signal(Signal::SIGTERM);
    assert_eq!(run.fact("heard").rest(), "Drain { within: 30s }");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
}

fn outside_of_a_runtime_is_an_error(bench: &Bench) {
    let mut run = bench.start("cluster mode=run worker=tokio_outside restart=never");
    let error = run.fact("outside");
    assert!(error.rest().contains("this is no tokio runtime; await it under #[tokio::main]"), "{error:?}");
    run.expect_once("exited with code 0");
    run.log("worker 1 leaves, for it cannot hear the master: waiting for the master");
    assert_eq!(run.fact("exit").how(), "code 0, own");
    run.end_with(0);
}

fn drained_resolves_when_the_cluster_stops(bench: &Bench) {
    for worker in ["tokio_serves", "tokio_serves_in_threads"] {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0 workers=2 worker={worker}"));
        run.ready();
        run.signal(Signal::SIGTERM);
        run.end_with(0);
        assert_eq!(run.all("drained").len(), 2);
        assert!(run.all("exit").iter().all(|exit| exit.how() == "code 0, asked"), "{:?}", run.all("exit"));
    }
}

fn drained_resolves_when_the_worker_is_disconnected(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2 worker=tokio_serves");
    let address = run.ready();
    run.tell("disconnect 1");
    run.fact("drained");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    assert!(get(bench.connect(address)).starts_with("2 "));
    run.tell("stop");
    run.end_with(0);
}

/// The worker hears from somebody else first, and the master later; neither it nor its worker ends for that.
fn drained_keeps_the_channel_open(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=tokio_serves");
    let client = in_flight(bench, &mut run);
    run.expect("exited with code 0");
    run.signal_to(run.all("ready")[0].get("pid"), Signal::SIGTERM);
    run.fact("drained");
    run.tell("stop");
    run.tell("workers");
    assert!(run.fact("workers").rest().contains("0:1:Draining"));
    assert!(run.all("disconnect").iter().all(|gone| gone.get::<u64>("id") != 1));
    is_answered(client);
    run.fact_of("exit", 1);
    run.end_with(0);
}

/// A worker that cannot be asked would get SIGTERM at once.
fn drained_marks_the_worker_when_called(bench: &Bench) {
    let mut run = bench.start("cluster mode=run worker=tokio_never_polls drain_timeout=50");
    run.fact("can_be_asked");
    run.expect("has not finished within 50ms: it gets SIGTERM");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn requests_in_flight_are_answered(bench: &Bench) {
    for worker in ["tokio_serves", "tokio_serves_in_threads"] {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0 worker={worker}"));
        let client = in_flight(bench, &mut run);
        run.signal_group(Signal::SIGINT);
        run.fact("drained");
        is_answered(client);
        assert_eq!(run.fact("exit").how(), "code 0, asked");
        run.end_with(0);
    }
}

/// The worker is held while they come, and hears of the stop before it can accept them.
fn connections_in_the_queue_are_answered(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=tokio_serves");
    let address = run.ready();
    let pid = run.all("ready")[0].get("pid");
    run.signal_to(pid, Signal::SIGSTOP);
    let mut clients: Vec<Client> = (0..100).map(|_| bench.connect(address)).collect();
    clients.iter_mut().for_each(|client| client.say(GET));
    run.signal(Signal::SIGTERM);
    run.fact("stopping");
    run.signal_to(pid, Signal::SIGCONT);
    for client in clients {
        assert!(answer(client).starts_with("1 "));
    }
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
}

fn kill_9_is_replaced(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=tokio_serves");
    let address = run.ready();
    run.expect_once("was killed by SIGKILL");
    run.signal_to(run.all("ready")[0].get("pid"), Signal::SIGKILL);
    run.fact_of("ready", 2);
    assert!(get(bench.connect(address)).starts_with("2 "));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// A request whose handler waits for the rest of it.
pub(super) fn in_flight(bench: &Bench, run: &mut Run) -> Client {
    let mut client = bench.connect(run.ready());
    assert_eq!(client.ask(POST), "HTTP/1.1 100 Continue");
    client
}

pub(super) fn is_answered(mut client: Client) {
    client.say("text");
    assert_eq!(client.hear().unwrap(), "", "the end of \"100 Continue\"");
    assert_eq!(answer(client), "text");
}

pub(super) fn get(mut client: Client) -> String {
    client.say(GET);
    answer(client)
}

/// The last line, if the answer is a good one.
fn answer(mut client: Client) -> String {
    assert_eq!(client.hear().unwrap(), "HTTP/1.1 200 OK");
    let mut last = String::new();
    while let Ok(line) = client.hear() {
        last = line;
    }
    last
}
