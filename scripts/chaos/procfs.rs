//! What the kernel says about processes.

use std::{fs, io, process};

use crate::Attempt;

/// A child of this process, as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Relative {
    pub(crate) pid: u32,
    /// `Z`: a zombie.
    pub(crate) state: char,
}

pub(crate) fn children() -> io::Result<Vec<Relative>> {
    let me = process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // It may have ended since the folder was read.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name, in parentheses, may hold anything; behind it: state, parent.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        let (state, parent) = (fields.next(), fields.next());
        if parent == Some(&me) {
            found.push(Relative { pid, state: state.and_then(|state| state.chars().next()).unwrap_or('?') });
        }
    }
    Ok(found)
}

/// The open descriptors of this process.
pub(crate) fn descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
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

fn number(text: &str, key: &str) -> Attempt<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key));
    let first = rest.and_then(|rest| rest.split_ascii_whitespace().next());
    Ok(first.ok_or_else(|| format!("the kernel does not tell {key}"))?.parse()?)
}
