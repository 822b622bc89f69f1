//! Who says that it is what.

use crate::harness::{Bench, cases};

cases!("roles":
    before_during_and_after_a_cluster,
    in_a_worker_with_a_cluster_of_its_own,
);

fn before_during_and_after_a_cluster(bench: &Bench) {
    let mut run = bench.start("roles");
    let mut next = || run.fact("roles").rest().to_owned();
    assert_eq!(next(), "master=false worker=false", "before");
    assert_eq!(next(), "master=false worker=true", "in the worker");
    assert_eq!(next(), "master=true worker=false", "after");
    assert_eq!(next(), "master=false worker=false", "in a child of another kind");
    assert_eq!(run.fact("child").rest(), "exit status: 0");
    run.expect("exited with code 0");
    run.end_with(0);
}

fn in_a_worker_with_a_cluster_of_its_own(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=nested signals");
    let mut next = || run.fact("roles").rest().to_owned();
    assert_eq!(next(), "master=false worker=true", "before it starts one");
    assert_eq!(next(), "master=false worker=true", "in the inner worker");
    assert_eq!(next(), "master=true worker=true", "after");
    let address = run.first("listening").get::<std::net::SocketAddr>("address");
    assert_eq!(bench.ask(address, "roles"), "master=true worker=true");
    run.expect_once("exited with code 0");
    run.tell("roles");
    assert_eq!(run.fact("roles").rest(), "master=true worker=false");
    run.tell("stop");
    run.end_with(0);
}
