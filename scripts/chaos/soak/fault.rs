//! What can happen to a cluster, and how it is made to happen. Afterwards nothing is left of it but what the cluster has
//! to mend by itself.

use std::{
    fmt::{self, Write as _},
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{BOOT, RELEASE};
use crate::{
    Attempt, boot,
    folder::Folder,
    frozen::{freeze, thaw},
    load::is_whole,
    process::send,
    procfs,
    random::Random,
    release::Worth,
    server::Server,
    user::User,
};

#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// Nothing, for so long.
    Calm(Duration),
    /// SIGKILL to so many workers at once.
    Kill(usize),
    /// SIGTERM to a worker: it leaves in order, and is replaced.
    Term,
    /// SIGSTOP to so many workers, for so long; for longer than the limit, and they are killed.
    Stop(usize, Duration),
    /// A request that lasts.
    Busy(Duration),
    /// A worker dies, and those who follow it crash at boot for so long.
    Crashing(Duration),
    /// A worker dies, and the one who follows it is slow to start.
    Slow(Duration),
    /// SIGSTOP to all; the first comes back after so long.
    AllHang(Duration),
    Rollout,
    BadRelease(Worth),
    /// More workers, and then as many as before.
    Scale(usize),
    /// The master itself is stopped for so long, and nobody is to be blamed for that.
    StoppedMaster(Duration),
    /// A worker dies while the master can open no descriptor, for so long.
    Shortage(Duration),
}

impl Fault {
    pub(super) fn any(random: &mut Random) -> Self {
        let mut time = |least: usize, most: usize| Duration::from_millis((least + random.below(most - least)) as u64);
        let (short, hang, long) = (time(20, 1000), time(100, 5000), time(1000, 5000));
        match random.below(15) {
            0 => Self::Calm(long),
            1 | 2 => Self::Kill(1 + random.below(3)),
            3 => Self::Term,
            4 | 5 => Self::Stop(1 + random.below(3), hang),
            6 => Self::Busy(long / 2),
            7 => Self::Crashing(long),
            8 => Self::Slow(long),
            9 => Self::AllHang(short),
            10 => Self::Rollout,
            11 => Self::BadRelease(Worth::BAD[[0, 2, 3][random.below(3)]]),
            12 => Self::Scale(1 + random.below(4)),
            13 => Self::Shortage(long),
            _ => Self::StoppedMaster(long),
        }
    }

    /// So that they are rightly told to hang.
    pub(super) fn holds_workers(self) -> bool {
        match self {
            Self::Stop(..) | Self::Busy(_) | Self::AllHang(_) => true,
            Self::Calm(_) | Self::Kill(_) | Self::Term | Self::Crashing(_) | Self::Slow(_) | Self::Rollout => false,
            Self::BadRelease(_) | Self::Scale(_) | Self::StoppedMaster(_) | Self::Shortage(_) => false,
        }
    }

