//! Steering: which of the sockets at an address the kernel gives a new connection to.
//!
//! Left alone the kernel spreads connections over all of them by a hash. A slot that leaves for good is *steered away*
//! first: a classic BPF program, which needs no privilege, then chooses among the others, while the slot's own worker
//! serves whoever was on the way. The program names places in the kernel's array of the sockets ([`mirror`]).
//!
//! **Only on change**: a program is attached when the choice changes; while nobody is steered away there is none, and a
//! connection costs what it costs without this module.
//!
//! **Exact**: the places follow from the joins and the leaves. Those are the master's own acts, its `listen()` and its
//! `shutdown()`; a socket that its worker has shut is noticed before and after each of them, and where its place makes
//! a difference that nobody can know, nothing is steered there until all of the sockets have left. Sockets of other
//! programs ("strangers", of the same user and with SO_REUSEPORT) take places, too: they are looked for after each join
//! and before anybody is steered away, and where there is one nothing is steered any more.
//!
//! **Leaves move places**: before a socket is shut while somebody is steered away, a program is attached that is right
//! before and after, one that chooses none of the places that change. What remains: if the only candidate is the one
//! that moves, the kernel's hash chooses until the next program is attached, some microseconds later, and then another
//! slot that leaves may get a connection.
//!
//! It must never fail a cluster: what is not possible is said once, and the hash goes on.

mod mirror;
mod program;
mod strangers;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    net::SocketAddr,
};

use nix::sys::stat::fstat;

use self::{
    mirror::{Mirror, OrderUnknown},
    program::Program,
    strangers::listening_at,
};
use crate::{
    config::Balance,
    id::Slot,
    net::door::listens,
    sys::{owned::Owned, shortage::is_shortage, steer},
};

/// The sockets of a cluster, by slot and by the place of the address in the builder's order.
pub(crate) type Doors = BTreeMap<(Slot, usize), Owned>;

/// For one cluster.
pub(crate) struct Steering {
    /// False: not wanted, not possible, or the system refuses.
    on: bool,
    /// By the place of the address.
    groups: BTreeMap<usize, Group>,
    away: Reasons,
    /// Addresses at which a stranger was found, and nobody told yet.
    found: Vec<usize>,
}

/// Why no connection is to come to a slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Away {
    /// It is left for good.
    Leaves,
    /// None of its workers accepts at present.
    Missed,
}

/// Of each slot that no connection is to come to.
#[derive(Default)]
struct Reasons(BTreeSet<(Slot, Away)>);

