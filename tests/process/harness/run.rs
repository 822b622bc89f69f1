//! One fixture or example: a process group of its own, what it says, and the check that it leaves nothing behind.
//!
//! Every wait ends with the fact, or with the case's deadline. A `Run` that is dropped before [`Run::end`] (a failed
//! case) kills its group and notes everything that the fixture said.

mod checks;

use std::{
    env,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{
    FIXTURE,
    bench::launched,
    fact::Fact,
    note,
    outputs::{News, Outputs},
    pid_of,
    procfs::is_stopped,
};

pub(crate) struct Run {
    what: What,
    script: String,
    child: Child,
    group: Pid,
    outputs: Outputs,
    facts: Vec<Fact>,
    logs: Vec<String>,
    /// Facts and log lines before these were asked for.
    next_fact: usize,
    next_log: usize,
    expected: Vec<(String, Times)>,
    orphans: Orphans,
    deadline: Instant,
    ip: Ipv4Addr,
    /// `end` was called; and it has seen the last process of the group.
    checked: bool,
    reaped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// It says how it was before and after.
    Fixture,
    Example,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Some,
    Any,
}

/// What may be left when the leader has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Orphans {
    None,
    /// The leader ends without a word: its workers follow it.
    Dying,
}

impl Run {
    pub(super) fn start(launcher: &[&str], script: &str, deadline: Instant, ip: Ipv4Addr) -> Self {
        let program = env::current_exe().expect("the harness knows its own path");
        let mut command = launched(launcher, &program);
        command.args(script.split(' ')).env(FIXTURE, "1").env("RUST_BACKTRACE", "0");
        Self::spawn(command, What::Fixture, script, deadline, ip)
    }

    /// One of examples/, as cargo has built it last: `cargo test` does, before it runs the tests.
    pub(super) fn example(launcher: &[&str], script: &str, deadline: Instant, ip: Ipv4Addr) -> Self {
        let (name, arguments) = script.split_once(' ').unwrap_or((script, ""));
        let deps = env::current_exe().expect("the harness knows its own path");
        let program = deps.ancestors().nth(2).expect("target/PROFILE/deps/process-HASH").join("examples").join(name);
        assert!(program.exists(), "{} is missing, build it: cargo build --examples", program.display());
        let mut command = launched(launcher, &program);
        command.args(arguments.split_whitespace()).env("RUST_LOG", "debug").env("RUST_BACKTRACE", "0");
        Self::spawn(command, What::Example, script, deadline, ip)
    }

