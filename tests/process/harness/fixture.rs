//! A fixture's side: it follows the harness, logs in one form, and says how it was before and after.

use std::{collections::BTreeMap, fs, io::Write, path::PathBuf, process::ExitCode};

use env_logger::Target;
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::{Gid, Uid, setgid, setgroups, setresuid},
};

/// What a fixture does first: it does not outlive the harness, and leaves no core files.
pub(crate) fn follow_the_harness() {
    prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
}

/// One line per record, in one write: `WARN mio_cluster::master: text`.
pub(crate) fn log_to(target: Target) {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Debug)
        .target(target)
        .format(|out, record| writeln!(out, "{} {}: {}", record.level(), record.target(), record.args()))
        .init();
}

/// Runs a fixture; the harness compares what it was before with what it is after.
pub(crate) fn compared(fixture: impl FnOnce() -> ExitCode) -> ExitCode {
    println!("before {}", state());
    let code = fixture();
    println!("after {}", state());
    code
}

/// What a cluster must leave as it was.
pub(crate) fn state() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
    format!("{mask} {:?}", descriptors())
}

/// Number and target of every open descriptor.
pub(crate) fn descriptors() -> BTreeMap<String, String> {
    let list = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap());
    let targets = list.map(|entry| (entry.file_name(), fs::read_link(entry.path())));
    // The one that lists the directory is gone by the time its link is read, or leads to the directory.
    let lasting = targets.filter_map(|(name, target)| Some((name, target.ok()?))).filter(|(_, to)| !to.ends_with("fd"));
    let text = |to: PathBuf| to.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    lasting.map(|(name, to)| (name.into_string().unwrap(), text(to))).collect()
}

/// Goes where `port` needs a right: into a network namespace of its own, if it needs none here. False: it could not, and
/// said so.
pub(crate) fn restrict_low_ports(port: u16) -> bool {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let start: u16 = text.trim().parse().unwrap_or(1024);
    let possible = start > port || unshare(CloneFlags::CLONE_NEWNET).is_ok();
    if !possible {
        println!("impossible net.ipv4.ip_unprivileged_port_start is low, and root is needed for an own namespace");
    }
    possible
}

/// Becomes a user that nobody else uses. `count_apart`: whose processes are not counted along with anybody else's.
pub(crate) fn become_unprivileged(count_apart: bool) {
    if Uid::effective().is_root() {
        let id = 1_000_000 + std::process::id();
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(id)).unwrap();
        let id = Uid::from_raw(id);
        setresuid(id, id, id).unwrap();
    } else if count_apart && unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        println!("impossible neither root nor user namespaces: processes cannot be counted apart");
    }
    // Or /proc/self belongs to root now.
    prctl::set_dumpable(true).unwrap();
}
