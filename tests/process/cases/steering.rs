//! Who gets a new connection: nobody who is leaving.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::{Bench, Run, cases};

cases!("steering":
    nobody_new_reaches_a_worker_that_leaves,
    nor_on_ipv6,
    nor_on_all_addresses_of_the_machine,
    nor_without_privileges,
    nor_at_any_of_several_addresses,
    the_last_worker_is_reached_to_the_end,
    a_strangers_socket_is_told_once,
    a_strangers_socket_is_found_when_somebody_leaves,
    what_the_kernel_chooses_is_none_of_our_business,
    refused_by_a_seccomp_filter,
);

/// Eight slots, their workers, and which of those are leaving.
struct Slots<'a> {
    bench: &'a Bench,
    run: Run,
    addresses: Vec<SocketAddr>,
    /// By slot.
    workers: BTreeMap<u64, u64>,
    leaving: BTreeSet<u64>,
    random: u64,
}

impl<'a> Slots<'a> {
    fn start(bench: &'a Bench, words: &str, seed: u64) -> Self {
        let mut run = bench.start(&format!("cluster signals workers=8 max_workers=8 {words}"));
        let mut addresses = run.ready_at();
        addresses.iter_mut().filter(|at| at.ip().is_unspecified()).for_each(|at| at.set_ip(bench.ip().into()));
        let workers = run.all("ready").iter().map(|fact| (fact.get("slot"), fact.get("id"))).collect();
        // It is the case that kills them.
        run.expect("was killed by SIGKILL");
        Self { bench, run, addresses, workers, leaving: BTreeSet::new(), random: seed }
    }

    /// Below `n`.
    fn random(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % n
    }

    fn staying(&self) -> Vec<u64> {
        self.workers.values().copied().filter(|id| !self.leaving.contains(id)).collect()
    }

    /// Who answers, at one of the addresses.
    fn ask(&mut self) -> u64 {
        let at = self.random(self.addresses.len());
        self.bench.ask(self.addresses[at], "who").split(' ').next().unwrap().parse().unwrap()
    }

    /// Somebody dies or leaves, or a worker makes a socket anew; then many connect.
    fn step(&mut self, what: usize) {
        let staying = self.staying();
        let id = staying[self.random(staying.len())];
        match what {
            0 => {
                self.run.tell(&format!("kill {id} 9"));
                let slot = *self.workers.iter().find(|(_, other)| **other == id).unwrap().0;
                let next = self.run.fact_where("the next worker", |fact| {
                    fact.name() == "ready" && fact.get::<u64>("slot") == slot && fact.get::<u64>("id") > id
                });
                self.workers.insert(slot, next.get("id"));
            }
            1 => {
                let at = self.addresses[0];
                self.bench.connect(at).say("relisten");
                self.run.fact("relistens");
            }
            _ if staying.len() > 1 => {
                self.run.tell(&format!("disconnect {id}"));
                self.run.fact("done");
                self.leaving.insert(id);
            }
            _ => {}
        }
        for _ in 0..12 {
            let id = self.ask();
            assert!(!self.leaving.contains(&id), "worker {id} is leaving, like {:?}", self.leaving);
        }
    }

    /// All that stay are reached.
    fn all_are_reached(&mut self) {
        let mut missing: BTreeSet<u64> = self.staying().into_iter().collect();
        for _ in 0..2000 {
            missing.remove(&self.ask());
            if missing.is_empty() {
                return;
            }
        }
        panic!("{missing:?} get nothing");
    }

    /// Those that leave are gone, and their slots taken again: the sockets join and leave in another order each time.
    fn refill(&mut self) {
        let leaving = std::mem::take(&mut self.leaving);
        while leaving.iter().any(|id| !self.run.all("exit").iter().any(|exit| exit.get::<u64>("id") == *id)) {
            self.run.fact("exit");
        }
        self.workers.retain(|_, id| !leaving.contains(id));
        for _ in leaving {
            self.run.tell("fork");
            let ready = self.run.fact("ready");
            self.workers.insert(ready.get("slot"), ready.get("id"));
        }
    }

    fn stop(mut self) {
        self.run.signal(Signal::SIGTERM);
        self.run.end_with(0);
    }
}

fn history(bench: &Bench, words: &str, seed: u64, kinds: &[usize]) {
    let mut slots = Slots::start(bench, words, seed);
    for _ in 0..3 {
        for _ in 0..8 {
            let what = kinds[slots.random(kinds.len())];
            slots.step(what);
        }
        slots.all_are_reached();
        slots.refill();
    }
    slots.all_are_reached();
    slots.stop();
}

