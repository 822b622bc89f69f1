//! Addresses as the program gives them.

use std::{
    net::{IpAddr, SocketAddr},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use crate::event::Endpoint;

/// An address to listen on, with its options.
///
/// | made from | is |
/// |---|---|
/// | `"127.0.0.1:8000"`, `"[::]:8000"`, a [`SocketAddr`], an `(IpAddr, u16)` | a port, at which each worker has a socket of its own |
/// | `"unix:/run/app.sock"`, [`Listen::unix`] | a Unix-domain stream socket, which all workers share |
/// | `"unix:@app"` | the same at an abstract name, which needs no file |
/// | [`Listen::fd`] | a socket that is there already, which all workers share |
///
/// Names are not resolved. Port 0 lets the kernel choose; all workers get the same port. `[::]` takes IPv4 too, unless
/// `v6_only(true)` or an address of the cluster is the IPv4 wildcard at the same port.
///
/// **A shared socket** is bound and opened by the master before the first worker is forked, so clients connect and wait
/// from then on. No worker's end closes it: whoever waits is served by another worker, or by the next one, also if that
/// comes late. Workers of any user can accept on it. When the cluster stops, the socket of a `unix` address refuses
/// later clients at once, and those that wait are served.
///
/// **Errors**: a text that is no address, two addresses that overlap or have one name, an option that cannot apply to
/// the address, a path too long for the kernel, a descriptor that is no stream socket or not bound: all are reported
/// together by [`Cluster::run`](crate::Cluster::run) and [`Cluster::start`](crate::Cluster::start).
///
/// ```
/// use mio_cluster::{Cluster, Listen};
///
/// let cluster = Cluster::new()
///     .listen("127.0.0.1:0")
///     .listen(Listen::from("[::1]:0").name("admin").backlog(128))
///     .listen(Listen::unix("/run/app.sock").mode(0o660));
/// ```
#[derive(Clone, Debug)]
pub struct Listen {
    /// As written; the default of the name. Empty for a descriptor, whose address is not known yet.
    pub(super) text: String,
    pub(super) at: At,
    pub(super) name: Option<String>,
    pub(super) backlog: u32,
    pub(super) nodelay: bool,
    pub(super) defer_accept: Duration,
    pub(super) v6_only: bool,
    pub(super) mode: Option<u32>,
}

/// Where, as far as the text says it.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// It is no address.
    Unknown,
    Ip(SocketAddr),
    Unix(Endpoint),
    /// Shared by clones of the value.
    Given(Arc<OwnedFd>),
}

impl Listen {
    fn new(text: String, at: At) -> Self {
        Self {
            text,
            at,
            name: None,
            backlog: BACKLOG,
            nodelay: true,
            defer_accept: Duration::ZERO,
            v6_only: false,
            mode: None,
        }
    }

    /// As it was given: port 0 is 0.
    pub(super) fn ip(&self) -> Option<SocketAddr> {
        match self.at {
            At::Ip(at) => Some(at),
            At::Unknown | At::Unix(_) | At::Given(_) => None,
        }
    }

    /// A Unix-domain stream socket, which the master binds and all workers accept on: by
    /// [`Worker::unix`](crate::Worker::unix), or in the managed loop ([`Worker::serve`](crate::Worker::serve)). A path
    /// with a NUL byte in front is an abstract name.
    ///
    /// **The file**: of several programs that start at once on one path exactly one gets it; the others are told that
    /// the address is in use ([`is_address_in_use`](crate::Error::is_address_in_use)), as they are while somebody
    /// listens there. A file that is left of a program that was killed is replaced. What is no socket is never touched:
    /// the start fails and says what it is. When the cluster has ended, its file is removed, unless another one has
    /// taken its place meanwhile.
    ///
    /// Programs that agree on this hold a lock (flock(2)) of the directory while they look and bind. The directory must
    /// exist and be writable and readable; give it to the service alone where others must not replace the socket. It
    /// stays open, so a relative path survives a change of the working directory.
    ///
    /// **Who may connect** is decided by [`mode`](Self::mode) and by the rights of the directory; abstract names have
    /// neither, everybody in the network namespace may connect to them.
    ///
    /// **Errors**, of `run` and `start`: the path is longer than 107 bytes, which is all that the kernel takes; it ends
    /// with a slash or holds a NUL byte further on; the directory is missing or forbidden; somebody listens there.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    /// use mio_cluster::{Cluster, Io, Listen, Service};
    ///
    /// struct Echo;
    ///
    /// impl Service for Echo {
    ///     type Conn = ();
    ///
    ///     fn opened(&mut self, _io: &mut Io<'_>) {}
    ///
    ///     fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
    ///         io.write(input);
    ///         input.len()
    ///     }
    /// }
    ///
    /// fn main() -> ExitCode {
    ///     Cluster::new().listen(Listen::unix("/run/echo.sock").mode(0o660)).main(|worker| worker.serve(Echo))
    /// }
    /// ```
    pub fn unix(path: impl AsRef<Path>) -> Self {
        let at = Endpoint::unix(path.as_ref().as_os_str().as_bytes());
        Self::new(at.to_string(), At::Unix(at))
    }

