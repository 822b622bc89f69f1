//! The examples as their users start them: they serve, survive `kill -9` of a worker, and stop in order.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread::{self, available_parallelism},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Run, cases, free_port};

cases!("examples":
    embed_mio_before_echoes,
    embed_mio_echoes_and_survives,
    embed_mio_finishes_its_echoes_at_a_drain,
    embed_master_ends_its_visits_while_workers_live,
    custom_poll_serves_and_survives,
    custom_poll_has_a_timer,
    blocking_threads_serve_and_survive,
    multi_listen_serves_and_survives,
    multi_listen_without_ipv6,
    leaky_is_recycled_and_nobody_notices,
    bad_addresses_are_bad_usage,
);

fn embed_mio_before_echoes(bench: &Bench) {
    let mut run = bench.example("embed_mio_before @:0");
    let line = run.log("echoing on");
    echoes(bench, addresses(&line)[0]);
    run.dies_by(Signal::SIGTERM);
    run.end();
}

fn embed_mio_echoes_and_survives(bench: &Bench) {
    let mut run = bench.example("embed_mio @:0");
    let (addresses, pids) = ready(&mut run, available_parallelism().unwrap().get());
    echoes(bench, addresses[0]);
    kill_9(&mut run, pids[0]);
    (0..16).for_each(|_| echo(&mut bench.stream(addresses[0]), b"again"));
    stops(run, &addresses);
}

/// What clients had sent when the stop came is echoed, whether they were accepted or still in the queue; then they see
/// their end.
fn embed_mio_finishes_its_echoes_at_a_drain(bench: &Bench) {
    let mut run = bench.example("embed_mio @:0");
    let (addresses, pids) = ready(&mut run, available_parallelism().unwrap().get());
    // So many that every worker has had a turn and can be asked.
    let mut clients: Vec<TcpStream> = (0..32 * pids.len()).map(|_| bench.stream(addresses[0])).collect();
    clients.iter_mut().for_each(|client| echo(client, b"first"));
    pids.iter().for_each(|&pid| run.signal_to(pid, Signal::SIGSTOP));
    clients.extend((0..32).map(|_| bench.stream(addresses[0])));
    clients.iter_mut().for_each(|client| client.write_all(b"last").unwrap());
    run.signal(Signal::SIGTERM);
    run.log("stopping:");
    pids.iter().for_each(|&pid| run.signal_to(pid, Signal::SIGCONT));
    clients.into_iter().for_each(|client| assert_eq!(read(client), "last"));
    has_stopped(run, &addresses);
}

