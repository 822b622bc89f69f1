//! What must be true when a run has ended.

use std::{net::SocketAddr, process::ExitStatus};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};

use super::{
    super::{
        bench::{connect_unix, free_port},
        fact,
        fact::Fact,
    },
    Orphans, Run, Times, What,
};

impl Run {
    /// The leader is reaped: whatever is left of its group is a child of the harness now, running or zombie.
    pub(super) fn check_group(&self) {
        match waitpid(Pid::from_raw(-self.group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => {}
            Ok(WaitStatus::StillAlive) => panic!("{}: left a process running in group {}", self.script, self.group),
            left => panic!("{}: left a zombie: {left:?}", self.script),
        }
    }

    pub(super) fn check_log(&self) {
        for line in &self.logs {
            let expected = self.expected.iter().any(|(text, _)| line.contains(&**text));
            assert!(is_harmless(line) || expected, "{}: unexpected log line: {line}", self.script);
        }
        for (text, times) in &self.expected {
            let harmful = self.logs.iter().filter(|line| line.contains(&**text) && !is_harmless(line)).count();
            let right = match times {
                Times::Once => harmful == 1,
                Times::Any => true,
                Times::Some => self.logged(text) > 0,
            };
            assert!(right, "{}: {harmful} warnings and errors contain {text:?}", self.script);
        }
    }

    /// The fixture compares itself with what it was before the cluster: descriptors, signal mask.
    pub(super) fn check_facts(&self, status: ExitStatus) {
        fact::check_order(&self.facts);
        if status.code().is_some() && self.what == What::Fixture && self.orphans == Orphans::None {
            let (before, after) = (self.all("before"), self.all("after"));
            let states = (before.last().map(Fact::rest), after.last().map(Fact::rest));
            assert!(states.0.is_some(), "{}: the fixture says nothing of itself", self.script);
            assert_eq!(states.0, states.1, "{}: changed by the cluster", self.script);
        }
    }

    pub(super) fn check_ports(&self) {
        for fact in self.all("listening") {
            let text: String = fact.get("address");
            if let Some(name) = text.strip_prefix("unix:") {
                let left = connect_unix(name);
                assert!(left.is_err(), "{}: somebody still listens at {text}", self.script);
                continue;
            }
            let address: SocketAddr = fact.get("address");
            if address.ip() == self.ip {
                let free = free_port(address);
                assert!(free.is_ok(), "{}: the port is still taken: {address}: {free:?}", self.script);
            }
        }
    }
}

fn is_harmless(line: &str) -> bool {
    line.is_empty() || ["DEBUG ", "INFO "].iter().any(|level| line.starts_with(level))
}
