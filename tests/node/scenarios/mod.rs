//! The scenarios, by theme. Each is a program of its own: a primary, its workers, often its clients, and what it
//! asserts.

mod beyond;
mod disconnect;
mod identity;
mod lifecycle;
mod listen;
mod messages;
mod secrets;
mod sockets;
mod ties;
mod unix;

use std::process::ExitCode;

use env_logger::Target;

use crate::{
    harness::{self, Bench, Case},
    stage::Place,
};

/// One of Node's tests as a program of this library's.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    name: &'static str,
    /// What the harness does and sees.
    case: Case,
    /// What happens in a process of its own.
    program: fn(&Place),
}

/// Lists the scenarios of a theme. `warns ["text"]`: the log must hold a warning with this text, else there is none.
/// `seen by f`: `f` starts the program and says what is to be seen from outside; otherwise it has to end well.
macro_rules! scenarios {
    ($theme:literal: $($name:ident $(warns [$($warning:literal),+])? $(seen by $case:path)?),+ $(,)?) => {
        pub(crate) const SCENARIOS: &[super::Scenario] = &[$(super::Scenario {
            name: stringify!($name),
            case: crate::harness::Case {
                name: concat!($theme, "::", stringify!($name)),
                run: super::case_of!($name $(warns [$($warning),+])? $(seen by $case)?),
            },
            program: $name,
        }),+];
    };
}
use scenarios;

macro_rules! case_of {
    ($name:ident seen by $case:path) => {
        $case
    };
    ($name:ident $(warns [$($warning:literal),+])?) => {
        |bench| super::play(bench, stringify!($name), &[$($($warning),+)?])
    };
}
use case_of;

pub(crate) fn all() -> Vec<Scenario> {
    [
        identity::SCENARIOS,
        lifecycle::SCENARIOS,
        disconnect::SCENARIOS,
        ties::SCENARIOS,
        listen::SCENARIOS,
        sockets::SCENARIOS,
        messages::SCENARIOS,
        unix::SCENARIOS,
        secrets::SCENARIOS,
        beyond::SCENARIOS,
    ]
    .concat()
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    all().into_iter().map(|scenario| scenario.name)
}

pub(crate) fn cases() -> Vec<Case> {
    all().into_iter().map(|scenario| scenario.case).collect()
}

/// The fixture: the program of a scenario.
pub(crate) fn program(words: &[String]) -> ExitCode {
    let [name, ip, rest @ ..] = words else { panic!("a scenario and an IP address") };
    let scenario = all().into_iter().find(|scenario| scenario.name == name).expect("a scenario of this name");
    harness::follow_the_harness();
    harness::log_to(Target::Stderr);
    let place = Place(ip.parse().unwrap(), rest.first().map(|at| at.parse().unwrap()));
    harness::compared(|| {
        (scenario.program)(&place);
        ExitCode::SUCCESS
    })
}

fn play(bench: &Bench, name: &str, warnings: &[&str]) {
    let mut run = bench.start(&format!("{name} @"));
    warnings.iter().for_each(|warning| run.expect(warning));
    run.end_with(0);
    if let Some(why) = run.all("impossible").first() {
        bench.cannot(why.rest());
    }
}
