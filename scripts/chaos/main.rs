//! The figures of the project, measured: kills, starts, memory, wake-ups, stops under load; one table at the end.
//!
//! `scripts/chaos/run [ROW…]` builds and runs it; `scripts/soak` lets it do the same at random, for long. Each row runs in a process of its own under a deadline, so that one
//! that hangs or panics becomes a line of the table and the others go on. Every process dies with the one that started
//! it (the kernel's parent-death signal), so nothing is left behind when this is interrupted. Loopback only.
//!
//! The exit code is 0 even if a timing bar is missed (machines are noisy), 1 if something was wrong: a zombie, a lost
//! worker, a port that is not free, two winners, a reset request, a client that was lost in a queue, a row that failed;
//! or if a time is far beyond its bar, so that no machine explains it: newcomers who are not refused half a second after
//! the master has begun to stop, steering that costs more than a tenth, a client that waits for a second for a worker that
//! has not accepted it, a watch that takes a twentieth of a CPU.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program: its output is the table, its errors go to stderr"
)]

mod bare;
mod boot;
mod embed;
mod figure;
mod folder;
mod frozen;
mod generator;
mod lines;
mod load;
mod output;
mod process;
mod procfs;
mod random;
mod release;
mod rows;
mod serve;
mod server;
mod soak;
mod times;
mod user;

use std::{
    env,
    error::Error,
    io::Read,
    os::unix::process::CommandExt,
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    figure::{Figure, Verdict, table},
    load::Connections,
    rows::{LONG, ROWS, Row, SHORT},
};

/// Whatever went wrong, in words.
type Attempt<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match role(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

fn role(words: &[&str]) -> Attempt<ExitCode> {
    if words.first().is_some_and(|word| ROLES.contains(word)) {
        process::die_with_the_starter()?;
    }
    process::adopt_orphans()?;
    match words {
        ["--row", name] => measure(name),
        ["--serve", options @ ..] => serve::run(options),
        ["--load", address, clients] => load::run(address, clients, Connections::Mixed),
        ["--load-new", address, clients] => load::run(address, clients, Connections::New),
        ["--exec", program, rest @ ..] => Err(Command::new(program).args(rest).exec().into()),
        ["--exec-as-nobody", program, rest @ ..] => match user::exec_as_nobody(program, rest)? {},
        ["--soak", words @ ..] => soak::run(words),
        ["--short", names @ ..] => all(names, Some(SHORT)),
        ["--long", names @ ..] => all(names, Some(LONG)),
        names => all(names, None),
    }
}

/// Runs the rows, each in its process, and prints the table.
fn all(names: &[&str], length: Option<&str>) -> Attempt<ExitCode> {
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.is_called(name))) {
        let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        eprintln!("chaos: there is no row {unknown}; rows: {}", known.join(" "));
        return Ok(ExitCode::from(2));
    }
    let mut figures = Vec::new();
    if procfs::is_ignored(std::process::id(), Signal::SIGHUP)? {
        return Err("SIGHUP is ignored here, and so by the servers (nohup? setsid does without)".into());
    }
    let is_wanted = |row: &&Row| {
        (row.is_short || length != Some(SHORT)) && (names.is_empty() || names.iter().any(|name| row.is_called(name)))
    };
    for row in ROWS.iter().filter(is_wanted) {
        eprintln!("chaos: {}: {}", row.name, row.what);
        figures.extend(apart(row, length).unwrap_or_else(|error| vec![row.failed(error)]));
    }
    print!("{}", table(&figures));
    let wrong = figures.iter().any(|figure| figure.verdict == Verdict::Failed);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One row in a process of its own.
fn apart(row: &Row, length: Option<&str>) -> Attempt<Vec<Figure>> {
    let mut command = process::this_program(&["--row", row.name]);
    if let Some(length) = length {
        command.env(length, "1");
    }
    let mut child = command.process_group(0).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().ok_or("no stdout")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        // Nobody waits any more if the row was too slow.
        let _ = sender.send(read.map(|_| text));
    });
    let within = if length == Some(LONG) { row.within * LONGER } else { row.within };
    let text = receiver.recv_timeout(within);
    // Does nothing if the row has ended. Otherwise whatever it started ends with it, or becomes an orphan of this
    // process.
    let _ = killpg(Pid::from_raw(child.id().try_into()?), Signal::SIGKILL);
    let status = child.wait()?;
    process::end_orphans()?;
    let text = text.map_err(|_| format!("not finished within {within:?}"))??;
    let figures: Vec<Figure> = text.lines().filter_map(Figure::from_line).collect();
    if figures.is_empty() { Err(format!("ended with {status} and no result").into()) } else { Ok(figures) }
}

/// In the row's own process.
fn measure(name: &str) -> Attempt<ExitCode> {
    let row = ROWS.iter().find(|row| row.name == name).ok_or("no such row")?;
    let mut figures = (row.measure)().unwrap_or_else(|error| vec![row.failed(error)]);
    let left = process::end_orphans()?;
    if !left.is_empty() {
        figures.push(row.failed(format!("processes left behind: {left:?}")));
    }
    figures.iter().for_each(|figure| println!("{}", figure.to_line()));
    Ok(ExitCode::SUCCESS)
}

/// Minutes become tens of minutes.
const LONGER: u32 = 10;

/// What this program is in the processes that it starts.
const ROLES: [&str; 6] = ["--row", "--serve", "--load", "--load-new", "--exec", "--exec-as-nobody"];
