//! From addresses as they are given to valid ones, and the check that they do not get into each other's way.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use super::{
    given,
    listen::{At, Listen},
    unix,
};
use crate::event::{Address, Endpoint};

/// A valid address of the cluster. After the claim `at` holds the real port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bind {
    pub(crate) name: Arc<str>,
    pub(crate) at: Endpoint,
    /// One socket for all workers, which the master holds; else each binds its own.
    pub(crate) shared: bool,
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    /// Seconds; 0: off.
    pub(crate) defer_accept: i32,
    pub(crate) v6_only: bool,
    /// Of the file of a Unix socket; `None`: what the umask leaves.
    pub(crate) mode: Option<u32>,
}

/// An address that is not claimed yet.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) bind: Bind,
    /// The socket, if there is one already.
    pub(crate) given: Option<OwnedFd>,
}

impl Bind {
    pub(crate) fn address(&self) -> Address {
        Address::new(Arc::clone(&self.name), self.at.clone())
    }

    pub(crate) fn ip(&self) -> Option<SocketAddr> {
        match self.at {
            Endpoint::Ip(at) => Some(at),
            Endpoint::Path(_) | Endpoint::Abstract(_) => None,
        }
    }
}

/// Turns the builder's addresses into valid ones, or lists everything that is wrong with them.
pub(crate) fn resolve(addresses: Vec<Listen>) -> Result<Vec<Wanted>, Vec<String>> {
    let mut problems = Vec::new();
    let mut binds: Vec<Bind> = Vec::new();
    for listen in &addresses {
        match bind(listen, |at| is_beside_v4(at, addresses.iter().filter_map(Listen::ip))) {
            Ok(bind) => {
                problems.extend(binds.iter().filter_map(|earlier| conflict(earlier, &bind)));
                binds.push(bind);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let wanted = binds.into_iter().zip(addresses).map(|(bind, listen)| Ok(Wanted { bind, given: given(listen)? }));
    wanted.collect::<Result<_, String>>().map_err(|problem| vec![problem])
}

/// One address more, beside those that are there.
///
/// **Errors**: what is wrong with it, or which of the others is in its way.
pub(crate) fn resolve_beside<'a>(
    listen: Listen,
    others: impl Iterator<Item = &'a Bind> + Clone,
) -> Result<Wanted, String> {
    let bind = bind(&listen, |at| is_beside_v4(at, others.clone().filter_map(Bind::ip)))?;
    match others.clone().find_map(|other| conflict(other, &bind)) {
        Some(problem) => Err(problem),
        None => Ok(Wanted { bind, given: given(listen)? }),
    }
}

/// `beside_v4`: whether such an IPv6 address has to leave IPv4 to another one.
fn bind(listen: &Listen, beside_v4: impl Fn(SocketAddr) -> bool) -> Result<Bind, String> {
    let text = &listen.text;
    let (at, v6_only) = match &listen.at {
        At::Unknown => {
            return Err(format!(
                "{text:?} is not an address; names are not resolved, write IP:PORT such as 127.0.0.1:8000 or [::]:8000, or \
                 unix:PATH"
            ));
        }
        At::Ip(at) => (Endpoint::Ip(*at), at.is_ipv6() && (listen.v6_only || beside_v4(*at))),
        At::Unix(name) => {
            unix::check(name)?;
            (name.clone(), false)
        }
        At::Given(socket) => given::address(socket.as_fd()).map_err(|problem| format!("{text} {problem}"))?,
    };
    applies(listen, &at)?;
    let name: Arc<str> = match (&listen.name, &listen.at) {
        (Some(name), _) if name.len() > NAME_MAX => {
            return Err(format!("the name of {text:?} is {} bytes long, {NAME_MAX} are enough", name.len()));
        }
        (Some(name), _) => name.as_str().into(),
        (None, At::Given(_)) => at.to_string().into(),
        (None, At::Unknown | At::Ip(_) | At::Unix(_)) => text.as_str().into(),
    };
    Ok(Bind {
        name,
        shared: !matches!(listen.at, At::Ip(_)),
        at,
        backlog: i32::try_from(listen.backlog).unwrap_or(i32::MAX),
        nodelay: listen.nodelay,
        defer_accept: whole_seconds(listen.defer_accept),
        v6_only,
        mode: listen.mode,
    })
}

/// Whether its options are those of such an address.
fn applies(listen: &Listen, at: &Endpoint) -> Result<(), String> {
    let text = &listen.text;
    let is_given = matches!(listen.at, At::Given(_));
    match at {
        Endpoint::Ip(at) if listen.v6_only && at.ip().to_canonical().is_ipv4() => {
            return Err(format!("{text:?} is an IPv4 address, v6_only cannot apply to it"));
        }
        Endpoint::Path(_) | Endpoint::Abstract(_) if listen.v6_only => {
            return Err(format!("{text:?} is a Unix socket, v6_only cannot apply to it"));
        }
        Endpoint::Path(_) | Endpoint::Abstract(_) if !listen.defer_accept.is_zero() => {
            return Err(format!("{text:?} is a Unix socket, defer_accept is TCP's and cannot apply to it"));
        }
        Endpoint::Ip(_) | Endpoint::Path(_) | Endpoint::Abstract(_) => {}
    }
    if listen.v6_only && is_given {
        return Err(format!("{text} is bound already, v6_only cannot apply to it"));
    }
    match listen.mode {
        Some(bits) if bits > 0o777 => Err(format!("mode(0o{bits:o}) of {text:?}: permission bits are 0 to 0o777")),
        Some(_) if is_given => {
            Err(format!("{text} is bound already, mode cannot apply to it: give its file the rights"))
        }
        Some(_) if !matches!(at, Endpoint::Path(_)) => Err(format!("{text:?} is no file, mode cannot apply to it")),
        Some(_) | None => Ok(()),
    }
}

/// Takes the socket out of the value; of one that has clones, a duplicate.
fn given(listen: Listen) -> Result<Option<OwnedFd>, String> {
    match listen.at {
        At::Unknown | At::Ip(_) | At::Unix(_) => Ok(None),
        At::Given(socket) => match Arc::try_unwrap(socket) {
            Ok(socket) => Ok(Some(socket)),
            Err(shared) => {
                let duplicate = shared.try_clone();
                Ok(Some(duplicate.map_err(|error| format!("{} cannot be duplicated: {error}", listen.text))?))
            }
        },
    }
}

/// The kernel takes no fractions.
fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs().saturating_add((time.subsec_nanos() > 0).into());
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// An address of the cluster is the IPv4 wildcard at the same port.
fn is_beside_v4(v6: SocketAddr, all: impl IntoIterator<Item = SocketAddr>) -> bool {
    all.into_iter().any(|v4| {
        let wildcards = v4.is_ipv4() && v4.ip().is_unspecified() && v6.ip().is_unspecified();
        wildcards && v4.port() == v6.port() && v4.port() != 0
    })
}

/// Why the two cannot be in one cluster.
fn conflict(a: &Bind, b: &Bind) -> Option<String> {
    if a.at == b.at && a.ip().is_none_or(|at| at.port() != 0) {
        return Some(format!("the address {} is given twice", a.at));
    }
    if overlap(a, b) {
        return Some(format!("the addresses {} and {} overlap, drop one of them", a.at, b.at));
    }
    (a.name == b.name).then(|| format!("two addresses are called {:?}, give one of them another name", a.name))
}

/// Whether some connection could belong to both.
fn overlap(a: &Bind, b: &Bind) -> bool {
    let (Some(at_a), Some(at_b)) = (a.ip(), b.ip()) else { return false };
    if at_a.port() != at_b.port() || at_a.port() == 0 {
        return false;
    }
    match (canonical(at_a), canonical(at_b)) {
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

/// Bytes: what is said of an address fits into one packet of the channel.
const NAME_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn resolved(listens: impl IntoIterator<Item = Listen>) -> Result<Vec<Bind>, Vec<String>> {
        Ok(resolve(listens.into_iter().collect())?.into_iter().map(|wanted| wanted.bind).collect())
    }

    fn problems(addresses: &[&str]) -> Vec<String> {
        resolved(addresses.iter().map(|&text| text.into())).err().unwrap_or_default()
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
        assert!(resolved([v6_only, "127.0.0.1:80".into()]).is_ok());
        let beside = resolved(["[::]:80".into(), "0.0.0.0:80".into()]).unwrap();
        assert!(beside[0].v6_only, "beside the IPv4 wildcard [::] is v6-only");
    }

    #[test]
    fn deferral_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (u64::MAX, i32::MAX)] {
            let listen = Listen::from("1.2.3.4:1").defer_accept(Duration::from_millis(millis));
            assert_eq!(resolved([listen]).unwrap()[0].defer_accept, seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn port_zero_overlaps_nothing_but_names_must_differ() {
        assert!(problems(&["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"]).is_empty());
        assert!(problems(&["127.0.0.1:0", "127.0.0.1:0"])[0].contains("another name"));
        assert!(resolved([Listen::from("1.2.3.4:1").v6_only(true)]).is_err());
    }

    #[test]
    fn an_option_of_another_kind_of_address_is_refused() {
        let problem = |listen: Listen| resolved([listen]).unwrap_err().remove(0);
        assert!(problem(Listen::unix("/run/a").v6_only(true)).contains("\"unix:/run/a\" is a Unix socket, v6_only"));
        let deferred = Listen::unix("/run/a").defer_accept(Duration::from_secs(1));
        assert!(problem(deferred).contains("defer_accept is TCP's"));
        assert!(problem(Listen::from("1.2.3.4:1").mode(0o600)).contains("is no file, mode cannot apply"));
        assert!(problem(Listen::from("unix:@a").mode(0o600)).contains("is no file, mode cannot apply"));
        assert!(problem(Listen::unix("/run/a").mode(0o1777)).contains("mode(0o1777)"));
        let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(problem(Listen::fd(socket()).v6_only(true)).contains("v6_only cannot apply"));
        assert!(problem(Listen::fd(socket()).mode(0o600)).contains("give its file the rights"));
    }

    #[test]
    fn unix_addresses_and_descriptors_meet_others_by_address_and_name() {
        assert!(problems(&["unix:/run/a", "unix:/run/a"])[0].contains("unix:/run/a is given twice"));
        assert!(problems(&["unix:/run/a", "unix:@/run/a", "unix:/run/b", "127.0.0.1:80"]).is_empty());
        let named = [Listen::unix("/run/a").name("x"), Listen::from("1.2.3.4:5").name("x")];
        assert!(resolved(named).unwrap_err()[0].contains("two addresses are called \"x\""));
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let twice = [Listen::fd(socket), Listen::from(at)];
        assert!(resolved(twice).unwrap_err()[0].contains(&format!("{at} is given twice")));
    }

    #[test]
    fn an_address_that_comes_later_keeps_the_same_rules() {
        let there =
            resolved(["0.0.0.0:80".into(), Listen::from("127.0.0.1:0").name("x"), "unix:/run/a".into()]).unwrap();
        let beside = |listen: Listen| resolve_beside(listen, there.iter()).map(|wanted| wanted.bind);
        assert!(beside("[::]:80".into()).unwrap().v6_only);
        assert!(beside("1.2.3.4:80".into()).unwrap_err().contains("overlap"));
        assert!(beside(Listen::from("1.2.3.4:81").name("x")).unwrap_err().contains("two addresses are called"));
        assert!(beside("unix:/run/a".into()).unwrap_err().contains("is given twice"));
        assert!(beside("nonsense".into()).unwrap_err().contains("is not an address"));
        assert!(beside(Listen::from("1.2.3.4:81").name(&"x".repeat(1025))).unwrap_err().contains("1025 bytes"));
    }

    #[test]
    fn a_descriptor_has_the_address_of_its_socket() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let listen = Listen::fd(socket);
        let clone = listen.clone();
        let wanted = resolve(vec![listen]).unwrap().remove(0);
        assert_eq!((&*wanted.bind.name, wanted.bind.ip(), wanted.bind.shared), (&*at.to_string(), Some(at), true));
        assert!(resolve(vec![clone]).unwrap()[0].given.is_some(), "the last one has the socket itself");
    }

    #[test]
    fn a_descriptor_that_nobody_can_accept_on_is_refused() {
        let problem = |listen: Listen| resolved([listen]).unwrap_err().remove(0);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(problem(Listen::fd(null)).contains("is no socket"));
        assert!(problem(Listen::fd(UdpSocket::bind("127.0.0.1:0").unwrap())).contains("is no stream socket"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(problem(Listen::fd(client)).contains("is a connection"));
        let fresh = |domain| socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        for domain in [socket2::Domain::IPV4, socket2::Domain::UNIX] {
            assert!(problem(Listen::fd(fresh(domain))).contains("is not bound"));
        }
    }
}