    /// A socket that is open already: of the service manager (systemd's `LISTEN_FDS`, inetd), of a test, of a parent.
    /// It is a TCP or Unix-domain stream socket, listening or at least bound; all workers accept on it. Which of the
    /// two it is decides between [`Worker::listen`](crate::Worker::listen) and [`Worker::unix`](crate::Worker::unix);
    /// [`Worker::serve`](crate::Worker::serve) takes both. Its name, unless given, is the text of its address.
    ///
    /// It may be open elsewhere, too, and is never shut and its file never removed: as service managers demand, clients
    /// that come while this cluster stops wait for its next start. It becomes non-blocking, for all who have it; the
    /// other options of the address but `v6_only` and `mode` are set on it, `backlog` only if it does not listen yet.
    ///
    /// The descriptor is closed in the master when the cluster has ended. A clone of this value keeps it open, in the
    /// workers as well.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use mio_cluster::{Cluster, Listen};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let socket = TcpListener::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let mut worker = Cluster::new().listen(Listen::fd(socket).name("http")).standalone()?;
    /// let listener = worker.listen_on("http")?;
    /// let _client = TcpStream::connect(address)?;
    /// let (_connection, _peer) = listener.accept()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fd(socket: impl Into<OwnedFd>) -> Self {
        let socket = socket.into();
        let text = format!("descriptor {}", socket.as_raw_fd());
        Self::new(text, At::Given(Arc::new(socket)))
    }

    /// The name for [`Worker::listen_on`](crate::Worker::listen_on) and [`Worker::unix_on`](crate::Worker::unix_on);
    /// default: the text of the address as given.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// How many connections may wait to be accepted, per worker; of a shared socket, for all workers together. The
    /// kernel takes at most `net.core.somaxconn`, which is also the default.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// The permission bits of a Unix socket's file, such as `0o660`; who may connect needs the right to write. The file
    /// has exactly these, whatever the umask is, and is never wider for a moment. Default: 0o777 without the bits of
    /// the umask. Its owner and group are those of the master.
    ///
    /// **Errors**, of `run` and `start`: the address is no path; bits beyond 0o777.
    pub fn mode(mut self, bits: u32) -> Self {
        self.mode = Some(bits);
        self
    }

    /// TCP_NODELAY on accepted connections (they inherit it from the listener); default on. Unix sockets have no such
    /// thing.
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// TCP_DEFER_ACCEPT: a connection is accepted when its first bytes are there, or when this time has passed. Default
    /// off, which is also [`Duration::ZERO`]. The kernel rounds up to 1, 3, 7, 15, 31, 63 … seconds.
    ///
    /// A worker saves a turn of its loop per connection: the first read finds a request. It is for protocols in which
    /// the client speaks first; where it waits for the server, it waits for as long as this time. Measured: a third
    /// less CPU time per connection of one request (`scripts/bench/run --only new-connection`).
    ///
    /// The price: until it has sent something, a client believes to be connected, and for the server it is an
    /// unfinished handshake. No worker sees or counts it, and no limit or timeout of the program applies to it. If the
    /// socket is shut, it is not counted among those that were reset, and learns of it when it sends.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mio_cluster::Listen;
    ///
    /// let http = Listen::from("127.0.0.1:0").defer_accept(Duration::from_secs(3));
    /// ```
    pub fn defer_accept(mut self, time: Duration) -> Self {
        self.defer_accept = time;
        self
    }

    /// IPV6_V6ONLY: an IPv6 address that takes no IPv4; default off.
    pub fn v6_only(mut self, on: bool) -> Self {
        self.v6_only = on;
        self
    }
}

impl From<&str> for Listen {
    fn from(text: &str) -> Self {
        let at = match text.strip_prefix("unix:") {
            Some(name) => At::Unix(match name.strip_prefix('@') {
                Some(name) => Endpoint::Abstract(name.as_bytes().into()),
                None => Endpoint::Path(Path::new(name).into()),
            }),
            None => text.parse().map_or(At::Unknown, At::Ip),
        };
        Self::new(text.to_owned(), at)
    }
}

impl From<String> for Listen {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Listen {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<SocketAddr> for Listen {
    fn from(at: SocketAddr) -> Self {
        Self::new(at.to_string(), At::Ip(at))
    }
}

impl From<(IpAddr, u16)> for Listen {
    fn from(at: (IpAddr, u16)) -> Self {
        SocketAddr::from(at).into()
    }
}

/// More than any `net.core.somaxconn`, so the kernel's limit holds; a short queue turns a burst into retries of one
/// second.
const BACKLOG: u32 = i32::MAX as u32;
