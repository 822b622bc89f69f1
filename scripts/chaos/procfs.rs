//! What the kernel says about processes.

use std::{
    collections::{HashMap, HashSet},
    fs, io, process,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::Attempt;

/// A child, as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Relative {
    pub(crate) pid: u32,
    /// `Z`: a zombie.
    pub(crate) state: char,
}

/// Of this process.
pub(crate) fn children() -> io::Result<Vec<Relative>> {
    children_of(process::id())
}

pub(crate) fn children_of(parent_pid: u32) -> io::Result<Vec<Relative>> {
    let wanted = parent_pid.to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // It may have ended since the folder was read.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name, in parentheses, may hold anything; behind it: state, parent.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        let (state, parent) = (fields.next(), fields.next());
        if parent == Some(&wanted) {
            found.push(Relative { pid, state: state.and_then(|state| state.chars().next()).unwrap_or('?') });
        }
    }
    Ok(found)
}

/// The open descriptors of this process.
pub(crate) fn descriptors() -> io::Result<usize> {
    descriptors_of(process::id())
}

pub(crate) fn descriptors_of(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Proportional set size: memory shared by n processes counts 1/n in each.
pub(crate) fn pss_kib(pid: u32) -> Attempt<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    number(&text, "Pss:")
}

/// How often the process has been taken off a CPU, by its own wish or not: one that never runs is never taken off.
pub(crate) fn switches(pid: u32) -> Attempt<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(number(&text, "voluntary_ctxt_switches:")? + number(&text, "nonvoluntary_ctxt_switches:")?)
}

/// For how long its first thread has had a CPU.
pub(crate) fn cpu_time(pid: u32) -> Attempt<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanoseconds = text.split(' ').next().ok_or("the kernel does not tell the CPU time")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// Whether the process has not taken this signal yet.
pub(crate) fn is_pending(pid: u32, signal: Signal) -> Attempt<bool> {
    is_among(pid, "ShdPnd:", signal)
}

/// Whether the process has this signal ignored.
pub(crate) fn is_ignored(pid: u32, signal: Signal) -> Attempt<bool> {
    is_among(pid, "SigIgn:", signal)
}

fn is_among(pid: u32, key: &str, signal: Signal) -> Attempt<bool> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let signals = text.lines().find_map(|line| line.strip_prefix(key)).ok_or("the kernel tells no signals")?;
    Ok((u64::from_str_radix(signals.trim(), 16)? >> (signal as u32 - 1)) & 1 == 1)
}

/// `T`: stopped.
pub(crate) fn state(pid: u32) -> Attempt<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let state = stat.rsplit(')').next().and_then(|fields| fields.trim_start().chars().next());
    Ok(state.ok_or("the kernel does not tell the state")?)
}

/// How many connections wait in each socket that listens on 127.0.0.1 at `port`, by inode.
pub(crate) fn queues(port: u16) -> Attempt<HashMap<u64, u64>> {
    let (wanted, mut found) = (format!("0100007F:{port:04X}"), HashMap::new());
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // 1: address, 3: state, 4: what waits to be sent, and to be accepted, 9: inode.
        if fields.len() > 9 && fields[1] == wanted && fields[3] == "0A" {
            let waiting = fields[4].rsplit(':').next().unwrap_or_default();
            found.insert(fields[9].parse()?, u64::from_str_radix(waiting, 16)?);
        }
    }
    Ok(found)
}

/// The inodes of a process's sockets.
pub(crate) fn sockets(pid: u32) -> io::Result<HashSet<u64>> {
    let mut found = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may have been closed since the folder was read.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        found.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(found)
}

fn number(text: &str, key: &str) -> Attempt<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key));
    let first = rest.and_then(|rest| rest.split_ascii_whitespace().next());
    Ok(first.ok_or_else(|| format!("the kernel does not tell {key}"))?.parse()?)
}
