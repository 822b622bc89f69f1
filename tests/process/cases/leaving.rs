//! Workers that leave for good, and clusters that stop: nobody who waits is reset, newcomers go elsewhere.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Run, cases, listening_sockets};

cases!("leaving":
    who_waits_is_served_while_newcomers_go_elsewhere,
    who_waits_is_served_by_the_others_before_it_looks,
    who_waits_is_served_without_steering,
    a_worker_that_says_so_is_left_in_the_same_way,
    all_leave_one_by_one,
    its_time_begins_when_it_is_asked,
    sigterm_brings_the_successor_at_once,
    sigterm_resets_nobody_while_the_successor_starts,
    sigterm_to_a_worker_that_is_not_restarted_leaves_the_slot,
    busy_workers_at_a_stop_refuse_newcomers_and_serve_who_waits,
    a_stopped_process_at_a_stop_serves_who_waits,
);

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Two workers, of which one stands still while 40 clients come, most of them behind its socket or that of the other.
struct Held {
    run: Run,
    at: SocketAddr,
    /// Of the one that stands still.
    pid: u32,
    clients: Vec<Client>,
}

fn held(bench: &Bench, words: &str) -> Held {
    let mut run = bench.start(&format!("cluster signals told listen=@:0 workers=2 worker=managed {words}"));
    let at = run.ready();
    let pid = run.known("ready", 1).get("pid");
    run.freeze(pid);
    let mut clients: Vec<Client> = (0..40).map(|_| bench.connect(at)).collect();
    clients.iter_mut().for_each(|client| client.say("who"));
    Held { run, at, pid, clients }
}

impl Held {
    /// It goes on: each client is answered, by it or by the one who took its clients meanwhile.
    fn are_served(&mut self) {
        self.run.signal_to(self.pid, Signal::SIGCONT);
        self.clients.drain(..).for_each(|mut client| drop(client.hear().unwrap()));
    }

    fn leaves(mut self, bench: &Bench) {
        assert_eq!(self.run.known("exit", 1).how(), "code 0, asked");
        bench.reaches(self.at, [2]);
        self.run.pass_until(|| listening_sockets(self.at).len() == 1);
        assert_eq!((self.run.all("fork").len(), self.run.logged("reset")), (2, 0));
        stop(self.run);
    }
}

fn who_waits_is_served_while_newcomers_go_elsewhere(bench: &Bench) {
    let mut held = held(bench, "");
    held.run.tell("disconnect 1");
    held.run.fact("done");
    for _ in 0..100 {
        assert_eq!(bench.connect(held.at).worker(), 2);
    }
    held.are_served();
    held.leaves(bench);
}

/// The second in which it would serve on is over before it can look.
fn who_waits_is_served_by_the_others_before_it_looks(bench: &Bench) {
    let mut held = held(bench, "");
    held.run.tell("disconnect 1");
    held.run.fact("done");
    held.run.pass(Duration::from_millis(1200));
    for _ in 0..100 {
        assert_eq!(bench.connect(held.at).worker(), 2);
    }
    held.clients.drain(..).for_each(|mut client| assert!(client.hear().unwrap().starts_with("2 1 ")));
    held.are_served();
    held.leaves(bench);
}

/// It gets newcomers until it looks.
fn who_waits_is_served_without_steering(bench: &Bench) {
    let mut held = held(bench, "balance=kernel");
    held.run.tell("disconnect 1");
    held.run.fact("done");
    held.clients.extend((0..40).map(|_| bench.connect(held.at)));
    held.clients[40..].iter_mut().for_each(|client| client.say("who"));
    held.are_served();
    held.leaves(bench);
}

fn a_worker_that_says_so_is_left_in_the_same_way(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 workers=2");
    let at = run.ready();
    let mut leaver = bench.client_of(at, 1);
    assert_eq!(leaver.ask("leave"), "Ok(())");
    // The master knows as soon as it lists it so.
    let mut state = String::new();
    while state != "0:1:Draining 1:2:Ready" {
        run.tell("workers");
        state = run.fact("workers").rest().to_owned();
    }
    for _ in 0..50 {
        assert_eq!(bench.connect(at).worker(), 2);
    }
    assert_eq!(leaver.worker(), 1);
    drop(leaver);
    assert_eq!(run.fact_of("exit", 1).how(), "code 0, asked");
    bench.reaches(at, [2]);
    assert_eq!(run.all("fork").len(), 2);
    stop(run);
}

