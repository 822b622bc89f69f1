//! Addresses: from text to [`Bind`], and the check that they do not get into each other's way.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::event::Address;

/// An address to listen on, with its options.
///
/// Made from `"127.0.0.1:8000"`, `"[::]:8000"`, a [`SocketAddr`] or an `(IpAddr, u16)`. Names are not resolved. Port 0
/// lets the kernel choose; all workers get the same port. `[::]` takes IPv4 too, unless `v6_only(true)` or an address
/// of the cluster is the IPv4 wildcard at the same port.
///
/// **Errors**: a text that is no address, two addresses that overlap or have one name, `v6_only` on IPv4: all are
/// reported together by [`Cluster::run`](crate::Cluster::run) and [`Cluster::start`](crate::Cluster::start).
///
/// ```
/// use mio_cluster::{Cluster, Listen};
///
/// let cluster = Cluster::new()
///     .listen("127.0.0.1:0")
///     .listen(Listen::from("[::1]:0").name("admin").backlog(128));
/// ```
#[derive(Clone, Debug)]
pub struct Listen {
    /// As written; the default of the name.
    text: String,
    at: Option<SocketAddr>,
    name: Option<String>,
    backlog: u32,
    nodelay: bool,
    defer_accept: Duration,
    v6_only: bool,
}

impl Listen {
    fn new(text: String, at: Option<SocketAddr>) -> Self {
        Self { text, at, name: None, backlog: BACKLOG, nodelay: true, defer_accept: Duration::ZERO, v6_only: false }
    }

    /// The name for [`Worker::listen_on`](crate::Worker::listen_on); default: the text of the address as given.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// How many connections may wait to be accepted, per worker. The kernel takes at most `net.core.somaxconn`, which
    /// is also the default.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// TCP_NODELAY on accepted connections (they inherit it from the listener); default on.
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
        Self::new(text.to_owned(), text.parse().ok())
    }
}

impl From<String> for Listen {
    fn from(text: String) -> Self {
        let at = text.parse().ok();
        Self::new(text, at)
    }
}

impl From<&String> for Listen {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<SocketAddr> for Listen {
    fn from(at: SocketAddr) -> Self {
        Self::new(at.to_string(), Some(at))
    }
}

impl From<(IpAddr, u16)> for Listen {
    fn from(at: (IpAddr, u16)) -> Self {
        SocketAddr::from(at).into()
    }
}

/// A valid address of the cluster. After the claim `at` holds the real port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bind {
    pub(crate) name: Arc<str>,
    pub(crate) at: SocketAddr,
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    /// Seconds; 0: off.
    pub(crate) defer_accept: i32,
    pub(crate) v6_only: bool,
}

impl Bind {
    pub(crate) fn address(&self) -> Address {
        Address::new(Arc::clone(&self.name), self.at)
    }
}

