//! The examples that stand for the programs of Node's tutorials.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Fact, Run, cases};

cases!("tutorials":
    worker_id_says_who_answers,
    restart_on_exit_forks_again,
    request_counter_counts_every_request,
    request_counter_goes_on_after_a_worker_has_died,
    chat_reaches_the_clients_of_all_workers,
    chat_lets_its_clients_stay_through_a_restart,
    fd_passing_brings_each_room_to_its_worker,
    fd_passing_serves_also_while_a_worker_is_missing,
);

fn get(bench: &Bench, at: SocketAddr, path: &str) -> (String, String) {
    let mut client = bench.stream(at);
    write!(client, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn page(bench: &Bench, at: SocketAddr, path: &str) -> String {
    let (status, body) = get(bench, at, path);
    assert_eq!(status, "HTTP/1.1 200 OK");
    body
}

fn stops(mut run: Run) -> Run {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    run
}

fn kill_9(run: &mut Run, fact: &Fact) {
    run.expect("was killed by SIGKILL");
    run.signal_to(fact.get("pid"), Signal::SIGKILL);
    run.fact_of("exit", fact.get("id"));
}

fn worker_id_says_who_answers(bench: &Bench) {
    let mut run = bench.example("worker_id --listen @:0 --workers 2 --json");
    let at = run.ready();
    let mut answers = HashSet::new();
    while answers.len() < 2 {
        answers.insert(page(bench, at, "/cluster"));
    }
    assert_eq!(answers, [1, 2].map(|id| format!("Running on worker with id ==> {id}")).into());
    assert_eq!(page(bench, at, "/"), "Hello, World!");
    assert_eq!(get(bench, at, "/nowhere").0, "HTTP/1.1 404 Not Found");

    // On one connection it is always the same, and requests may follow each other without waiting.
    let mut client = bench.stream(at);
    client.write_all(&b"GET /cluster HTTP/1.1\r\n\r\n".repeat(5)).unwrap();
    client.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let ids: HashSet<&str> = answer.split("==> ").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!((answer.matches("==> ").count(), ids.len()), (5, 1), "{answer}");
    assert!(answer.contains("405 Method Not Allowed"));

    let first = run.all("ready")[0].clone();
    kill_9(&mut run, &first);
    run.fact_of("ready", 3);
    while page(bench, at, "/cluster") != "Running on worker with id ==> 3" {}
    stops(run);
}

fn restart_on_exit_forks_again(bench: &Bench) {
    let mut run = bench.example("restart_on_exit --listen @:0 --workers 2 --json");
    assert_eq!(run.fact("Master").rest(), format!("{} is running", run.pid()));
    let at: SocketAddr = run.fact("listening").get("address");
    let workers = [(); 2].map(|()| run.fact("ready"));
    for worker in workers {
        let pid: u32 = worker.get("pid");
        kill_9(&mut run, &worker);
        assert_eq!(run.fact("worker").rest(), format!("{pid} died"));
        let next: u32 = run.fact("ready").get("pid");
        assert_eq!(run.fact("Worker").rest(), format!("{next} started"));
        while page(bench, at, "/") != format!("hello world from process {next}\n") {}
    }
    // Those that are asked to leave are not followed by others.
    let run = stops(run);
    assert_eq!((run.all("fork").len(), run.all("worker").len()), (4, 4));
}

fn request_counter_counts_every_request(bench: &Bench) {
    let mut run = bench.example("request_counter --listen @:0 --workers 2 --json");
    let at = run.ready();
    let ask_20 = b"GET / HTTP/1.1\r\n\r\n".repeat(20);
    let clients: Vec<TcpStream> = (0..16).map(|_| bench.stream(at)).collect();
    for mut client in &clients {
        client.write_all(&ask_20).unwrap();
    }
    for client in &clients {
        let bodies = BufReader::new(client).lines().map(|line| line.unwrap()).filter(|line| line == "hello world");
        assert_eq!(bodies.take(20).count(), 20);
    }
    drop(clients);
    // It says so each second.
    run.fact_where("numReqs = 320", |fact| fact.name() == "numReqs" && fact.rest() == "= 320");
    stops(run);
}

/// What a worker has told before it died is not lost.
fn request_counter_goes_on_after_a_worker_has_died(bench: &Bench) {
    let mut run = bench.example("request_counter --listen @:0 --workers 1 --json");
    let at = run.ready();
    (0..10).for_each(|_| assert_eq!(page(bench, at, "/"), "hello world\n"));
    run.fact_where("numReqs = 10", |fact| fact.name() == "numReqs" && fact.rest() == "= 10");
    let first = run.all("ready")[0].clone();
    kill_9(&mut run, &first);
    run.fact_of("ready", 2);
    (0..10).for_each(|_| assert_eq!(page(bench, at, "/"), "hello world\n"));
    let run = stops(run);
    assert_eq!(run.all("numReqs").last().unwrap().rest(), "= 20");
}

fn chat_reaches_the_clients_of_all_workers(bench: &Bench) {
    let mut run = bench.example("chat --listen @:0 --workers 4 --json");
    let at = run.ready();
    // So many that they are on several workers.
    let mut clients: Vec<_> = (0..16).map(|_| bench.connect(at)).collect();
    for client in &mut clients {
        assert_eq!(client.hear().unwrap(), "Your name?");
    }
    clients[0].say("Ann");
    for client in &mut clients {
        assert_eq!(client.hear().unwrap(), "Ann is here");
    }
    clients[15].say("Bob");
    for client in &mut clients {
        assert_eq!(client.hear().unwrap(), "Bob is here");
    }
    // The order of one who speaks is the same for all.
    for number in 0..50 {
        clients[0].say(&format!("line {number}"));
    }
    for client in &mut clients {
        for number in 0..50 {
            assert_eq!(client.hear().unwrap(), format!("Ann: line {number}"));
        }
    }
    drop(clients);
    stops(run);
}

/// With a worker that leaves, which is told of what those say who have come since.
fn chat_lets_its_clients_stay_through_a_restart(bench: &Bench) {
    let mut run = bench.example("chat --listen @:0 --workers 1 --stay 3 --json");
    let at = run.ready();
    let mut old = bench.connect(at);
    old.hear().unwrap();
    assert_eq!(old.ask("Ann"), "Ann is here");
    run.signal(Signal::SIGHUP);
    run.fact("rollout_ended");
    assert_eq!(old.hear().unwrap(), "(this worker leaves, please come again within 3s)");
    let mut new = bench.connect(at);
    new.hear().unwrap();
    assert_eq!(new.ask("Bob"), "Bob is here");
    assert_eq!(old.hear().unwrap(), "Bob is here");
    assert_eq!(old.ask("again"), "Ann: again");
    assert_eq!(new.hear().unwrap(), "Ann: again");
    old.closed();
    run.signal(Signal::SIGTERM);
    new.hear().unwrap();
    drop(new);
    run.end_with(0);
}

fn fd_passing_brings_each_room_to_its_worker(bench: &Bench) {
    let mut run = bench.example("fd_passing --listen @:0 --workers 4 --json");
    let at = run.ready();
    let mut owners = HashSet::new();
    for room in ["kitchen", "garden", "attic", "cellar", "hall", "stable"] {
        let workers: HashSet<String> = (1..=12)
            .map(|count| {
                let mut client = bench.connect(at);
                // The name may come in pieces, and the rest along with it.
                client.begin(&room[..2]);
                client.begin(&format!("{}\nhello", &room[2..]));
                let answer = client.ask(" there");
                let (head, text) = answer.split_once(": ").unwrap();
                let (said, worker) = head.rsplit_once(", worker ").unwrap();
                assert_eq!((said, text), (&*format!("{room}, line {count}"), "hello there"));
                worker.to_owned()
            })
            .collect();
        assert_eq!(workers.len(), 1, "{room} is with {workers:?}");
        owners.extend(workers);
    }
    assert!(owners.len() > 1, "all rooms are with {owners:?}");
    run.first("message");
    stops(run);
}

/// A room whose worker has died begins anew with the next one in that slot; meanwhile somebody else has it.
fn fd_passing_serves_also_while_a_worker_is_missing(bench: &Bench) {
    let mut run = bench.example("fd_passing --listen @:0 --workers 2 --json");
    let at = run.ready();
    let ask = || {
        let mut client = bench.connect(at);
        client.say("kitchen");
        let answer = client.ask("hello");
        answer.rsplit_once(", worker ").unwrap().1.split(':').next().unwrap().parse::<u64>().unwrap()
    };
    let owner = ask();
    let of = |facts: Vec<Fact>| facts.into_iter().find(|fact| fact.get::<u64>("id") == owner).unwrap();
    let fact = of(run.all("ready"));
    kill_9(&mut run, &fact);
    run.fact_of("ready", 3);
    while ask() != 3 {}
    stops(run);
}
