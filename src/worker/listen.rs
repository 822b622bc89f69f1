//! From an address of the cluster to a listener.

use std::{
    os::fd::AsFd,
    sync::{Arc, Weak},
};

use super::{
    Listener, UnixListener, Worker,
    listener::{
        entry::{Entry, Socket},
        lookout::Lookout,
    },
};
use crate::{
    config::Bind,
    error::{Error, Kind, Result},
    net::door,
    sys::owned::Owned,
};

impl Worker {
    /// Of all addresses, with their places.
    pub(crate) fn names(&self) -> Vec<(u16, String)> {
        let names = self.places.iter().map(|(place, bind)| Some((u16::try_from(place).ok()?, bind.name.to_string())));
        names.flatten().collect()
    }

    /// As far as was heard by now.
    pub(crate) fn has_address(&mut self, place: u16) -> bool {
        self.follow_changes();
        self.places.bind(place.into()).is_some()
    }

    /// Whether the address is one of the Unix domain.
    pub(crate) fn is_unix(&self, place: usize) -> bool {
        self.places.bind(place).is_some_and(|bind| bind.at.is_unix())
    }

    /// `method`: the caller's name, and that of its sibling which takes a name; for the error.
    pub(super) fn only_address(&self, method: &str, named: &str) -> Result<usize> {
        let mut places = self.places.iter().map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                let text = format!("{method}: the cluster has no address, add one by Cluster::listen");
                Err(Error::new(Kind::InvalidConfig, text))
            }
            (Some(_), Some(_)) => {
                let names = self.places.names();
                let text = format!("{method}: the cluster has several addresses, choose one by {named}: {names}");
                Err(Error::new(Kind::InvalidConfig, text))
            }
        }
    }

    pub(super) fn address_called(&self, method: &str, name: &str) -> Result<usize> {
        self.places.called(name).ok_or_else(|| {
            let names = self.places.names();
            let text = format!("{method}({name:?}): the cluster has no address of that name, only: {names}");
            Error::new(Kind::InvalidConfig, text)
        })
    }

    pub(super) fn listen_at(&mut self, place: usize) -> Result<Listener> {
        if self.is_unix(place) {
            return Err(self.other_kind(place, "a Unix socket: use unix() or unix_on()"));
        }
        self.entry(place).map(Listener)
    }

    pub(super) fn unix_at(&mut self, place: usize) -> Result<UnixListener> {
        if !self.is_unix(place) {
            return Err(self.other_kind(place, "no Unix socket: use listen() or listen_on()"));
        }
        self.entry(place).map(UnixListener)
    }

    fn entry<L: Socket>(&mut self, place: usize) -> Result<Entry<L>> {
        let number = u16::try_from(place).map_err(|_| Error::new(Kind::InvalidConfig, "more than 65536 addresses"))?;
        self.control.check_process()?;
        let Some(bind) = self.places.bind(place).cloned() else {
            return Err(Error::new(Kind::InvalidConfig, "the address was removed"));
        };
        let lookout = Arc::new(Lookout::new(&self.control, !bind.shared)?);
        let door = self.door(place, &bind)?;
        let listener: Weak<Lookout<L>> = Arc::downgrade(&lookout);
        let door = self.control.open(number, &bind, door, listener)?;
        Entry::new(lookout, door.into_inner(), &bind, Arc::clone(&self.control), number)
    }

    /// Of a shared socket the worker keeps its own copy, for the next listener there.
    fn door(&mut self, place: usize, bind: &Bind) -> Result<Owned> {
        let inherited = self.inherited.iter().position(|(inherited, _)| *inherited == place);
        match inherited {
            Some(index) if bind.shared => {
                let duplicate = self.inherited[index].1.as_fd().try_clone_to_owned();
                let step = |error| Error::system(format!("listening on {}: duplicating the socket", bind.at), error);
                duplicate.map(Owned::new).map_err(step)
            }
            Some(index) => Ok(self.inherited.swap_remove(index).1),
            None if bind.shared => {
                let text = format!(
                    "listening on {}: this worker had no descriptor left for the socket when the address was added (`ulimit -n`)",
                    bind.at
                );
                Err(Error::new(Kind::System, text))
            }
            None => door::bind(bind, self.owner),
        }
    }

    fn other_kind(&self, place: usize, what: &str) -> Error {
        let at = self.places.bind(place).map_or(String::new(), |bind| format!("{:?} ({}) ", bind.name, bind.at));
        Error::new(Kind::InvalidConfig, format!("the address {at}is {what}"))
    }
}

/// A door beside a claim of this process.
pub(super) fn open(bind: &Bind, owner: u32) -> Result<Owned> {
    let door = door::bind(bind, owner)?;
    door::open(bind, &door)?;
    Ok(door)
}