/// Turns the builder's addresses into valid ones, or lists everything that is wrong with them.
pub(crate) fn resolve(addresses: &[Listen]) -> Result<Vec<Bind>, Vec<String>> {
    let mut problems = Vec::new();
    let mut binds: Vec<Bind> = Vec::new();
    for listen in addresses {
        match bind(listen, addresses) {
            Ok(bind) => {
                problems.extend(binds.iter().filter_map(|earlier| conflict(earlier, &bind)));
                binds.push(bind);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(binds) } else { Err(problems) }
}

fn bind(listen: &Listen, all: &[Listen]) -> Result<Bind, String> {
    let text = &listen.text;
    let Some(at) = listen.at else {
        return Err(format!(
            "{text:?} is not an address; names are not resolved, write IP:PORT such as 127.0.0.1:8000 or [::]:8000"
        ));
    };
    if listen.v6_only && at.ip().to_canonical().is_ipv4() {
        return Err(format!("{text:?} is an IPv4 address, v6_only cannot apply to it"));
    }
    let beside_v4 = all.iter().any(|other| other.at.is_some_and(|v4| is_v4_wildcard_beside(v4, at)));
    Ok(Bind {
        name: listen.name.as_deref().unwrap_or(text).into(),
        at,
        backlog: i32::try_from(listen.backlog).unwrap_or(i32::MAX),
        nodelay: listen.nodelay,
        defer_accept: whole_seconds(listen.defer_accept),
        v6_only: at.is_ipv6() && (listen.v6_only || beside_v4),
    })
}

/// The kernel takes no fractions.
fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs().saturating_add((time.subsec_nanos() > 0).into());
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

fn is_v4_wildcard_beside(v4: SocketAddr, v6: SocketAddr) -> bool {
    v4.is_ipv4() && v4.ip().is_unspecified() && v6.ip().is_unspecified() && v4.port() == v6.port() && v4.port() != 0
}

fn conflict(a: &Bind, b: &Bind) -> Option<String> {
    if a.at == b.at && a.at.port() != 0 {
        return Some(format!("the address {} is given twice", a.at));
    }
    if overlap(a, b) {
        return Some(format!("the addresses {} and {} overlap, drop one of them", a.at, b.at));
    }
    (a.name == b.name).then(|| format!("two addresses are called {:?}, give one of them another name", a.name))
}

/// Whether some connection could belong to both.
fn overlap(a: &Bind, b: &Bind) -> bool {
    if a.at.port() != b.at.port() || a.at.port() == 0 {
        return false;
    }
    match (canonical(a.at), canonical(b.at)) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => {
            a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
        }
        (SocketAddr::V6(a), SocketAddr::V6(b)) => {
            let same = a.ip() == b.ip() && a.scope_id() == b.scope_id();
            same || a.ip().is_unspecified() || b.ip().is_unspecified()
        }
        (SocketAddr::V6(v6), SocketAddr::V4(_)) => v6.ip().is_unspecified() && !a.v6_only,
        (SocketAddr::V4(_), SocketAddr::V6(v6)) => v6.ip().is_unspecified() && !b.v6_only,
    }
}

/// `[::ffff:1.2.3.4]` takes the connections of `1.2.3.4`.
fn canonical(at: SocketAddr) -> SocketAddr {
    if at.ip().to_canonical().is_ipv4() { SocketAddr::new(at.ip().to_canonical(), at.port()) } else { at }
}

/// More than any `net.core.somaxconn`, so the kernel's limit holds; a short queue turns a burst into retries of one
/// second.
const BACKLOG: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(addresses: &[&str]) -> Vec<String> {
        let listens: Vec<Listen> = addresses.iter().map(|&text| text.into()).collect();
        resolve(&listens).err().unwrap_or_default()
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let found = problems(&["localhost:80", "1.2.3.4:80", "0.0.0.0:80", "8000", "1.2.3.4:80"]);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].contains("localhost:80") && found[0].contains("not resolved"));
        assert!(found[1].contains("1.2.3.4:80") && found[1].contains("0.0.0.0:80"));
    }

    #[test]
    fn a_dual_stack_wildcard_overlaps_ipv4_unless_it_is_v6_only() {
        assert_eq!(problems(&["127.0.0.1:80", "[::]:80"]).len(), 1);
        assert_eq!(problems(&["[::]:80", "127.0.0.1:80"]).len(), 1);
        assert_eq!(problems(&["[::ffff:127.0.0.1]:80", "127.0.0.1:80"]).len(), 1, "the same address in IPv6's clothes");
        let v6_only = Listen::from("[::]:80").v6_only(true);
        assert!(resolve(&[v6_only, "127.0.0.1:80".into()]).is_ok());
        let beside = resolve(&["[::]:80".into(), "0.0.0.0:80".into()]).unwrap();
        assert!(beside[0].v6_only, "beside the IPv4 wildcard [::] is v6-only");
    }

    #[test]
    fn deferral_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (u64::MAX, i32::MAX)] {
            let listen = Listen::from("1.2.3.4:1").defer_accept(Duration::from_millis(millis));
            assert_eq!(resolve(&[listen]).unwrap()[0].defer_accept, seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn port_zero_overlaps_nothing_but_names_must_differ() {
        assert!(problems(&["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"]).is_empty());
        assert!(problems(&["127.0.0.1:0", "127.0.0.1:0"])[0].contains("another name"));
        assert!(resolve(&[Listen::from("1.2.3.4:1").v6_only(true)]).is_err());
    }
}