    pub(super) fn strike(self, server: &mut Server, folder: &Folder, random: &mut Random) -> Attempt<()> {
        match self {
            Self::Calm(time) => server.watch(time),
            Self::Kill(count) => victims(server, count, random).into_iter().try_for_each(|pid| kill(server, pid)),
            Self::Term => {
                let victim = victims(server, 1, random)[0];
                send(victim, Signal::SIGTERM)?;
                until_gone(server, victim)
            }
            Self::Stop(count, time) => stop(server, &victims(server, count, random), time),
            Self::Busy(time) => busy(server, time),
            Self::Crashing(time) => {
                let (slot, pid) = slot(server, random)?;
                folder.write(BOOT, &boot::crash(slot))?;
                kill(server, pid)?;
                server.watch(time)?;
                folder.write(BOOT, "")
            }
            Self::Slow(time) => {
                let (slot, pid) = slot(server, random)?;
                folder.write(BOOT, &boot::slow(slot, time))?;
                kill(server, pid)?;
                server.watch(time)?;
                folder.write(BOOT, "")
            }
            Self::AllHang(time) => stop(server, &server.workers.clone(), time),
            Self::Rollout => server.roll_to_the_end(),
            Self::BadRelease(worth) => bad_release(server, folder, worth),
            Self::Scale(steps) => scale(server, steps),
            Self::StoppedMaster(time) => stopped_master(server, time),
            Self::Shortage(time) => {
                let victim = victims(server, 1, random)[0];
                shortage(server, victim, time)
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calm(time) => write!(f, "calm for {time:?}"),
            Self::Kill(count) => write!(f, "kill -9 of {count}"),
            Self::Term => write!(f, "TERM to one"),
            Self::Stop(count, time) => write!(f, "{count} stopped for {time:?}"),
            Self::Busy(time) => write!(f, "busy for {time:?}"),
            Self::Crashing(time) => write!(f, "crashes at boot for {time:?}"),
            Self::Slow(time) => write!(f, "slow start of {time:?}"),
            Self::AllHang(time) => write!(f, "all stopped for {time:?}"),
            Self::Rollout => write!(f, "rollout"),
            Self::BadRelease(worth) => write!(f, "release that {}", worth.word()),
            Self::Scale(steps) => write!(f, "{steps} workers more and less"),
            Self::StoppedMaster(time) => write!(f, "master stopped for {time:?}"),
            Self::Shortage(time) => write!(f, "kill -9 while the master has no descriptor for {time:?}"),
        }
    }
}

fn victims(server: &Server, count: usize, random: &mut Random) -> Vec<u32> {
    let mut workers = server.workers.clone();
    (0..count.min(workers.len())).map(|_| workers.swap_remove(random.below(workers.len()))).collect()
}

fn slot(server: &Server, random: &mut Random) -> Attempt<(u32, u32)> {
    let slot = random.below(server.workers.len()) as u32;
    Ok((slot, server.of_slot(slot)?))
}

/// And until the master has told of it.
fn kill(server: &mut Server, pid: u32) -> Attempt<()> {
    send(pid, Signal::SIGKILL)?;
    until_gone(server, pid)
}

fn until_gone(server: &mut Server, pid: u32) -> Attempt<()> {
    let end = Instant::now() + ENDED_WITHIN;
    while server.workers.contains(&pid) {
        if Instant::now() > end {
            return Err(format!("worker {pid} does not end").into());
        }
        server.watch(Duration::from_millis(2))?;
    }
    Ok(())
}

fn stop(server: &mut Server, pids: &[u32], time: Duration) -> Attempt<()> {
    pids.iter().try_for_each(|pid| freeze(*pid))?;
    server.watch(time)?;
    for pid in pids {
        // It may have been killed as it hung.
        if server.workers.contains(pid) {
            match thaw(*pid) {
                Err(error) if procfs::state(*pid).is_ok() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        server.watch(Duration::from_millis(20))?;
    }
    Ok(())
}

/// Until the client is answered.
fn busy(server: &mut Server, time: Duration) -> Attempt<()> {
    let mut asker = TcpStream::connect(server.address()?)?;
    write!(asker, "GET /sleep/{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", time.as_millis())?;
    asker.set_read_timeout(Some(ENDED_WITHIN))?;
    server.watch(time)?;
    let mut answer = Vec::new();
    asker.read_to_end(&mut answer)?;
    if is_whole(&answer) { Ok(()) } else { Err("the one that asked was not answered".into()) }
}

/// Nobody is replaced.
fn bad_release(server: &mut Server, folder: &Folder, worth: Worth) -> Attempt<()> {
    match worth {
        Worth::Unreadable => folder.write(RELEASE, "?")?,
        Worth::Works | Worth::Fails | Worth::NeverReady | Worth::DiesWhenReady => {
            folder.write(RELEASE, worth.word())?
        }
    }
    let before = server.workers.clone();
    let end = server.roll()?;
    folder.write(RELEASE, Worth::Works.word())?;
    // From now on whoever dies is followed by the release that the master has read last.
    server.roll_to_the_end()?;
    let is_aborted = end.contains("\"result\":\"aborted\"");
    if is_aborted { Ok(()) } else { Err(format!("{before:?} were replaced: {end}").into()) }
}

fn scale(server: &mut Server, steps: usize) -> Attempt<()> {
    let before = server.workers.len();
    each(server, steps, Signal::SIGTTIN)?;
    server.until_ready(before + steps, ENDED_WITHIN)?;
    each(server, steps, Signal::SIGTTOU)?;
    server.until_ready(before, ENDED_WITHIN)
}

fn each(server: &Server, steps: usize, signal: Signal) -> Attempt<()> {
    for _ in 0..steps {
        server.process.signal(signal)?;
        // Of two that wait the kernel delivers one.
        while procfs::is_pending(server.master(), signal)? {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn stopped_master(server: &mut Server, time: Duration) -> Attempt<()> {
    let before = server.told("hung").len();
    freeze(server.master())?;
    thread::sleep(time);
    thaw(server.master())?;
    server.watch(Duration::from_millis(200))?;
    let mut accused = String::new();
    server.told("hung")[before..].iter().try_for_each(|line| write!(accused, "{line} "))?;
    if accused.is_empty() { Ok(()) } else { Err(accused.into()) }
}

/// Meanwhile siblings serve, and afterwards it is replaced.
fn shortage(server: &mut Server, victim: u32, time: Duration) -> Attempt<()> {
    let usual = limit(server.master(), &["--nofile", "--output=SOFT", "--noheadings"])?;
    // Those that are open stay so.
    limit(server.master(), &["--nofile=3:"])?;
    let struck = kill(server, victim).and_then(|()| server.watch(time));
    limit(server.master(), &[&format!("--nofile={usual}:")])?;
    struck
}

/// What prlimit(1) says. The user of the cluster may change its limits; root need not.
fn limit(pid: u32, words: &[&str]) -> Attempt<String> {
    let said = User::unprivileged().command("prlimit").arg(format!("--pid={pid}")).args(words).output()?;
    if said.status.success() {
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    } else {
        Err(format!("prlimit {words:?} of {pid}: {}", String::from_utf8_lossy(&said.stderr)).into())
    }
}

/// A worker's grace for clients that ask nothing is a second, and so are the doors of those that leave.
const ENDED_WITHIN: Duration = Duration::from_secs(20);
