//! System calls of another process, counted by strace.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio, id},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::Attempt;

/// What the process calls while `connect` makes so many connections, per connection.
pub(crate) fn calls(process: u32, connections: usize, connect: impl Fn() -> Attempt<()>) -> Attempt<String> {
    let path = env::temp_dir().join(format!("mio-cluster-calls-{}-{process}", id()));
    let words = ["-c", "-p", &process.to_string(), "-o"];
    let Ok(mut strace) = Command::new("strace").args(words).arg(&path).stderr(Stdio::piped()).spawn() else {
        return Ok("not measured, there is no strace".to_owned());
    };
    let counted = attached(&mut strace)?;
    if counted {
        (0..connections).try_for_each(|_| connect())?;
    }
    // It detaches and writes its table.
    let _ended_before = kill(Pid::from_raw(strace.id().try_into()?), Signal::SIGINT);
    strace.wait()?;
    let table = fs::read_to_string(&path).unwrap_or_default();
    // It is not there if strace did not come so far.
    let _ = fs::remove_file(&path);
    Ok(if counted { per_connection(&table, connections) } else { "not measured, strace may not look".to_owned() })
}

/// Once it has said so.
fn attached(strace: &mut Child) -> Attempt<bool> {
    let mut line = String::new();
    BufReader::new(strace.stderr.take().ok_or("no stderr")?).read_line(&mut line)?;
    Ok(line.contains(" attached"))
}

/// Columns: % time, seconds, usecs/call, calls, perhaps errors, name. The last line is the sum.
fn per_connection(table: &str, connections: usize) -> String {
    let rows = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let calls: f64 = fields.get(3)?.parse().ok()?;
        Some((calls / connections as f64, *fields.last()?))
    });
    let mut rows: Vec<(f64, &str)> = rows.filter(|(calls, _)| *calls >= SHOWN).collect();
    rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let words: Vec<String> = rows.iter().map(|(calls, name)| format!("{name} {calls:.2}")).collect();
    words.join(", ")
}

/// Rarer than one in two hundred connections is no cost per connection.
const SHOWN: f64 = 0.005;
