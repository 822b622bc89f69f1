//! All addresses of one cluster.

use std::{io, sync::Arc};

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
    claims: Vec<Held>,
    binds: Arc<[Bind]>,
    addresses: Vec<Address>,
    owner: u32,
}

/// What the master has of an address.
enum Held {
    /// Workers bind beside it.
    Own(Claim),
    /// Workers accept on it.
    Shared(Shared),
}

impl Ports {
    /// Claims all or none.
    pub(crate) fn claim(wanted: Vec<Wanted>) -> Result<Self> {
        let claims = wanted.into_iter().map(Held::take).collect::<Result<Vec<Held>>>()?;
        let binds: Arc<[Bind]> = claims.iter().map(|claim| claim.bind().clone()).collect();
        let addresses = binds.iter().map(Bind::address).collect();
        Ok(Self { claims, binds, addresses, owner: geteuid().as_raw() })
    }

    /// With the real ports.
    pub(crate) fn binds(&self) -> &Arc<[Bind]> {
        &self.binds
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The user whose sockets may bind beside the claims.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// In the child: the sockets that all workers accept on, by address. All else is the master's.
    pub(crate) fn inheritance(&mut self) -> Vec<(usize, Owned)> {
        let sockets = self.claims.iter_mut().enumerate();
        sockets.filter_map(|(address, claim)| Some((address, claim.shared_mut()?.inherit()?))).collect()
    }

    /// The same for a worker of this process, as duplicates.
    pub(crate) fn duplicates(&self) -> Result<Vec<(usize, Owned)>> {
        let mut sockets = Vec::new();
        for (address, shared) in self.shared() {
            let step = |error| Error::system(format!("duplicating the socket of {}", shared.bind().at), error);
            sockets.extend(shared.duplicate().map_err(step)?.map(|socket| (address, socket)));
        }
        Ok(sockets)
    }

    /// The cluster stops: whoever connects to a shared socket of its own from now on is refused.
    pub(crate) fn refuse(&self) {
        for (_, shared) in self.shared() {
            match shared.refuse() {
                Ok(()) => {}
                // Refused before.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => log::error!(target: TARGET, "shutting the socket of {}: {error}", shared.bind().at),
            }
        }
    }

    /// The ports are free once the workers' sockets are closed, too.
    pub(crate) fn give_back(&mut self) {
        self.claims.clear();
    }

    fn shared(&self) -> impl Iterator<Item = (usize, &Shared)> {
        self.claims.iter().enumerate().filter_map(|(address, claim)| Some((address, claim.shared()?)))
    }
}

impl Held {
    fn take(wanted: Wanted) -> Result<Self> {
        if wanted.bind.shared {
            Shared::take(wanted).map(Self::Shared)
        } else {
            Claim::take(&wanted.bind).map(Self::Own)
        }
    }

    fn bind(&self) -> &Bind {
        match self {
            Self::Own(claim) => claim.bind(),
            Self::Shared(shared) => shared.bind(),
        }
    }

    fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(shared),
        }
    }

    fn shared_mut(&mut self) -> Option<&mut Shared> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(shared),
        }
    }
}
