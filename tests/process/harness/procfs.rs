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

pub(crate) fn open_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Its children, zombies among them.
pub(crate) fn children(pid: u32) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let stats = processes.filter_map(|name| fs::read_to_string(format!("/proc/{name}/stat")).ok());
    // Behind the name, which may hold anything: the state, then the parent.
    let parents = stats.filter_map(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok());
    parents.filter(|parent: &u32| *parent == pid).count()
}
