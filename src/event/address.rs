//! An address that the cluster serves, as it came to be.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use super::Endpoint;

/// An address that the cluster serves, with its real port. `Display` is `127.0.0.1:8000`, `unix:/run/app.sock`, or
/// `unix:@app` for an abstract name.
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
    at: Endpoint,
}

impl Address {
    pub(crate) fn new(name: Arc<str>, at: impl Into<Endpoint>) -> Self {
        Self { name, at: at.into() }
    }

    /// The name given by [`Listen::name`](crate::Listen::name), or the text that the address was given as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// IP address and port; the port is never 0. `None` for an address of the Unix domain.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.at {
            Endpoint::Ip(at) => Some(at),
            Endpoint::Path(_) | Endpoint::Abstract(_) => None,
        }
    }

    /// The file of a Unix-domain address, as it was given. `None` for an IP address and for an abstract name.
    ///
    /// ```
    /// use std::{os::unix::net::UnixStream, path::Path};
    /// use mio_cluster::{Cluster, Listen};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("mio-cluster-doc-path-{}", std::process::id()));
    /// let worker = Cluster::new().listen(Listen::unix(&path)).standalone()?;
    /// assert_eq!(worker.addresses()[0].path(), Some(&*path));
    /// assert_eq!(worker.addresses()[0].to_string(), format!("unix:{}", path.display()));
    /// UnixStream::connect(&path)?; // waits until the worker accepts
    /// drop(worker);
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn path(&self) -> Option<&Path> {
        match &self.at {
            Endpoint::Path(path) => Some(path),
            Endpoint::Ip(_) | Endpoint::Abstract(_) => None,
        }
    }

    /// The abstract name of a Unix-domain address, without the NUL byte in front. `None` for all others.
    ///
    /// ```
    /// use std::os::{linux::net::SocketAddrExt, unix::net::{SocketAddr, UnixStream}};
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let name = format!("mio-cluster-doc-{}", std::process::id());
    /// let worker = Cluster::new().listen(format!("unix:@{name}")).standalone()?;
    /// assert_eq!(worker.addresses()[0].abstract_name(), Some(name.as_bytes()));
    /// UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name)?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn abstract_name(&self) -> Option<&[u8]> {
        match &self.at {
            Endpoint::Abstract(name) => Some(name),
            Endpoint::Ip(_) | Endpoint::Path(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}