    fn spawn(mut command: Command, what: What, script: &str, deadline: Instant, ip: Ipv4Addr) -> Self {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {script:?}: {error}"));
        let outputs = Outputs::of(&mut child);
        let group = pid_of(child.id());
        let (facts, logs, expected, orphans) = (Vec::new(), Vec::new(), Vec::new(), Orphans::None);
        let (next_fact, next_log, script, checked, reaped) = (0, 0, script.to_owned(), false, false);
        Self {
            what,
            script,
            child,
            group,
            outputs,
            facts,
            logs,
            next_fact,
            next_log,
            expected,
            orphans,
            deadline,
            ip,
            checked,
            reaped,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next event or other fact of this name; those before it are passed over.
    pub(crate) fn fact(&mut self, name: &str) -> Fact {
        self.fact_where(name, |fact| fact.name() == name)
    }

    /// As [`fact`](Self::fact), of one worker.
    pub(crate) fn fact_of(&mut self, name: &str, id: u64) -> Fact {
        self.fact_where(name, |fact| fact.name() == name && fact.get::<u64>("id") == id)
    }

    /// The first fact of this name, whether it came before others that were asked for or not.
    pub(crate) fn first(&mut self, name: &str) -> Fact {
        while self.all(name).is_empty() {
            self.more(name);
        }
        self.all(name)[0].clone()
    }

    /// The fact of this name and id, whether it came before others that were asked for or not.
    pub(crate) fn known(&mut self, name: &str, id: u64) -> Fact {
        loop {
            match self.all(name).into_iter().find(|fact| fact.get::<u64>("id") == id) {
                Some(fact) => return fact,
                None => self.more(name),
            }
        }
    }

    /// Waits until both are there; true if the first one of the two has come first.
    pub(crate) fn comes_before(&mut self, first: (&str, u64), then: (&str, u64)) -> bool {
        let facts = [first, then].map(|(name, id)| self.known(name, id));
        let places = facts.map(|fact| self.facts.iter().position(|known| *known == fact));
        places[0] < places[1]
    }

    /// Waits until there are so many facts of this name, among others and in any order.
    pub(crate) fn until(&mut self, name: &str, count: usize) {
        while self.all(name).len() < count {
            self.more(name);
        }
    }

    /// The address of `all_ready`, which is awaited.
    pub(crate) fn ready(&mut self) -> SocketAddr {
        let addresses = self.ready_at();
        *addresses.first().expect("the fixture has an address")
    }

    pub(crate) fn ready_at(&mut self) -> Vec<SocketAddr> {
        let fact = self.fact("all_ready");
        fact.0.split('"').filter_map(|word| word.parse().ok()).collect()
    }

    /// `all_ready` or `result`, whichever comes first.
    pub(crate) fn outcome(&mut self) -> Fact {
        self.fact_where("outcome", |fact| ["all_ready", "result"].contains(&fact.name()))
    }

    pub(crate) fn fact_where(&mut self, what: &str, wanted: impl Fn(&Fact) -> bool) -> Fact {
        loop {
            if let Some(found) = self.facts[self.next_fact..].iter().position(&wanted) {
                self.next_fact += found + 1;
                return self.facts[self.next_fact - 1].clone();
            }
            self.next_fact = self.facts.len();
            self.more(what);
        }
    }

    /// The next log line that contains `text`; a warning or an error becomes expected by it.
    pub(crate) fn log(&mut self, text: &str) -> String {
        loop {
            if let Some(found) = self.logs[self.next_log..].iter().position(|line| line.contains(text)) {
                self.next_log += found + 1;
                self.expect(text);
                return self.logs[self.next_log - 1].clone();
            }
            self.next_log = self.logs.len();
            self.more(text);
        }
    }

    /// A warning or an error with this text is no failure, its absence is.
    pub(crate) fn expect(&mut self, text: &str) {
        self.expected.push((text.to_owned(), Times::Some));
    }

    /// As [`expect`](Self::expect), and it may not come twice.
    pub(crate) fn expect_once(&mut self, text: &str) {
        self.expected.push((text.to_owned(), Times::Once));
    }

    /// A warning or an error with this text may come.
    pub(crate) fn allow(&mut self, text: &str) {
        self.expected.push((text.to_owned(), Times::Any));
    }

    /// What Rust itself prints of a panic; the library's line is another one.
    pub(crate) fn expect_panic(&mut self, message: &str) {
        for text in ["thread 'main'", message, "RUST_BACKTRACE=1"] {
            self.expect(text);
        }
    }

    /// Writes a command to the console of the fixture.
    pub(crate) fn tell(&mut self, command: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin
            .write_all(format!("{command}\n").as_bytes())
            .unwrap_or_else(|error| panic!("telling {command:?}: {error}"));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.signal_to(self.pid(), signal);
    }

    pub(crate) fn signal_to(&self, pid: u32, signal: Signal) {
        kill(pid_of(pid), signal).unwrap_or_else(|error| panic!("{signal} to {pid}: {error}"));
    }

    /// Stops a process, and waits until none of its threads runs any more.
    pub(crate) fn freeze(&mut self, pid: u32) {
        self.signal_to(pid, Signal::SIGSTOP);
        self.pass_until(|| is_stopped(pid));
    }

    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(self.group, signal).unwrap_or_else(|error| panic!("{signal} to group {}: {error}", self.group));
    }

    /// A signal that ends the leader without a word. Its workers have to follow it.
    pub(crate) fn dies_by(&mut self, signal: Signal) {
        self.dies_by_itself();
        self.signal(signal);
    }

    /// It ends itself in a way in which no destructor runs. Its workers have to follow it.
    pub(crate) fn dies_by_itself(&mut self) {
        self.orphans = Orphans::Dying;
    }

    /// All facts so far of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<Fact> {
        self.facts.iter().filter(|fact| fact.name() == name).cloned().collect()
    }

