//! The addresses as this worker knows them, and how it hears of changes.
//!
//! Whoever reads the channel, a listener on another thread for one, hears of a change; the [`Worker`] itself takes it
//! up when it is used next. A listener at an address that is gone knows at once: the link tells it.

use std::{
    os::fd::OwnedFd,
    sync::{Weak, atomic::Ordering},
    time::Instant,
};

use super::{Worker, control::Control, link::Link, listener::lookout::Borrower};
use crate::{
    config::Bind,
    event::{Address, WorkerEvent},
    sys::owned::Owned,
};

pub(super) struct Places {
    /// By place; `None`: removed.
    binds: Vec<Option<Bind>>,
    addresses: Vec<Address>,
}

/// What was heard and not yet taken up.
pub(super) enum Change {
    /// With the socket, if all workers share one.
    Added(u16, Bind, Option<Owned>),
    Removed(u16),
}

/// A place where this worker listens.
pub(super) struct Open {
    pub(super) address: u16,
    /// Gone once the program has taken its socket.
    pub(super) listener: Weak<dyn Borrower>,
}

impl Places {
    pub(super) fn new(binds: &[Option<Bind>]) -> Self {
        let mut this = Self { binds: binds.to_vec(), addresses: Vec::new() };
        this.list();
        this
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    pub(super) fn bind(&self, place: usize) -> Option<&Bind> {
        self.binds.get(place)?.as_ref()
    }

    /// Those that are there, with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Bind)> {
        self.binds.iter().enumerate().filter_map(|(place, bind)| Some((place, bind.as_ref()?)))
    }

    pub(super) fn called(&self, name: &str) -> Option<usize> {
        self.iter().find(|(_, bind)| &*bind.name == name).map(|(place, _)| place)
    }

    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.iter().map(|(_, bind)| format!("{:?}", bind.name)).collect();
        names.join(", ")
    }

    fn set(&mut self, place: usize, bind: Option<Bind>) {
        if self.binds.len() <= place {
            self.binds.resize(place + 1, None);
        }
        self.binds[place] = bind;
        self.list();
    }

    fn list(&mut self) {
        self.addresses = self.binds.iter().flatten().map(Bind::address).collect();
    }
}

impl Worker {
    /// Takes up what was heard of addresses. One relaxed load if that is nothing.
    pub(super) fn follow_changes(&mut self) {
        for change in self.control.take_changes() {
            match change {
                Change::Added(place, bind, socket) => {
                    self.inherited.extend(socket.map(|socket| (place.into(), socket)));
                    self.places.set(place.into(), Some(bind));
                }
                Change::Removed(place) => {
                    self.inherited.retain(|(inherited, _)| *inherited != usize::from(place));
                    self.places.set(place.into(), None);
                }
            }
        }
    }
}

impl Control {
    pub(super) fn hear_added(&self, link: &mut Link, address: u16, bind: Bind, fds: Vec<OwnedFd>) {
        let name = bind.name.to_string();
        let socket = fds.into_iter().next().map(Owned::new);
        link.changes.push(Change::Added(address, bind, socket));
        self.has_changes.store(true, Ordering::Relaxed);
        self.note(link, WorkerEvent::AddressAdded(name));
    }

    pub(super) fn hear_removed(&self, link: &mut Link, address: u16, name: String) {
        if let Some(listener) = link.listener(address) {
            listener.remove();
        }
        link.bare.remove(Instant::now(), address);
        link.changes.push(Change::Removed(address));
        self.has_changes.store(true, Ordering::Relaxed);
        self.note(link, WorkerEvent::AddressRemoved(name));
    }

    fn take_changes(&self) -> Vec<Change> {
        if !self.has_changes.load(Ordering::Relaxed) || self.check_process().is_err() {
            return Vec::new();
        }
        let mut link = self.link();
        self.has_changes.store(false, Ordering::Relaxed);
        std::mem::take(&mut link.changes)
    }
}