/// For the last one there is no elsewhere: it is asked at once, and newcomers are refused.
fn all_leave_one_by_one(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 workers=4");
    let at = run.ready();
    for id in 1..=3 {
        run.tell(&format!("disconnect {id}"));
        run.fact("done");
        bench.reaches(at, id + 1..=4);
    }
    (1..=3).for_each(|id| assert_eq!(run.known("exit", id).how(), "code 0, asked"));
    let mut last = bench.client_of(at, 4);
    let mut waiting = bench.connect(at);
    run.tell("disconnect 4");
    run.fact("done");
    assert_eq!(last.worker(), 4);
    drop(last);
    assert_eq!(waiting.worker(), 4);
    drop(waiting);
    assert_eq!(run.known("exit", 4).how(), "code 0, asked");
    assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    run.end_with(0);
    assert_eq!((run.all("fork").len(), run.logged("reset")), (4, 0));
}

fn its_time_begins_when_it_is_asked(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 workers=2 drain_timeout=300");
    let at = run.ready();
    let client = bench.client_of(at, 1);
    run.expect_once("has not finished within 300ms: it gets SIGTERM");
    run.tell("disconnect 1");
    client.closed();
    let exit = run.fact_of("exit", 1);
    assert_eq!(exit.how(), "signal 15, asked");
    assert!(exit.get::<u64>("uptime_ms") >= 1300, "{exit:?}");
    bench.reaches(at, [2]);
    stop(run);
}

/// While it still serves the client that it has.
fn sigterm_brings_the_successor_at_once(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 worker=managed told");
    let at = run.ready();
    let mut client = bench.connect(at);
    assert_eq!(client.ask("stay"), "stays");
    run.expect_once("exited with code 0");
    run.signal_to(run.all("ready")[0].get("pid"), Signal::SIGTERM);
    run.fact_of("ready", 2);
    // It accepts until it has the master's word.
    run.log("worker 1 drains");
    bench.reaches(at, [2]);
    assert_eq!(client.worker(), 1);
    client.closed();
    assert_eq!(run.fact_of("exit", 1).how(), "code 0, own");
    assert_eq!((run.all("fork").len(), run.logged("gives up")), (2, 0));
    stop(run);
}

/// It takes its time, and whoever comes meanwhile is served by the one or the other.
fn sigterm_resets_nobody_while_the_successor_starts(bench: &Bench) {
    let mut run = bench.start("cluster signals listen=@:0 worker=released");
    let at = run.ready();
    run.tell("release late");
    run.tell("workers");
    run.fact("workers");
    run.expect_once("exited with code 0");
    run.signal_to(run.all("ready")[0].get("pid"), Signal::SIGTERM);
    let trigger: SocketAddr = run.fact("late").rest().parse().unwrap();
    let clients: Vec<Client> = (0..20).map(|_| bench.connect(at)).collect();
    drop(bench.stream(trigger));
    for mut client in clients {
        assert!((1..=2).contains(&client.worker()));
    }
    run.fact_of("exit", 1);
    bench.reaches(at, [2]);
    assert_eq!((run.all("fork").len(), run.logged("gives up")), (2, 0));
    stop(run);
}

fn sigterm_to_a_worker_that_is_not_restarted_leaves_the_slot(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 workers=2 restart=on_failure");
    let at = run.ready();
    let mut client = bench.client_of(at, 1);
    run.expect_once("exited with code 0");
    let pid = run.known("ready", 1).get("pid");
    run.signal_to(pid, Signal::SIGTERM);
    assert_eq!(client.worker(), 1);
    drop(client);
    run.fact_of("exit", 1);
    bench.reaches(at, [2]);
    run.pass_until(|| listening_sockets(at).len() == 1);
    assert_eq!(run.all("fork").len(), 2);
    stop(run);
}

/// They look at nothing but their clients, and others wait behind their sockets; the kernel refuses whoever comes now.
fn busy_workers_at_a_stop_refuse_newcomers_and_serve_who_waits(bench: &Bench) {
    for user in ["", " unprivileged"] {
        let mut run = bench.start(&format!("cluster mode=run listen=@:0 workers=2{user}"));
        let at = run.ready();
        let mut busy = bench.client_of_each(at, [1, 2]);
        let waiting: Vec<Client> = (0..20).map(|_| bench.connect(at)).collect();
        run.signal(Signal::SIGTERM);
        run.fact("stopping");
        refused(at);
        assert_eq!(busy.each_mut().map(Client::worker), [1, 2]);
        drop(busy);
        for mut client in waiting {
            client.worker();
        }
        run.end_with(0);
        assert_eq!(run.logged("reset"), 0);
    }
}

fn refused(at: SocketAddr) {
    for _ in 0..20 {
        assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

fn a_stopped_process_at_a_stop_serves_who_waits(bench: &Bench) {
    let mut held = held(bench, "");
    held.run.signal(Signal::SIGTERM);
    held.run.fact("stopping");
    refused(held.at);
    held.are_served();
    held.run.end_with(0);
    assert!(held.run.all("exit").iter().all(|exit| exit.how() == "code 0, asked"));
    assert_eq!(held.run.logged("reset"), 0);
}
