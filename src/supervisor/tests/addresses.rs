//! Addresses that come and go.

use std::time::Duration;

use super::{
    by_hand::{ByHand, Did, Forks, id, killed, policy},
    rig::Input,
};
use crate::{
    config::{Restart, Settings},
    event::{Event, Shutdown},
    supervisor::Surrender,
};

fn cluster(addresses: usize) -> ByHand {
    ByHand::start_at(addresses, policy(1, Restart::Always), Forks::Work, 1)
}

fn ready(cluster: &mut ByHand) -> Vec<u64> {
    let id = |event| if let Event::Ready(worker) = event { Some(worker.id.as_u64()) } else { None };
    cluster.events().into_iter().filter_map(id).collect()
}

#[test]
fn a_worker_is_ready_with_the_addresses_that_it_was_born_with() {
    let mut cluster = cluster(1);
    cluster.feed(Input::AddressAdded).feed(Input::Listening(id(1), 0));
    assert_eq!(ready(&mut cluster), [1]);
    cluster.feed(Input::Listening(id(1), 1));
    cluster.dies(1, killed(9)).feed(Input::Listening(id(2), 0));
    assert_eq!(ready(&mut cluster), [] as [u64; 0], "the next one has two");
    cluster.feed(Input::Listening(id(2), 1));
    assert_eq!(ready(&mut cluster), [2]);
}

#[test]
fn nobody_waits_for_an_address_that_is_gone() {
    let mut cluster = cluster(2);
    cluster.feed(Input::Listening(id(1), 0));
    assert_eq!(ready(&mut cluster), [] as [u64; 0]);
    cluster.feed(Input::AddressRemoved(1));
    assert_eq!(ready(&mut cluster), [1]);
    cluster.dies(1, killed(9)).feed(Input::Listening(id(2), 0));
    assert_eq!(ready(&mut cluster), [2]);
    assert_eq!(cluster.shut(), []);
}

#[test]
fn a_worker_has_a_second_to_leave_an_address() {
    let mut cluster = cluster(2);
    cluster.feed(Input::Listening(id(1), 0)).feed(Input::Listening(id(1), 1));
    cluster.feed(Input::AddressRemoved(1)).pass(Duration::from_millis(999));
    assert_eq!(cluster.shut(), []);
    cluster.pass(Duration::from_millis(1));
    assert_eq!(cluster.shut(), [(0, 1, Surrender::Removed)]);
    cluster.feed(Input::AddressRemoved(0)).feed(Input::ListenerClosed(id(1), 0)).pass(Duration::ZERO);
    assert_eq!(cluster.shut(), [(0, 0, Surrender::Removed)], "and none longer than it needs");
}

#[test]
fn a_socket_without_a_worker_goes_along_with_its_address() {
    let mut cluster = cluster(1);
    cluster.feed(Input::Listening(id(1), 0)).feed(Input::ListenerClosed(id(1), 0));
    cluster.feed(Input::AddressRemoved(0)).pass(Duration::ZERO);
    assert_eq!(cluster.shut(), [(0, 0, Surrender::Removed)]);
}

#[test]
fn a_worker_that_dies_leaves_no_socket_at_an_address_that_is_gone() {
    let mut cluster = cluster(1);
    cluster.feed(Input::Listening(id(1), 0)).feed(Input::AddressRemoved(0)).dies(1, killed(9));
    assert_eq!(cluster.shut(), [(0, 0, Surrender::Removed)]);
}

#[test]
fn a_cluster_that_stops_takes_no_address() {
    let mut cluster = ByHand::start(Settings { ..policy(1, Restart::Always) });
    cluster.feed(Input::Stop(Shutdown::Drain, None)).feed(Input::AddressAdded);
}

/// Whoever is told looks into a shared queue for the last time.
#[test]
fn newcomers_are_refused_before_any_worker_is_told() {
    let mut cluster = cluster(1);
    cluster.did();
    cluster.feed(Input::Stop(Shutdown::Drain, None));
    assert_eq!((cluster.refused_after(), cluster.did()), (Some(0), vec![Did::Ask(1)]));
}
