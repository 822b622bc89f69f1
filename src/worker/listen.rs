//! From an address of the cluster to a listener.

use std::{os::fd::AsFd, sync::Arc};

use super::{
    Listener, UnixListener, Worker,
    listener::entry::{Entry, Prepared, Socket},
};
use crate::{
    config::Bind,
    error::{Error, Kind, Result},
    net::door,
    sys::owned::Owned,
};

impl Worker {
    /// Whether the address is one of the Unix domain.
    pub(crate) fn is_unix(&self, index: usize) -> bool {
        self.binds[index].at.is_unix()
    }

    /// `method`: the caller's name, and that of its sibling which takes a name; for the error.
    pub(super) fn only_address(&self, method: &str, named: &str) -> Result<usize> {
        match &*self.binds {
            [] => {
                let text = format!("{method}: the cluster has no address, add one by Cluster::listen");
                Err(Error::new(Kind::InvalidConfig, text))
            }
            [_only] => Ok(0),
            _several => {
                let names = self.names();
                let text = format!("{method}: the cluster has several addresses, choose one by {named}: {names}");
                Err(Error::new(Kind::InvalidConfig, text))
            }
        }
    }

    pub(super) fn address_called(&self, method: &str, name: &str) -> Result<usize> {
        self.binds.iter().position(|bind| &*bind.name == name).ok_or_else(|| {
            let text = format!("{method}({name:?}): the cluster has no address of that name, only: {}", self.names());
            Error::new(Kind::InvalidConfig, text)
        })
    }

    pub(super) fn listen_at(&mut self, index: usize) -> Result<Listener> {
        if self.is_unix(index) {
            return Err(self.other_kind(index, "a Unix socket: use unix() or unix_on()"));
        }
        self.entry(index).map(Listener)
    }

    pub(super) fn unix_at(&mut self, index: usize) -> Result<UnixListener> {
        if !self.is_unix(index) {
            return Err(self.other_kind(index, "no Unix socket: use listen() or listen_on()"));
        }
        self.entry(index).map(UnixListener)
    }

    fn entry<L: Socket>(&mut self, index: usize) -> Result<Entry<L>> {
        let number = u16::try_from(index).map_err(|_| Error::new(Kind::InvalidConfig, "more than 65536 addresses"))?;
        self.control.check_process()?;
        let prepared = Prepared::new(&self.control)?;
        let door = self.door(index)?;
        let bind = &self.binds[index];
        self.control.open(number, bind, &door)?;
        Entry::new(prepared, door.into_inner(), bind, Arc::clone(&self.control), number)
    }

    /// Of a shared socket the worker keeps its own copy, for the next listener there.
    fn door(&mut self, index: usize) -> Result<Owned> {
        let bind = &self.binds[index];
        let inherited = self.inherited.iter().position(|(address, _)| *address == index);
        match inherited {
            Some(place) if bind.shared => {
                let duplicate = self.inherited[place].1.as_fd().try_clone_to_owned();
                let step = |error| Error::system(format!("listening on {}: duplicating the socket", bind.at), error);
                duplicate.map(Owned::new).map_err(step)
            }
            Some(place) => Ok(self.inherited.swap_remove(place).1),
            None => door::bind(bind, self.owner),
        }
    }

    fn other_kind(&self, index: usize, what: &str) -> Error {
        let Bind { name, at, .. } = &self.binds[index];
        Error::new(Kind::InvalidConfig, format!("the address {name:?} ({at}) is {what}"))
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.binds.iter().map(|bind| format!("{:?}", bind.name)).collect();
        names.join(", ")
    }
}

/// A door beside a claim of this process.
pub(super) fn open(bind: &Bind, owner: u32) -> Result<Owned> {
    let door = door::bind(bind, owner)?;
    door::open(bind, &door)?;
    Ok(door)
}
