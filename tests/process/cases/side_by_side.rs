//! Two clusters in one program and one loop: neither notices the other.

use std::net::SocketAddr;

use crate::harness::{Bench, Fact, Run, cases, free_port};

cases!("side_by_side":
    events_of_two_clusters_are_kept_apart,
    one_cluster_stops_while_the_other_serves,
    scoreboards_of_two_clusters_are_kept_apart,
    both_clusters_stop_at_once,
);

/// Both are ready; where they are.
fn start(bench: &Bench) -> (Run, [SocketAddr; 2]) {
    let mut run = bench.start("side_by_side listen=@:0 workers=2");
    let addresses = ["first_at", "second_at"].map(|name| run.first(name).rest().parse().unwrap());
    ["first", "second"].into_iter().for_each(|name| drop(event(&mut run, name, "all_ready")));
    (run, addresses)
}

/// The next or an earlier one.
fn event(run: &mut Run, cluster: &str, kind: &str) -> Fact {
    of(run, cluster, kind)
        .pop()
        .unwrap_or_else(|| run.fact_where(kind, |fact| fact.name() == cluster && fact.field("event") == Some(kind)))
}

fn of(run: &Run, cluster: &str, kind: &str) -> Vec<Fact> {
    run.all(cluster).into_iter().filter(|fact| fact.field("event") == Some(kind)).collect()
}

fn ids(run: &Run, cluster: &str, kind: &str) -> Vec<u64> {
    let mut ids: Vec<u64> = of(run, cluster, kind).iter().map(|fact| fact.get("id")).collect();
    ids.sort_unstable();
    ids
}

/// Both have workers 1 and 2; that of the one which is named is killed, replaced, and told of.
fn events_of_two_clusters_are_kept_apart(bench: &Bench) {
    let (mut run, addresses) = start(bench);
    assert_ne!(addresses[0], addresses[1]);
    run.expect_once("was killed by SIGKILL");
    run.tell("first kill 1 9");
    run.fact_where("ready of worker 3", |fact| fact.field("event") == Some("ready") && fact.field("id") == Some("3"));
    run.tell("second disconnect 2");
    event(&mut run, "second", "exit");
    run.tell("first stop");
    run.tell("second stop");
    run.end_with(0);
    for (cluster, address, forked) in [("first", addresses[0], vec![1, 2, 3]), ("second", addresses[1], vec![1, 2])] {
        for kind in ["fork", "online", "listening", "ready", "disconnect", "exit"] {
            assert_eq!(ids(&run, cluster, kind), forked, "{cluster}: {kind}");
        }
        let at = |fact: &Fact| fact.get::<SocketAddr>("address");
        assert!(of(&run, cluster, "listening").iter().all(|fact| at(fact) == address), "{cluster}");
        assert_eq!(of(&run, cluster, "all_ready").len(), 1, "{cluster}");
    }
    let signalled = |cluster| of(&run, cluster, "exit").iter().filter(|fact| fact.how() == "signal 9, killed").count();
    assert_eq!((signalled("first"), signalled("second")), (1, 0));
}

/// A client of the other one is connected all the time.
fn one_cluster_stops_while_the_other_serves(bench: &Bench) {
    let (mut run, [first, second]) = start(bench);
    let mut client = bench.connect(second);
    assert_eq!(client.ask("roles"), WORKER);
    run.tell("first stop");
    run.first("first_over");
    free_port(first).expect("the port of the cluster that has ended is free");
    assert_eq!(client.ask("roles"), WORKER);
    drop(client);
    run.expect_once("was killed by SIGKILL");
    run.tell("second kill 1 9");
    run.fact_where("ready of worker 3", |fact| fact.name() == "second" && fact.field("id") == Some("3"));
    (0..16).for_each(|_| assert_eq!(bench.ask(second, "roles"), WORKER));
    run.tell("first stop");
    run.fact_where("first is over", |fact| fact.name() == "first" && fact.rest() == "is over");
    run.tell("second stop");
    run.end_with(0);
    free_port(second).expect("this one is free, too");
}

fn scoreboards_of_two_clusters_are_kept_apart(bench: &Bench) {
    let (mut run, [first, second]) = start(bench);
    (0..3).for_each(|_| assert_eq!(bench.ask(first, "roles"), WORKER));
    (0..5).for_each(|_| assert_eq!(bench.ask(second, "roles"), WORKER));
    run.tell("first accepted");
    run.tell("second accepted");
    assert_eq!((run.first("first_accepted").rest(), run.first("second_accepted").rest()), ("3", "5"));
    run.tell("first stop");
    run.tell("second stop");
    run.end_with(0);
}

fn both_clusters_stop_at_once(bench: &Bench) {
    let (mut run, addresses) = start(bench);
    run.tell("second stop\nfirst stop");
    run.end_with(0);
    for cluster in ["first", "second"] {
        assert!(of(&run, cluster, "exit").iter().all(|fact| fact.how() == "code 0, asked"), "{cluster}");
    }
    assert!(addresses.into_iter().all(|address| free_port(address).is_ok()));
}

/// A worker's answer to `roles`.
const WORKER: &str = "master=false worker=true";
