//! Random faults under load, for long: each [round](Round) begins with a healthy cluster, strikes it some times, and ends
//! with an account of every connection and with a cluster that is as it was before.
//!
//! `scripts/soak` builds and runs it. The seed is printed first; CHAOS_SEED repeats the choices, though not the moments.

mod fault;
mod state;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use self::{fault::Fault, state::State};
use crate::{
    Attempt,
    folder::Folder,
    generator::{CUT, Clients, Generator, Report},
    process::end_orphans,
    random::Random,
    release::Worth,
    server::{Kind, Server, number},
    user::User,
};

/// The role `--soak`.
pub(crate) fn run(words: &[&str]) -> Attempt<ExitCode> {
    let minutes: f64 = match words {
        [] => MINUTES,
        ["--minutes", minutes] => minutes.parse()?,
        _other => return Err("usage: scripts/soak [--minutes N]".into()),
    };
    let time = Duration::try_from_secs_f64(minutes * 60.0)?;
    let (random, seed) = Random::new();
    println!("CHAOS_SEED={seed}");
    match soak(time, random) {
        Ok(summary) => {
            println!("{summary}: nothing wrong");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("soak: CHAOS_SEED={seed}: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn soak(time: Duration, mut random: Random) -> Attempt<String> {
    let end = Instant::now() + time;
    let folder = Folder::new()?;
    let mut cluster = Cluster::start(folder)?;
    let (mut rounds, mut faults, mut answers, mut cut) = (0, 0, 0, 0);
    while Instant::now() < end {
        rounds += 1;
        let round = cluster.round(&mut random).map_err(|error| format!("round {rounds}: {error}"))?;
        println!("round {rounds}: {round}");
        faults += round.faults.len();
        answers += round.answers;
        cut += round.cut;
    }
    cluster.stop()?;
    Ok(format!("{rounds} rounds, {faults} faults, {answers} answers, {cut} connections that dead workers had open"))
}

struct Cluster {
    server: Server,
    folder: Folder,
    /// At the end of the first round.
    first: Option<State>,
    /// Connections lost with their workers, in all rounds before.
    abandoned: u64,
}

impl Cluster {
    fn start(folder: Folder) -> Attempt<Self> {
        folder.write(BOOT, "")?;
        folder.write(RELEASE, Worth::Works.word())?;
        let [boot, release] = [BOOT, RELEASE].map(|name| folder.file(name).to_string_lossy().into_owned());
        let more = ["--totals", "--boot", &boot, "--release", &release, "--settle", "50"];
        let more = [&more[..], &["--ready-timeout", "8000", "--kill-hung", "3000"]].concat();
        let server = Server::start_as(User::unprivileged(), Kind::Own, "127.0.0.1:0", WORKERS, &more)?;
        Ok(Self { server, folder, first: None, abandoned: 0 })
    }

    /// Faults under both kinds of load, and then the account.
    fn round(&mut self, random: &mut Random) -> Attempt<Round> {
        self.server.told.clear();
        self.server.deaths.clear();
        let address = self.server.address()?;
        let more = ["--timeout", TIMEOUT];
        let loads =
            [Generator::start(address, Clients::New, &more)?, Generator::start(address, Clients::KeepAlive, &more)?];
        let mut faults = Vec::new();
        for _ in 0..FAULTS {
            let fault = Fault::any(random);
            // Told before, so that the last line says what went wrong.
            println!("  {fault}");
            let accused = self.server.told("hung").len();
            fault.strike(&mut self.server, &self.folder, random).map_err(|error| format!("{fault}: {error}"))?;
            self.server.until_ready(WORKERS, RESTORED_WITHIN).map_err(|error| format!("after {fault}: {error}"))?;
            if let (false, Some(line)) = (fault.holds_workers(), self.server.told("hung").get(accused)) {
                return Err(format!("after {fault}: {line}").into());
            }
            state::check(&self.server).map_err(|error| format!("after {fault}: {error}"))?;
            faults.push(fault);
        }
        let [new, kept] = loads;
        let reports = [new.finish()?, kept.finish()?];
        self.account(faults, &reports)
    }

    fn account(&mut self, faults: Vec<Fault>, reports: &[Report]) -> Attempt<Round> {
        let now = self.settled()?;
        let abandoned = self.abandoned()?;
        // A worker may die between the kernel's word and its own.
        let deaths = self.server.deaths.len() as u64;
        let most = abandoned - std::mem::replace(&mut self.abandoned, abandoned) + deaths;
        let (mut wrongs, mut cut, mut answers) = (Vec::new(), 0, 0);
        for report in reports {
            let (other, lost) = report.wrongs_but(&CUT, most);
            wrongs.extend(other);
            cut += lost;
            answers += report.load.answered;
        }
        if cut > most {
            wrongs.push(format!("{cut} connections failed, of which {most} were open in a worker that died"));
        }
        match &self.first {
            Some(first) => wrongs.extend(now.grown(first)),
            None => self.first = Some(now),
        }
        if wrongs.is_empty() { Ok(Round { faults, answers, cut, now }) } else { Err(wrongs.join("; ").into()) }
    }

    /// When nobody is left whom the faults have held up.
    fn settled(&mut self) -> Attempt<State> {
        let end = Instant::now() + RESTORED_WITHIN;
        loop {
            self.server.watch(QUIET)?;
            let now = State::of(&self.server)?;
            let is_settled = self.first.is_none_or(|first| now.grown(&first).is_empty());
            if is_settled || Instant::now() > end {
                return Ok(now);
            }
        }
    }

    /// So far. The sums are told with each end of a worker; if there was none, they are as before.
    fn abandoned(&self) -> Attempt<u64> {
        let totals = self.server.told("totals");
        totals.last().map_or(Ok(self.abandoned), |line| Ok(number(line, "abandoned")?.into()))
    }

    fn stop(self) -> Attempt<()> {
        let mut server = self.server;
        server.deaths.clear();
        let wrongs = server.stop()?;
        let left = end_orphans()?;
        if wrongs.is_empty() && left.is_empty() {
            Ok(())
        } else {
            Err(format!("at the end: {wrongs:?} {left:?}").into())
        }
    }
}

/// What has come of it.
struct Round {
    faults: Vec<Fault>,
    answers: u64,
    cut: u64,
    now: State,
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, answers, cut, now } = self;
        write!(f, "{} faults, {answers} answers, {cut} connections cut with their workers; {now}", faults.len())
    }
}

const MINUTES: f64 = 30.0;
const WORKERS: usize = 4;
const FAULTS: usize = 12;

/// A back-off that has grown over several tries.
const RESTORED_WITHIN: Duration = Duration::from_secs(40);

/// The watch dozes by then.
const QUIET: Duration = Duration::from_millis(1500);

/// Milliseconds; longer than any fault.
const TIMEOUT: &str = "20000";

const BOOT: &str = "boot";
const RELEASE: &str = "release";
