use std::{
    fs::{self, File},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, symlink},
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::PathBuf,
};

use nix::sys::stat::umask;

use super::*;
use crate::config::{Listen, resolve};

/// A directory of this test's own, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mio-cluster-file-{}-{name}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn claim(&self) -> Result<(Socket, SocketFile)> {
        claim(Listen::unix(self.path()))
    }

    fn refusal(&self) -> Error {
        self.claim().err().expect("it is refused")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn claim(listen: Listen) -> Result<(Socket, SocketFile)> {
    let bind = resolve(vec![listen]).unwrap().remove(0).bind;
    let path = bind.address().path().unwrap().to_owned();
    SocketFile::bind(&bind, &path)
}

#[test]
fn a_live_socket_is_refused_whether_its_queue_is_full_or_not() {
    let scratch = Scratch::new("live");
    let (_socket, _file) = claim(Listen::unix(scratch.path()).backlog(0)).unwrap();
    let error = scratch.refusal();
    assert!(error.is_address_in_use() && error.to_string().contains("another copy of this one"), "{error:#}");
    assert!(scratch.refusal().is_address_in_use(), "the first one waits in the queue, which is full now");
    assert!(scratch.path().exists());
}

#[test]
fn a_socket_left_behind_is_replaced_and_the_file_goes_with_the_claim() {
    let scratch = Scratch::new("stale");
    drop(UnixListener::bind(scratch.path()).unwrap());
    drop(UnixDatagram::bind(scratch.0.join("datagram")).unwrap());
    let (socket, file) = scratch.claim().unwrap();
    UnixStream::connect(scratch.path()).unwrap();
    drop(file);
    assert!(!scratch.path().exists());
    drop(socket);
    claim(Listen::unix(scratch.0.join("datagram"))).expect("also one of another kind");
}

#[test]
fn a_socket_of_another_kind_that_is_in_use_is_refused() {
    let scratch = Scratch::new("kind");
    let _live = UnixDatagram::bind(scratch.path()).unwrap();
    assert!(scratch.refusal().is_address_in_use());
}

#[test]
fn what_is_no_socket_is_named_and_left() {
    let scratch = Scratch::new("others");
    let make: [(&str, &dyn Fn()); 3] = [
        ("a directory", &|| fs::create_dir(scratch.path()).unwrap()),
        ("a file", &|| drop(File::create(scratch.path()).unwrap())),
        ("a symbolic link", &|| symlink("/nowhere", scratch.path()).unwrap()),
    ];
    for (what, make) in make {
        make();
        let error = scratch.refusal().to_string();
        assert!(error.contains(what) && error.contains(&*scratch.path().to_string_lossy()), "{error}");
        let kind = fs::symlink_metadata(scratch.path()).unwrap().file_type();
        if kind.is_dir() { fs::remove_dir(scratch.path()).unwrap() } else { fs::remove_file(scratch.path()).unwrap() }
    }
    assert!(claim(Listen::unix("/proc/self/socket")).is_err());
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let missing = Listen::unix(std::env::temp_dir().join("mio-cluster-no-such-directory/socket"));
    let error = claim(missing).err().unwrap().to_string();
    assert!(error.contains("there is no directory") && error.contains("mio-cluster-no-such-directory"), "{error}");
    let error = claim(Listen::unix("/dev/null/socket")).err().unwrap().to_string();
    assert!(error.contains("/dev/null is no directory"), "{error}");
}

#[test]
fn a_file_that_took_its_place_stays() {
    let scratch = Scratch::new("replaced");
    let (socket, file) = scratch.claim().unwrap();
    fs::remove_file(scratch.path()).unwrap();
    let successor = UnixListener::bind(scratch.path()).unwrap();
    drop((file, socket));
    UnixStream::connect(scratch.path()).unwrap();
    drop(successor);
    let (_socket, file) = scratch.claim().unwrap();
    fs::remove_file(scratch.path()).unwrap();
    drop(file);
}

/// The umask belongs to the process: one test for all that depends on it.
#[test]
fn the_file_has_exactly_the_bits_that_were_asked_for() {
    let scratch = Scratch::new("mode");
    for mode in [0o600, 0o660, 0o666, 0o777, 0o700, 0] {
        let (_socket, _file) = claim(Listen::unix(scratch.path()).mode(mode)).unwrap();
        let found = fs::metadata(scratch.path()).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{mode:o}");
    }
    let usual = umask(Mode::empty());
    umask(usual);
    let (_socket, _file) = scratch.claim().unwrap();
    assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o777 & !usual.bits());
}

#[test]
fn of_simultaneous_starters_one_wins() {
    let scratch = Scratch::new("starters");
    for _ in 0..20 {
        drop(UnixListener::bind(scratch.path()).unwrap());
        let claims: Vec<_> = thread::scope(|scope| {
            let starters: Vec<_> = (0..8).map(|_| scope.spawn(|| scratch.claim())).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
        assert!(claims.iter().flat_map(|claim| claim.as_ref().err()).all(Error::is_address_in_use));
        UnixStream::connect(scratch.path()).unwrap();
        drop(claims);
        assert!(!scratch.path().exists());
    }
}

#[test]
fn a_lock_that_somebody_keeps_is_not_waited_for_for_ever() {
    let scratch = Scratch::new("locked");
    let open = || OwnedFd::from(File::open(&scratch.0).unwrap());
    let held = Flock::lock(open(), FlockArg::LockExclusive).unwrap();
    assert!(Directory::lock(open(), Duration::ZERO).is_err());
    drop(held);
    assert!(matches!(Directory::lock(open(), Duration::ZERO), Ok(Directory::Locked(_))));
}