fn nobody_new_reaches_a_worker_that_leaves(bench: &Bench) {
    history(bench, "listen=@:0", 1, &[0, 1, 2, 3]);
}

fn nor_on_ipv6(bench: &Bench) {
    history(bench, "listen=[::1]:0", 2, &[0, 2, 3]);
}

fn nor_on_all_addresses_of_the_machine(bench: &Bench) {
    history(bench, "listen=0.0.0.0:0", 3, &[0, 1, 2, 3]);
}

fn nor_without_privileges(bench: &Bench) {
    history(bench, "listen=@:0 unprivileged", 4, &[0, 2, 3]);
}

fn nor_at_any_of_several_addresses(bench: &Bench) {
    history(bench, "listen=@:0,a listen=[::1]:0,b worker=managed told", 5, &[0, 2, 3]);
}

fn the_last_worker_is_reached_to_the_end(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2");
    let address = run.ready();
    let mut busy = bench.connect(address);
    let first: u64 = busy.ask("who").split(' ').next().unwrap().parse().unwrap();
    let last = 3 - first;
    run.tell(&format!("disconnect {first}"));
    run.fact("done");
    assert!(bench.ask(address, "who").starts_with(&last.to_string()));
    run.tell(&format!("disconnect {last}"));
    run.fact_of("exit", last);
    drop(busy);
    run.fact_of("exit", first);
    // Nobody is left.
    run.end_with(0);
}

/// As another program of the same user can have it.
fn stranger(at: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.listen(16).unwrap();
    socket
}

fn a_strangers_socket_is_told_once(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 signals workers=2");
    let address = run.ready();
    let stranger = stranger(address);
    run.expect_once("another program listens at");
    run.tell("fork");
    assert_eq!(run.fact("stranger").get::<SocketAddr>("address"), address);
    run.tell("fork");
    run.fact_of("ready", 4);
    run.tell("disconnect 1");
    run.fact_of("exit", 1);
    // The harness looks whether the port is free.
    drop(stranger);
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    assert_eq!(run.all("stranger").len(), 1);
}

fn a_strangers_socket_is_found_when_somebody_leaves(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 signals workers=3");
    let stranger = stranger(run.ready());
    run.expect_once("another program listens at");
    run.tell("disconnect 2");
    run.fact("stranger");
    run.fact_of("exit", 2);
    // The harness looks whether the port is free.
    drop(stranger);
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn what_the_kernel_chooses_is_none_of_our_business(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 signals workers=2 balance=kernel");
    let stranger = stranger(run.ready());
    run.tell("fork");
    run.fact_of("ready", 3);
    run.tell("disconnect 1");
    run.fact_of("exit", 1);
    // The harness looks whether the port is free.
    drop(stranger);
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    assert!(run.all("stranger").is_empty());
    assert_eq!(run.logged("mio_cluster::steering"), 0);
}

fn refused_by_a_seccomp_filter(bench: &Bench) {
    let perl = std::path::Path::new("/usr/bin/perl");
    if !cfg!(target_arch = "x86_64") || !perl.exists() {
        bench.cannot("the filter is written in Perl, with the numbers of x86_64");
    }
    let mut run = bench.start_by(&["perl", "-e", FILTER], "cluster listen=@:0 signals workers=4");
    let address = run.ready();
    run.expect_once("choosing the worker of a new connection: Operation not permitted");
    for id in [2, 3] {
        run.tell(&format!("disconnect {id}"));
        run.fact_of("exit", id);
    }
    bench.ask(address, "who");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Six instructions of classic BPF: setsockopt (54) with SO_ATTACH_REUSEPORT_CBPF (51) is EPERM, all else is allowed.
/// PR_SET_NO_NEW_PRIVS (38) comes first, as whoever is not root needs it.
const FILTER: &str = r#"
    my $filter = pack("(SCCL)6", 0x20,0,0,0, 0x15,0,3,54, 0x20,0,0,32, 0x15,0,1,51, 0x06,0,0,0x00050001, 0x06,0,0,0x7fff0000);
    my $program = pack("S x6 P", 6, $filter);
    syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
    syscall(157, 22, 2, $program) == 0 or die "seccomp: $!";
    exec(@ARGV) or die "exec: $!";
"#;