    /// How often log lines contain `text` so far.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.logs.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for the end and checks that nothing is wrong or left; then says how it ended. Facts and logs can still be
    /// read.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.checked = true;
        while self.outputs.is_alive() {
            self.more("end of the process");
        }
        let status = self.child.wait().expect("it has ended, and nobody else waits for it");
        if self.orphans == Orphans::None {
            self.check_group();
        }
        while self.outputs.is_open() {
            self.more("end of the output");
        }
        if self.orphans == Orphans::Dying {
            // All have closed their pipes, so they are all but gone.
            while waitpid(Pid::from_raw(-self.group.as_raw()), None).is_ok() {}
        }
        self.reaped = true;
        self.check_log();
        self.check_facts(status);
        self.check_ports();
        status
    }

    /// As [`end`](Self::end); it must have exited with this code.
    #[track_caller]
    pub(crate) fn end_with(&mut self, code: i32) {
        let status = self.end();
        assert_eq!(status.code(), Some(code), "{} ended with {status}:\n{}", self.script, self.transcript());
    }

    /// Receives one more line, or the end of something.
    #[track_caller]
    fn more(&mut self, what: &str) {
        let possible = self.outputs.is_open() || self.outputs.is_alive();
        assert!(possible, "{}: no {what:?}, and nothing more can come", self.script);
        match self.outputs.next(self.deadline) {
            News::Fact(line) => self.facts.push(Fact(line)),
            News::Log(line) => self.logs.push(line),
            News::Less => {}
            News::Deadline => panic!("{}: no {what:?} before the watchdog's deadline", self.script),
        }
    }

    /// Lets so much time pass. Only for a case that is about time: everything else waits for facts.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            match self.outputs.next(until) {
                News::Fact(line) => self.facts.push(Fact(line)),
                News::Log(line) => self.logs.push(line),
                News::Less => {}
                News::Deadline => return,
            }
        }
    }

    /// Lets time pass until it is so. Only for what no fact tells.
    #[track_caller]
    pub(crate) fn pass_until(&mut self, mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            assert!(Instant::now() < self.deadline, "{}: it does not become so", self.script);
            self.pass(Duration::from_millis(5));
        }
    }

    fn transcript(&self) -> String {
        let facts = self.facts.iter().map(|fact| format!("  {fact:?}\n"));
        let logs = self.logs.iter().map(|line| format!("  ! {line}\n"));
        facts.chain(logs).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.reaped {
            // Gone already, or about to be.
            let _ = killpg(self.group, Signal::SIGKILL);
            while self.outputs.is_open() || self.outputs.is_alive() {
                match self.outputs.next(Instant::now() + LAST_WORDS) {
                    News::Fact(line) => self.facts.push(Fact(line)),
                    News::Log(line) => self.logs.push(line),
                    News::Less => {}
                    News::Deadline => break,
                }
            }
            let _ = self.child.wait();
            while waitpid(Pid::from_raw(-self.group.as_raw()), Some(WaitPidFlag::WNOHANG)).is_ok_and(ended) {}
        }
        if thread::panicking() {
            note(&format!("{}\n{}", self.script, self.transcript()));
        } else {
            assert!(self.checked, "a case must call end() on {}", self.script);
        }
    }
}

fn ended(status: WaitStatus) -> bool {
    status != WaitStatus::StillAlive
}

/// After a kill the pipes close at once, unless a process has left the group.
const LAST_WORDS: Duration = Duration::from_secs(5);
