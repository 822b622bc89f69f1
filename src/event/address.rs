//! An address that the cluster serves, as it came to be.

use std::{fmt, net::SocketAddr, sync::Arc};

/// An address that the cluster serves, with its real port. `Display` is `127.0.0.1:8000`.
///
/// ```no_run
/// use mio_cluster::{Cluster, Listen};
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// let cluster = Cluster::new().listen(Listen::from("127.0.0.1:0").name("http"));
/// let master = cluster.start(|mut worker| worker.listen().map(drop))?;
/// let http = &master.addresses()[0];
/// assert_eq!(http.name(), "http");
/// assert_ne!(http.socket_addr().unwrap().port(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    name: Arc<str>,
    at: SocketAddr,
}

impl Address {
    pub(crate) fn new(name: Arc<str>, at: SocketAddr) -> Self {
        Self { name, at }
    }

    /// The name given by [`Listen::name`](crate::Listen::name), or the text that the address was given as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// IP address and port; the port is never 0. `None` is kept for addresses that are no IP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(self.at)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}
