//! Where connections come in: an IP address with its port, or a name of the Unix domain.

use std::{
    ffi::OsStr,
    fmt,
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// `Display` is what users write: `127.0.0.1:8000`, `unix:/run/app.sock`, `unix:@app`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Endpoint {
    Ip(SocketAddr),
    /// A file of the file system.
    Path(Arc<Path>),
    /// A name of the network namespace, without the NUL byte in front.
    Abstract(Arc<[u8]>),
}

impl Endpoint {
    /// As bind(2) has it: a NUL byte in front makes an abstract name.
    pub(crate) fn unix(name: &[u8]) -> Self {
        match name.split_first() {
            Some((0, name)) => Self::Abstract(name.into()),
            Some(_) | None => Self::Path(PathBuf::from(OsStr::from_bytes(name)).into()),
        }
    }

    /// The reverse of `unix`; nothing for an IP address.
    pub(crate) fn unix_name(&self) -> Vec<u8> {
        match self {
            Self::Ip(_) => Vec::new(),
            Self::Path(path) => path.as_os_str().as_bytes().to_vec(),
            Self::Abstract(name) => [&[0], &name[..]].concat(),
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        match self {
            Self::Ip(_) => false,
            Self::Path(_) | Self::Abstract(_) => true,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(at) => at.fmt(f),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(at: SocketAddr) -> Self {
        Self::Ip(at)
    }
}
