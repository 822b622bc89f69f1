//! Runs cases in parallel and prints what libtest would print.
//!
//! A case is a function that panics when something is wrong. Whatever it started is ended with it (see [`Run`]).

mod arguments;
mod bench;
mod client;
mod fact;
mod fixture;
mod outputs;
mod procfs;
mod run;

use std::{
    cell::RefCell,
    panic,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use crossbeam_channel::Sender;
use nix::{sys::prctl, unistd::Pid};

pub(crate) use self::{
    bench::{Bench, free_port},
    client::Client,
    fact::Fact,
    fixture::{become_unprivileged, compared, descriptors, follow_the_harness, log_to, restrict_low_ports, state},
    procfs::{children, context_switches, listening_sockets, open_descriptors},
    run::Run,
};
use arguments::Arguments;

/// One case: its name is `theme::what_is_shown`.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Bench),
}

/// Lists the cases of a theme: `cases!("stop": term_drains, int_drains);` makes `CASES`.
macro_rules! cases {
    ($theme:literal: $($name:ident),+ $(,)?) => {
        pub(crate) const CASES: &[crate::harness::Case] =
            &[$(crate::harness::Case { name: concat!($theme, "::", stringify!($name)), run: $name }),+];
    };
}
pub(crate) use cases;

/// How a case ended.
enum Verdict {
    Passed,
    Failed(String),
    /// This machine cannot show it; the reason.
    Ignored(String),
}

/// What [`Bench::cannot`] panics with.
struct Cannot(String);

/// Runs the cases that the command line asks for; `closing` is called with the number of those that passed.
pub(crate) fn main(cases: &[Case], closing: impl FnOnce(usize)) -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    let wanted: Vec<(usize, Case)> =
        cases.iter().copied().enumerate().filter(|(_, case)| arguments.wants(case.name)).collect();
    if arguments.list {
        wanted.iter().for_each(|(_, case)| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    // What a fixture leaves behind becomes a child of the harness, which can then say so.
    prctl::set_child_subreaper(true).expect("Linux has had subreapers since 3.4");
    panic::set_hook(Box::new(|panic| note(&panic.to_string())));
    let begun = Instant::now();
    println!("\nrunning {} test{}", wanted.len(), if wanted.len() == 1 { "" } else { "s" });
    let verdicts = run_all(&wanted, &arguments);
    closing(verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Passed)).count());
    summary(&verdicts, cases.len() - wanted.len(), begun)
}

fn run_all(wanted: &[(usize, Case)], arguments: &Arguments) -> Vec<(&'static str, Verdict)> {
    let next = AtomicUsize::new(0);
    let (done, finished) = crossbeam_channel::unbounded();
    thread::scope(|scope| {
        for _ in 0..arguments.threads.min(wanted.len()) {
            let done = done.clone();
            scope.spawn(|| work(wanted, &next, done));
        }
        drop(done);
        let mut verdicts = Vec::new();
        for (name, verdict) in finished {
            print_line(name, &verdict, arguments.quiet);
            verdicts.push((name, verdict));
        }
        verdicts
    })
}

fn work(wanted: &[(usize, Case)], next: &AtomicUsize, done: Sender<(&'static str, Verdict)>) {
    while let Some((number, case)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
        let bench = Bench::new(*number);
        NOTES.take();
        let verdict = match panic::catch_unwind(|| (case.run)(&bench)) {
            Ok(()) => Verdict::Passed,
            Err(panic) => match panic.downcast::<Cannot>() {
                Ok(cannot) => Verdict::Ignored(cannot.0),
                Err(_) => Verdict::Failed(NOTES.take()),
            },
        };
        done.send((case.name, verdict)).expect("the main thread receives until all workers are gone");
    }
}

fn print_line(name: &str, verdict: &Verdict, quiet: bool) {
    match verdict {
        Verdict::Passed if quiet => {}
        Verdict::Passed => println!("test {name} ... ok"),
        Verdict::Failed(_) => println!("test {name} ... FAILED"),
        Verdict::Ignored(why) => println!("test {name} ... ignored, {why}"),
    }
}

fn summary(verdicts: &[(&str, Verdict)], filtered: usize, begun: Instant) -> ExitCode {
    let (mut passed, mut ignored, mut failed) = (0, 0, Vec::new());
    for (name, verdict) in verdicts {
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::Ignored(_) => ignored += 1,
            Verdict::Failed(notes) => failed.push((name, notes)),
        }
    }
    if !failed.is_empty() {
        println!("\nfailures:\n");
        failed.iter().for_each(|(name, notes)| println!("---- {name} ----\n{notes}"));
        println!("\nfailures:");
        failed.iter().for_each(|(name, _)| println!("    {name}"));
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {filtered} filtered out; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// A process id as nix takes it; std has it without a sign.
pub(crate) fn pid_of(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).expect("Linux has at most 4 194 304 processes"))
}

/// Adds to what is printed if the case of this thread fails.
fn note(text: &str) {
    NOTES.with_borrow_mut(|notes| {
        notes.push_str(text);
        notes.push('\n');
    });
}

thread_local! {
    static NOTES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Set in the environment of a fixture.
pub(crate) const FIXTURE: &str = "MIO_CLUSTER_FIXTURE";
