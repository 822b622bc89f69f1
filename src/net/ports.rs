//! All addresses of one cluster, by place. A place is never given twice: what was said of an address that is gone
//! cannot be taken for one that came later.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::unistd::geteuid;

use super::{Claim, TARGET, shared::Shared};
use crate::{
    config::{Bind, Wanted},
    error::{Error, Result},
    event::Address,
    sys::owned::Owned,
};

/// The claims, and what is known of them even after they were given back.
pub(crate) struct Ports {
    places: Vec<Place>,
    /// Of those that are there; what workers are born with.
    binds: Arc<[Option<Bind>]>,
    addresses: Vec<Address>,
    owner: u32,
}

struct Place {
    bind: Bind,
    /// `None` once it was given back.
    held: Option<Held>,
    is_removed: bool,
}

/// What the master has of an address.
enum Held {
    /// Workers bind beside it.
    Own { _claim: Claim },
    /// Workers accept on it.
    Shared(Shared),
}

impl Ports {
    /// Claims all or none.
    pub(crate) fn claim(wanted: Vec<Wanted>) -> Result<Self> {
        let places = wanted.into_iter().map(Place::take).collect::<Result<Vec<Place>>>()?;
        let mut this = Self { places, binds: [].into(), addresses: Vec::new(), owner: geteuid().as_raw() };
        this.list();
        Ok(this)
    }

    /// One more; returns its place.
    pub(crate) fn add(&mut self, wanted: Wanted) -> Result<usize> {
        self.places.push(Place::take(wanted)?);
        self.list();
        Ok(self.places.len() - 1)
    }

    /// Gives the address back, along with the file of a Unix socket: nobody new comes to the master's own socket. What
    /// workers have of it they close themselves.
    pub(crate) fn remove(&mut self, place: usize) {
        self.refuse_at(place);
        self.places[place].is_removed = true;
        self.places[place].held = None;
        self.list();
    }

    /// By place, with the real ports.
    pub(crate) fn binds(&self) -> &Arc<[Option<Bind>]> {
        &self.binds
    }

    /// Where the next one will be.
    pub(crate) fn next_place(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn bind(&self, place: usize) -> Option<&Bind> {
        self.binds.get(place)?.as_ref()
    }

    pub(crate) fn place_called(&self, name: &str) -> Option<usize> {
        self.binds.iter().position(|bind| bind.as_ref().is_some_and(|bind| &*bind.name == name))
    }

    /// It was there once, and is there no more.
    pub(crate) fn is_removed(&self, place: usize) -> bool {
        self.places.get(place).is_some_and(|place| place.is_removed)
    }

    /// Those that are there.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Of a place that has ever been given.
    pub(crate) fn address_at(&self, place: usize) -> Address {
        self.places[place].bind.address()
    }

    /// The user whose sockets may bind beside the claims.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// The socket that all workers accept on, if there is one at this place.
    pub(crate) fn socket(&self, place: usize) -> Option<BorrowedFd<'_>> {
        self.shared_at(place)?.socket().map(AsFd::as_fd)
    }

    /// In the child: the sockets that all workers accept on, by place. All else is the master's.
    pub(crate) fn inheritance(&mut self) -> Vec<(usize, Owned)> {
        let mut sockets = Vec::new();
        for (number, place) in self.places.iter_mut().enumerate() {
            if let Some(Held::Shared(shared)) = &mut place.held {
                sockets.extend(shared.inherit().map(|socket| (number, socket)));
            }
        }
        sockets
    }

    /// The same for a worker of this process, as duplicates.
    pub(crate) fn duplicates(&self) -> Result<Vec<(usize, Owned)>> {
        let mut sockets = Vec::new();
        for place in 0..self.places.len() {
            let Some(shared) = self.shared_at(place) else { continue };
            let step = |error| Error::system(format!("duplicating the socket of {}", shared.bind().at), error);
            sockets.extend(shared.duplicate().map_err(step)?.map(|socket| (place, socket)));
        }
        Ok(sockets)
    }

    /// The cluster stops: whoever connects to a shared socket of its own from now on is refused.
    pub(crate) fn refuse(&self) {
        (0..self.places.len()).for_each(|place| self.refuse_at(place));
    }

    /// The ports are free once the workers' sockets are closed, too.
    pub(crate) fn give_back(&mut self) {
        self.places.iter_mut().for_each(|place| place.held = None);
    }

    fn refuse_at(&self, place: usize) {
        let Some(shared) = self.shared_at(place) else { return };
        match shared.refuse() {
            Ok(()) => {}
            // Refused before.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => log::error!(target: TARGET, "shutting the socket of {}: {error}", shared.bind().at),
        }
    }

    fn shared_at(&self, place: usize) -> Option<&Shared> {
        match &self.places.get(place)?.held {
            Some(Held::Shared(shared)) => Some(shared),
            Some(Held::Own { .. }) | None => None,
        }
    }

    fn list(&mut self) {
        let binds = self.places.iter().map(|place| (!place.is_removed).then(|| place.bind.clone()));
        self.binds = binds.collect();
        self.addresses = self.binds.iter().flatten().map(Bind::address).collect();
    }
}

impl Place {
    fn take(wanted: Wanted) -> Result<Self> {
        let (bind, held) = if wanted.bind.shared {
            let shared = Shared::take(wanted)?;
            (shared.bind().clone(), Held::Shared(shared))
        } else {
            let claim = Claim::take(&wanted.bind)?;
            (claim.bind().clone(), Held::Own { _claim: claim })
        };
        Ok(Self { bind, held: Some(held), is_removed: false })
    }
}