/// The connection was open when worker 3 was forked, who has a copy of every descriptor that it does not close.
fn embed_master_ends_its_visits_while_workers_live(bench: &Bench) {
    let mut run = bench.example("embed_master @:0 @:0");
    let status = addresses(&run.log("status on"))[0];
    let (addresses, pids) = ready(&mut run, 2);
    let visitor = bench.stream(status);
    let mut lines = BufReader::new(&visitor).lines().map(|line| line.unwrap());
    for (id, pid) in pids.iter().enumerate() {
        assert_eq!(lines.next().unwrap(), format!("worker {} in slot {id}: Ready, pid {pid}", id + 1));
    }
    let replacement = kill_9(&mut run, pids[0]);
    assert!(lines.any(|line| line.starts_with(r#"{"event":"ready","slot":0,"id":3"#)));
    (&visitor).write_all(b"\n").unwrap();
    assert_eq!(lines.count(), 0, "the end, and nothing before it");
    assert!(Path::new(&format!("/proc/{replacement}")).exists());
    while !read(bench.stream(addresses[0])).ends_with("worker 3\n") {}
    stops(run, &[addresses[0], status]);
}

fn custom_poll_serves_and_survives(bench: &Bench) {
    serves_and_survives(bench, "custom_poll");
}

fn custom_poll_has_a_timer(bench: &Bench) {
    let mut run = bench.example("custom_poll @:0");
    let (addresses, _) = ready(&mut run, 2);
    assert_eq!(read(bench.stream(addresses[0])), "", "nothing was asked");
    stops(run, &addresses);
}

fn blocking_threads_serve_and_survive(bench: &Bench) {
    serves_and_survives(bench, "blocking_threads");
}

fn multi_listen_serves_and_survives(bench: &Bench) {
    if TcpListener::bind("[::1]:0").is_err() {
        bench.cannot("there is no IPv6");
    }
    let mut run = bench.example("multi_listen @:0 [::1]:0");
    let (addresses, pids) = ready(&mut run, 2);
    for pid in [pids[1], kill_9(&mut run, pids[0])] {
        ask_until_it_answers(bench, addresses[1], pid);
        assert!(get(bench.stream(addresses[0])).starts_with("Hello from worker "));
    }
    stops(run, &addresses);
}

fn multi_listen_without_ipv6(bench: &Bench) {
    let without = r#"ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && exec "$0" "$@""#;
    let alone = ["unshare", "--net", "sh", "-c", without];
    let mut probe = Command::new(alone[0]);
    probe.args(&alone[1..]).arg("true").stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        bench.cannot("root, unshare and ip are needed to take IPv6 away");
    }
    let mut run = bench.example_by(&alone, "multi_listen");
    run.log("no IPv6 on this machine");
    let (addresses, _) = ready(&mut run, 2);
    assert_eq!(addresses, ["127.0.0.1:8000", "127.0.0.1:8001"].map(|at| at.parse().unwrap()));
    stops(run, &[]);
}

/// It keeps more than it may within its first requests; they and those that follow are answered, by its successor at
/// last.
fn leaky_is_recycled_and_nobody_notices(bench: &Bench) {
    let mut run = bench.example("leaky --listen @:0 --workers 1 --limit 48 --leak 1024 --json");
    let at = run.ready();
    let mut requests = 0;
    while run.all("exit").is_empty() {
        let mut client = bench.stream(at);
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(read(client).starts_with("HTTP/1.1 200 OK"), "request {requests}");
        requests += 1;
        // The leak is there; the rest is to be served, not to leak.
        run.pass(if requests < 64 { Duration::ZERO } else { Duration::from_millis(20) });
    }
    assert_eq!(run.known("exit", 1).how(), "code 0, recycled");
    run.log("MiB of memory and is replaced");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn bad_addresses_are_bad_usage(bench: &Bench) {
    for example in ["embed_mio", "embed_master", "custom_poll", "blocking_threads", "multi_listen"] {
        let mut run = bench.example(&format!("{example} localhost:80 @:0"));
        run.log("names are not resolved");
        run.end_with(2);
    }
}

/// Two workers, whose answers say their pids. A client that is connected when the stop comes may still ask.
fn serves_and_survives(bench: &Bench, example: &str) {
    let mut run = bench.example(&format!("{example} @:0"));
    let (addresses, pids) = ready(&mut run, 2);
    pids.iter().for_each(|&pid| ask_until_it_answers(bench, addresses[0], pid));
    let replacement = kill_9(&mut run, pids[0]);
    ask_until_it_answers(bench, addresses[0], replacement);
    let client = bench.stream(addresses[0]);
    run.signal(Signal::SIGTERM);
    run.log("stopping:");
    assert!(get(client).contains(" process "));
    has_stopped(run, &addresses);
}

fn echoes(bench: &Bench, address: SocketAddr) {
    let mut client = bench.stream(address);
    for piece in ["a", "few", "pieces of text"] {
        echo(&mut client, piece.as_bytes());
    }
    // More than all buffers hold, so it comes back while it is still being sent; then half a close.
    let sent: Vec<u8> = (0..16_000_000_u32).map(|n| (n >> 8 ^ n) as u8).collect();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            sent.chunks(77_777).for_each(|chunk| (&client).write_all(chunk).unwrap());
            client.shutdown(Shutdown::Write).unwrap();
        });
        (&client).read_to_end(&mut received).unwrap();
    });
    assert!(received == sent, "{} of {} bytes came back, or others", received.len(), sent.len());
}

fn echo(client: &mut TcpStream, piece: &[u8]) {
    let mut back = vec![0; piece.len()];
    client.write_all(piece).unwrap();
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, piece);
}

/// Waits for the log to say that all are ready: where, and who, in slot order.
fn ready(run: &mut Run, workers: usize) -> (Vec<SocketAddr>, Vec<u32>) {
    let mut lines: Vec<String> = (0..workers).map(|_| run.log(") is ready")).collect();
    lines.sort_unstable();
    (addresses(&run.log("all ready after")), lines.iter().map(|line| pid(line)).collect())
}

/// Returns the pid of the replacement once it is ready.
fn kill_9(run: &mut Run, worker: u32) -> u32 {
    run.signal_to(worker, Signal::SIGKILL);
    assert_eq!(pid(&run.log("was killed by SIGKILL")), worker);
    pid(&run.log(") is ready"))
}

fn ask_until_it_answers(bench: &Bench, address: SocketAddr, worker: u32) {
    while !get(bench.stream(address)).contains(&worker.to_string()) {}
}

fn get(mut client: TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let answer = read(client);
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}")).1.to_owned()
}

fn read(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

fn stops(run: Run, addresses: &[SocketAddr]) {
    run.signal(Signal::SIGTERM);
    has_stopped(run, addresses);
}

fn has_stopped(mut run: Run, addresses: &[SocketAddr]) {
    run.end_with(0);
    for &address in addresses {
        free_port(address).unwrap_or_else(|error| panic!("{address} is still taken: {error}"));
    }
}

fn addresses(line: &str) -> Vec<SocketAddr> {
    line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

/// Of a line with `worker 1 (slot 0, pid 4242)`.
fn pid(line: &str) -> u32 {
    let (_, rest) = line.split_once("pid ").unwrap();
    rest.split(')').next().unwrap().parse().unwrap()
}
