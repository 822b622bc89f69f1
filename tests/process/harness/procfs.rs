//! What /proc says of other processes.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

/// The inodes of the sockets that listen at an IPv4 address: the same number is the same socket.
pub(crate) fn listening_sockets(at: SocketAddr) -> BTreeSet<u64> {
    let IpAddr::V4(ip) = at.ip() else { panic!("{at} is no IPv4 address") };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), at.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let inodes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1) == Some(&&*wanted) && fields.get(3) == Some(&"0A");
        listens.then(|| fields[9].parse().unwrap())
    });
    inodes.collect()
}

/// How often it has begun or ceased to wait, or was made to wait, so far.
pub(crate) fn context_switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
    counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum()
}

pub(crate) fn open_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// By a signal, with all its threads.
pub(super) fn is_stopped(pid: u32) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.all(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    })
}

/// Its children, zombies among them.
pub(crate) fn children(pid: u32) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let stats = processes.filter_map(|name| fs::read_to_string(format!("/proc/{name}/stat")).ok());
    // Behind the name, which may hold anything: the state, then the parent.
    let parents = stats.filter_map(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok());
    parents.filter(|parent: &u32| *parent == pid).count()
}
