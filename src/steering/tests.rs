//! With real sockets: what the kernel does is seen by connecting.

use std::net::{TcpListener, TcpStream};

use nix::libc::{BPF_K, BPF_RET, sock_filter};
use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::net::door;

/// One process as its own master and workers.
struct World {
    steering: Steering,
    doors: Doors,
    addresses: Vec<SocketAddr>,
}

impl World {
    fn new(hosts: &[&str]) -> Self {
        let addresses = hosts.iter().map(|host| free(host)).collect();
        Self { steering: Steering::new(Balance::Auto, true), doors: Doors::new(), addresses }
    }

    /// The duplicate that some other process holds.
    fn join_at(&mut self, slot: u16, address: usize) -> Owned {
        let (slot, at) = (Slot::from_index(slot.into()), self.addresses[address]);
        let door = bound(at);
        let copy = Owned::new(door.try_clone().unwrap());
        self.steering.before_join(&self.doors, address);
        door.listen(64).unwrap();
        let door = Owned::new(door);
        self.steering.joined(&self.doors, slot, address, at, &door);
        self.doors.insert((slot, address), door);
        self.steering.after_join(&self.doors, address);
        copy
    }

    fn join(&mut self, slot: u16) -> Owned {
        self.join_at(slot, 0)
    }

    fn leave_at(&mut self, slot: u16, address: usize) {
        let slot = Slot::from_index(slot.into());
        let door = self.doors.remove(&(slot, address)).unwrap();
        self.steering.before_leave(&self.doors, slot, address, &door);
        shut(&door);
        self.steering.left(&self.doors, slot, address, &door);
    }

    fn leave(&mut self, slot: u16) {
        self.leave_at(slot, 0);
    }

    fn away(&mut self, slot: u16) -> bool {
        self.steering.steer_away(&self.doors, Slot::from_index(slot.into()), Away::Leaves)
    }

    fn back(&mut self, slot: u16) {
        self.steering.steer_back(&self.doors, Slot::from_index(slot.into()), Away::Leaves);
    }

    fn slots_at(&self, address: usize) -> Vec<u16> {
        self.doors.keys().filter(|(_, at)| *at == address).map(|(slot, _)| slot.index() as u16).collect()
    }

    /// Connects, and tells whose socket it was; `None`: that of somebody else.
    fn connect(&self, address: usize) -> Option<u16> {
        let _client = TcpStream::connect(self.addresses[address]).unwrap();
        let mut here = self.doors.iter().filter(|((_, at), _)| *at == address);
        here.find(|(_, door)| SockRef::from(*door).accept().is_ok()).map(|((slot, _), _)| slot.index() as u16)
    }

    /// Connects until each of these has had one, and nobody else has.
    fn goes_to_all_of(&self, address: usize, wanted: &[u16]) {
        let mut missing = wanted.to_vec();
        for _ in 0..2000 {
            let Some(slot) = self.connect(address) else { panic!("a stranger had it") };
            assert!(wanted.contains(&slot), "slot {slot} is none of {wanted:?}");
            missing.retain(|other| *other != slot);
            if missing.is_empty() {
                return;
            }
        }
        panic!("{missing:?} of {wanted:?} get nothing");
    }

    /// Has the kernel name its array, place by place, and compares.
    fn is_exact(&mut self, address: usize) {
        let group = &self.steering.groups[&address];
        let mirror: Vec<u16> =
            group.order.as_ref().unwrap().members().iter().map(|member| member.slot.index() as u16).collect();
        let member = self.doors.iter().find(|((_, at), _)| *at == address).unwrap().1;
        for (place, slot) in (0..).zip(&mirror) {
            steer::attach(member, &[sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: place }]).unwrap();
            assert_eq!(self.connect(address), Some(*slot), "at place {place} of {mirror:?}");
        }
        match &group.program {
            Some(program) => steer::attach(member, &program.instructions()).unwrap(),
            None => steer::detach(member).unwrap(),
        }
    }
}

fn bound(at: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.bind(&at.into()).unwrap();
    socket
}

fn free(host: &str) -> SocketAddr {
    TcpListener::bind(format!("{host}:0")).unwrap().local_addr().unwrap()
}

fn shut(door: &Owned) {
    if listens(door) {
        SockRef::from(door).shutdown(std::net::Shutdown::Read).unwrap();
    }
}

struct Random(u64);

impl Random {
    /// Below `n`: splitmix64, as the seed is small.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % n as u64) as usize
    }
}

/// Joins, leaves with copies that live on elsewhere, sockets that their workers shut, and slots steered away and back.
fn history(host: &str, seed: u64) {
    let (mut world, mut random, mut copies) = (World::new(&[host]), Random(seed), Vec::new());
    let mut away: Vec<u16> = Vec::new();
    for _ in 0..40 {
        let (slot, present) = (random.below(8) as u16, world.slots_at(0));
        match (present.contains(&slot), random.below(4)) {
            (false, _) => copies.push(world.join(slot)),
            (true, 0) => world.leave(slot),
            (true, 1) => shut(&world.doors[&(Slot::from_index(slot.into()), 0)]),
            (true, 2) => {
                world.back(slot);
                away.retain(|other| *other != slot);
            }
            (true, _) => {
                let possible = present.iter().any(|other| *other != slot && !away.contains(other));
                assert_eq!(world.away(slot), possible, "slot {slot} of {present:?} without {away:?}");
                away.extend(Some(slot).filter(|_| possible));
            }
        }
        // The worker says so in the end; its next socket is a new one.
        let shut = world.doors.iter().filter(|(_, door)| !listens(door)).map(|((slot, _), _)| slot.index() as u16);
        shut.collect::<Vec<u16>>().into_iter().for_each(|slot| world.leave(slot));
        let present = world.slots_at(0);
        away.retain(|slot| present.contains(slot));
        let served: Vec<u16> = present.iter().copied().filter(|slot| !away.contains(slot)).collect();
        if !present.is_empty() {
            world.is_exact(0);
            world.goes_to_all_of(0, if served.is_empty() { &present } else { &served });
        }
        assert!(world.steering.strangers(&world.doors).is_empty());
    }
}