/// The sockets that listen at one address.
struct Group {
    at: SocketAddr,
    /// `None`: not known, until all have left.
    order: Option<Mirror<Member>>,
    program: Option<Program>,
    strangers: Strangers,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Strangers {
    /// Somebody has joined since the last look.
    NotLooked,
    None,
    /// There is one, or nobody can say. Its place is not known, and neither are all behind it.
    Some,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Member {
    slot: Slot,
    inode: u64,
}

impl Steering {
    /// `custody`: the master makes all sockets join and leave.
    pub(crate) fn new(balance: Balance, custody: bool) -> Self {
        let on = match balance {
            Balance::Auto if !custody => {
                log::info!(target: TARGET, "without keep_listeners {UNSTEERED}");
                false
            }
            Balance::Auto => true,
            Balance::Kernel => false,
        };
        Self { on, groups: BTreeMap::new(), away: Reasons::default(), found: Vec::new() }
    }

    /// Call this right before a socket begins to listen at this address.
    pub(crate) fn before_join(&mut self, doors: &Doors, address: usize) {
        self.look_who_left(doors, address);
    }

    /// The socket listens since `before_join`, and is behind all others.
    pub(crate) fn joined(&mut self, doors: &Doors, slot: Slot, address: usize, at: SocketAddr, door: &Owned) {
        if !self.on {
            return;
        }
        let group = self.groups.entry(address).or_insert_with(|| Group::new(at));
        group.strangers = if group.strangers == Strangers::Some { Strangers::Some } else { Strangers::NotLooked };
        let gone = group.gone(doors, address);
        match inode(door) {
            Ok(inode) => group.change(|order| order.join(Member { slot, inode }, &gone)),
            Err(_unknown) => group.change(|_order| Err(OrderUnknown)),
        }
    }

    /// What `joined` has changed of the choice; `doors` now has the newcomer.
    pub(crate) fn after_join(&mut self, doors: &Doors, address: usize) {
        self.choose(doors, address);
    }

    /// Call this right before a socket at this address is shut; `doors` has it no more.
    pub(crate) fn before_leave(&mut self, doors: &Doors, slot: Slot, address: usize, door: &Owned) {
        self.look_who_left(doors, address);
        let Some(group) = self.groups.get_mut(&address).filter(|group| group.program.is_some()) else { return };
        let Some(order) = &group.order else { return };
        let Some(place) = inode(door).ok().and_then(|inode| order.place(Member { slot, inode })) else { return };
        let (last, away) = (order.members().len() - 1, &self.away);
        let moves = |at: usize| at == place || at == last;
        let members = order.members().iter().enumerate();
        let interim = Program::choosing(members.map(|(at, member)| !moves(at) && !away.has(member.slot)));
        if interim.is_some() {
            self.attach(doors, address, interim);
        }
    }

    /// The socket was shut.
    pub(crate) fn left(&mut self, doors: &Doors, slot: Slot, address: usize, door: &Owned) {
        if !doors.keys().any(|(holder, _)| *holder == slot) {
            self.away.0.retain(|(other, _)| *other != slot);
        }
        let Some(group) = self.groups.get_mut(&address) else { return };
        let mut gone = group.gone(doors, address);
        let own = inode(door).map(|inode| Member { slot, inode });
        match own {
            Ok(own) if group.order.as_ref().is_some_and(|order| order.place(own).is_some()) => gone.push(own),
            Ok(_left_before) => {}
            Err(_unknown) => group.order = None,
        }
        group.leave(doors, address, &gone);
        self.choose(doors, address);
    }

    /// True: from now on the kernel gives no connection to the sockets of this slot, and there is another one at each
    /// of its addresses. False: it has none, or that is not possible; nothing has changed.
    pub(crate) fn steer_away(&mut self, doors: &Doors, slot: Slot, why: Away) -> bool {
        let own = doors.keys().filter(|(holder, _)| self.on && *holder == slot);
        let addresses: Vec<usize> = own.map(|(_, address)| *address).collect();
        if addresses.is_empty() || !addresses.iter().all(|address| self.can_do_without(doors, slot, *address)) {
            return false;
        }
        let was_away = self.away.has(slot);
        self.away.0.insert((slot, why));
        if !was_away {
            addresses.iter().for_each(|address| self.choose(doors, *address));
            log::debug!(target: TARGET, "slot {slot}: new connections go to others");
        }
        self.on
    }

    /// As before, unless there is another reason.
    pub(crate) fn steer_back(&mut self, doors: &Doors, slot: Slot, why: Away) {
        if self.away.0.remove(&(slot, why)) && !self.away.has(slot) {
            log::debug!(target: TARGET, "slot {slot}: new connections come here, too");
            let addresses: Vec<usize> = self.groups.keys().copied().collect();
            addresses.into_iter().for_each(|address| self.choose(doors, address));
        }
    }

    /// Looks where somebody has joined since the last time; the addresses at which others listen, each once.
    pub(crate) fn strangers(&mut self, doors: &Doors) -> Vec<usize> {
        let places = self.groups.iter().filter(|(_, group)| group.strangers == Strangers::NotLooked);
        let places: Vec<usize> = places.map(|(place, _)| *place).collect();
        places.into_iter().for_each(|place| self.look_for_strangers(doors, place));
        mem::take(&mut self.found)
    }

    /// The end of an address: all of its newcomers go to one slot, which is returned, until that one is closed to them,
    /// too. So none comes to a socket that is closed already, as the kernel's hash goes on choosing those. `None`: that
    /// is not possible. Nothing more is steered there.
    pub(crate) fn gather(&mut self, doors: &Doors, address: usize) -> Option<Slot> {
        self.look_who_left(doors, address);
        let group = self.groups.get(&address).filter(|group| group.strangers != Strangers::Some)?;
        let members = group.order.as_ref()?.members();
        let (count, last) = (members.len(), members.last()?.slot);
        let only_the_last = Program::choosing((1..=count).map(|place| place == count));
        if only_the_last.is_some() {
            self.attach(doors, address, only_the_last);
        }
        self.groups.remove(&address);
        Some(last)
    }

    /// Nothing more is steered; for the end.
    pub(crate) fn end(&mut self) {
        *self = Self::new(Balance::Kernel, false);
    }

    fn can_do_without(&mut self, doors: &Doors, slot: Slot, address: usize) -> bool {
        self.look_who_left(doors, address);
        self.look_for_strangers(doors, address);
        let Some(group) = self.groups.get(&address) else { return false };
        let Some(order) = group.order.as_ref().filter(|_| group.strangers == Strangers::None) else { return false };
        let mut others = order.members().iter().filter(|member| member.slot != slot);
        others.any(|member| !self.away.has(member.slot))
    }

    /// Sockets that were shut by somebody else.
    fn look_who_left(&mut self, doors: &Doors, address: usize) {
        let Some(group) = self.groups.get_mut(&address).filter(|_| self.on) else { return };
        let gone = group.gone(doors, address);
        if !gone.is_empty() || group.order.is_none() {
            group.leave(doors, address, &gone);
            self.choose(doors, address);
        }
    }

    fn look_for_strangers(&mut self, doors: &Doors, address: usize) {
        let Some(group) = self.groups.get_mut(&address).filter(|group| group.strangers != Strangers::Some) else {
            return;
        };
        let at = group.at;
        let stranger = listening_at(at).map(|listening| {
            let own: BTreeSet<u64> = doors.values().filter_map(|door| inode(door).ok()).collect();
            listening.into_iter().find(|inode| !own.contains(inode))
        });
        group.strangers = match &stranger {
            Ok(None) => Strangers::None,
            Err(error) if is_shortage(error) => Strangers::NotLooked,
            Ok(Some(_)) | Err(_) => Strangers::Some,
        };
        match stranger {
            Ok(None) => return,
            // Whoever is to leave now does so without; the next look may tell.
            Err(error) if is_shortage(&error) => {
                return log::debug!(target: TARGET, "who else listens at {at} cannot be seen now: {error}");
            }
            Ok(Some(inode)) => {
                log::warn!(
                    target: TARGET,
                    "another program listens at {at}, too, and takes a share of the connections (`ss -ltnpe 'sport = :{}'` shows \
                     it: inode {inode}); {UNSTEERED}",
                    at.port()
                );
                self.found.push(address);
            }
            Err(error) => log::warn!(target: TARGET, "who else listens at {at} cannot be seen ({error}); {UNSTEERED}"),
        }
        self.choose(doors, address);
    }

    /// Attaches what the choice is now, if that has changed.
    fn choose(&mut self, doors: &Doors, address: usize) {
        let Some(group) = self.groups.get(&address).filter(|_| self.on) else { return };
        let order = group.order.as_ref().filter(|_| group.strangers != Strangers::Some && !self.away.0.is_empty());
        let candidates = |order: &Mirror<Member>| -> Option<Program> {
            Program::choosing(order.members().iter().map(|member| !self.away.has(member.slot)))
        };
        let program = order.and_then(candidates);
        if program != group.program {
            self.attach(doors, address, program);
        }
    }

    fn attach(&mut self, doors: &Doors, address: usize, program: Option<Program>) {
        let Some(group) = self.groups.get_mut(&address) else { return };
        let mut members = doors.iter().filter(|((_, place), door)| *place == address && listens(door));
        let Some((_, member)) = members.next() else { return };
        let done = match &program {
            Some(program) => steer::attach(member, &program.instructions()),
            None => steer::detach(member),
        };
        group.program = program;
        if let Err(error) = done {
            log::warn!(target: TARGET, "choosing the worker of a new connection: {error}; {UNSTEERED}");
            self.give_up(doors);
        }
    }

    /// The system refuses: nothing is steered any more.
    fn give_up(&mut self, doors: &Doors) {
        let groups = mem::take(&mut self.groups);
        self.end();
        for (address, _) in groups.into_iter().filter(|(_, group)| group.program.is_some()) {
            let mut members = doors.iter().filter(|((_, place), door)| *place == address && listens(door));
            // What refuses the one may refuse the other; a program that stays loses no connection.
            let _refused_too = members.next().map(|(_, member)| steer::detach(member));
        }
    }
}

impl Reasons {
    fn has(&self, slot: Slot) -> bool {
        [Away::Leaves, Away::Missed].into_iter().any(|why| self.0.contains(&(slot, why)))
    }
}

impl Group {
    fn new(at: SocketAddr) -> Self {
        Self { at, order: Some(Mirror::new()), program: None, strangers: Strangers::NotLooked }
    }

    /// Those in the mirror that do not listen any more.
    fn gone(&self, doors: &Doors, address: usize) -> Vec<Member> {
        let members = self.order.iter().flat_map(Mirror::members).copied();
        let left = |member: &Member| {
            let door = doors.get(&(member.slot, address)).filter(|door| !listens(door));
            // Of a slot's two, one of which is on its way in or out, the other.
            door.is_some_and(|door| inode(door).is_ok_and(|inode| inode == member.inode))
        };
        members.filter(left).collect()
    }

    fn change(&mut self, change: impl FnOnce(&mut Mirror<Member>) -> Result<(), OrderUnknown>) {
        let Some(order) = &mut self.order else { return };
        if change(order).is_err() {
            log::info!(target: TARGET, "workers have shut several sockets at {} by themselves; {UNSTEERED}", self.at);
            self.order = None;
        }
    }

    fn leave(&mut self, doors: &Doors, address: usize, gone: &[Member]) {
        self.change(|order| order.leave(gone));
        // With its last member the kernel's group is gone, and the program with it.
        if !doors.iter().any(|((_, place), door)| *place == address && listens(door)) {
            (self.order, self.program) = (Some(Mirror::new()), None);
        }
    }
}

fn inode(door: &Owned) -> io::Result<u64> {
    Ok(fstat(door)?.st_ino)
}

const UNSTEERED: &str =
    "new connections are not kept away from workers that leave, and clients that connect at that moment may be reset";

const TARGET: &str = "mio_cluster::steering";
