//! All addresses of one cluster.

use std::sync::Arc;

use super::Claim;
use crate::{config::Bind, error::Result, event::Address};

/// The claims, and what is known of them even after they were given back.
pub(crate) struct Ports {
    claims: Vec<Claim>,
    binds: Arc<[Bind]>,
    addresses: Vec<Address>,
}

impl Ports {
    /// Claims all or none.
    pub(crate) fn claim(wanted: &[Bind]) -> Result<Self> {
        let claims = wanted.iter().map(Claim::take).collect::<Result<Vec<Claim>>>()?;
        let binds = claims.iter().map(|claim| claim.bind().clone()).collect();
        let addresses = claims.iter().map(Claim::address).collect();
        Ok(Self { claims, binds, addresses })
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
        self.claims.first().map_or(0, Claim::owner)
    }

    /// The ports are free once the workers' sockets are closed, too.
    pub(crate) fn give_back(&mut self) {
        self.claims.clear();
    }
}