#[test]
fn the_places_are_exact_after_any_history() {
    (0..8).for_each(|seed| history("127.0.0.1", seed));
}

#[test]
fn the_places_are_exact_on_ipv6() {
    (0..4).for_each(|seed| history("[::1]", seed));
}

#[test]
fn a_slot_leaves_all_of_its_addresses_or_none() {
    let mut world = World::new(&["127.0.0.1", "[::1]"]);
    let _copies: Vec<Owned> = [(0, 0), (1, 0), (0, 1)].map(|(slot, address)| world.join_at(slot, address)).into();
    assert!(!world.away(0), "nobody else is at the second address");
    world.goes_to_all_of(0, &[0, 1]);
    assert!(!world.away(7), "it has no socket");
    let _copy = world.join_at(1, 1);
    assert!(world.away(0) && world.away(0));
    assert!(!world.away(1), "it is the last");
    (0..2).for_each(|address| world.goes_to_all_of(address, &[1]));
    world.leave_at(0, 0);
    world.goes_to_all_of(1, &[1]);
    // Its next worker is a new one.
    world.leave_at(0, 1);
    let _copy = world.join_at(0, 1);
    world.goes_to_all_of(1, &[0, 1]);
}

#[test]
fn a_newcomer_gets_its_share_unless_its_slot_is_leaving() {
    let mut world = World::new(&["127.0.0.1"]);
    let mut copies = vec![world.join(0), world.join(1)];
    assert!(world.away(0));
    copies.push(world.join(2));
    world.goes_to_all_of(0, &[1, 2]);
    world.back(0);
    world.goes_to_all_of(0, &[0, 1, 2]);
    assert_eq!(world.steering.groups[&0].program, None, "the kernel's own choice again");
}

/// Once everybody has left, the kernel knows neither an order nor a program any more.
#[test]
fn what_is_not_known_is_forgotten_with_the_last_member() {
    let mut world = World::new(&["127.0.0.1"]);
    let _copies: Vec<Owned> = (0..6).map(|slot| world.join(slot)).collect();
    assert!(world.away(0));
    [0, 1].iter().for_each(|slot| shut(&world.doors[&(Slot::from_index(*slot), 0)]));
    assert!(!world.away(2), "which of the two left first nobody knows");
    world.goes_to_all_of(0, &[2, 3, 4, 5]);
    (0..6).for_each(|slot| world.leave(slot));
    let _copies: Vec<Owned> = (0..3).map(|slot| world.join(slot)).collect();
    world.is_exact(0);
    assert!(world.away(0));
    world.goes_to_all_of(0, &[1, 2]);
}

#[test]
fn strangers_are_told_once_and_end_it() {
    for before in [true, false] {
        let mut world = World::new(&["127.0.0.1", "127.0.0.1"]);
        let mut copies: Vec<Owned> =
            (0..2).flat_map(|slot| [(slot, 0), (slot, 1)]).map(|(slot, at)| world.join_at(slot, at)).collect();
        assert!(world.steering.strangers(&world.doors).is_empty());
        assert!(!before || world.away(0));
        let stranger = bound(world.addresses[1]);
        stranger.listen(64).unwrap();
        if before {
            copies.push(world.join_at(2, 1));
        } else {
            assert!(!world.away(0), "it is seen without a join, too");
        }
        assert_eq!(world.steering.strangers(&world.doors), [1]);
        copies.push(world.join_at(3, 1));
        assert!(world.steering.strangers(&world.doors).is_empty());
        assert!(!world.away(1));
        assert_eq!(world.steering.groups[&1].program, None);
    }
}

#[test]
fn where_it_is_not_wanted_or_not_possible_nothing_is_done() {
    for (balance, custody) in [(Balance::Kernel, true), (Balance::Auto, false)] {
        let mut world = World::new(&["127.0.0.1"]);
        world.steering = Steering::new(balance, custody);
        let _copies = [world.join(0), world.join(1)];
        assert!(!world.away(0));
        assert!(world.steering.groups.is_empty());
        world.goes_to_all_of(0, &[0, 1]);
    }
}

#[test]
fn an_address_that_ends_is_closed_from_behind() {
    for host in ["127.0.0.1", "[::1]"] {
        let mut world = World::new(&[host]);
        let _copies: Vec<Owned> = (0..4).map(|slot| world.join(slot)).collect();
        let last = world.steering.gather(&world.doors, 0).unwrap();
        for ((slot, _), door) in world.doors.iter().filter(|((slot, _), _)| *slot != last) {
            (0..20).for_each(|_| assert_eq!(world.connect(0), Some(last.index() as u16), "slot {slot} may be closed"));
            door::refuse_newcomers(door).unwrap();
        }
        (0..20).for_each(|_| assert_eq!(world.connect(0), Some(last.index() as u16)));
        door::refuse_newcomers(&world.doors[&(last, 0)]).unwrap();
        assert!(TcpStream::connect(world.addresses[0]).is_err());
    }
}
