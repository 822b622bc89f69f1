//! A line that a fixture printed: an event as JSON, or words.

use std::{collections::HashMap, fmt, str::FromStr};

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fact(pub(super) String);

impl Fact {
    /// The kind of the event; the first word of other lines.
    pub(crate) fn name(&self) -> &str {
        match self.0.strip_prefix("{\"event\":\"") {
            Some(rest) => rest.split('"').next().unwrap_or_default(),
            None => self.0.split(' ').next().unwrap_or_default(),
        }
    }

    /// The words behind the first.
    pub(crate) fn rest(&self) -> &str {
        self.0.split_once(' ').map_or("", |(_, rest)| rest)
    }

    /// A field of an event, without quotes.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        let rest = self.0.split_once(&format!("\"{key}\":"))?.1;
        match rest.strip_prefix('"') {
            // Good enough for our own texts: an escaped quote ends the value early.
            Some(text) => text.split('"').next(),
            None => rest.split([',', '}']).next(),
        }
    }

    pub(crate) fn get<T: FromStr>(&self, key: &str) -> T {
        let value = self.field(key).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{self:?} has no proper {key:?}"))
    }

    /// Code, signal and cause of an exit, such as `code 0, asked` or `signal 9, own`.
    pub(crate) fn how(&self) -> String {
        let cause: String = self.get("cause");
        match (self.field("code"), self.field("signal")) {
            (Some("null"), Some("null")) => format!("unknown, {cause}"),
            (Some("null"), Some(signal)) => format!("signal {signal}, {cause}"),
            (Some(code), _) => format!("code {code}, {cause}"),
            (None, _) => panic!("{self:?} is no exit"),
        }
    }
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The documented order of every worker's events. The clusters of a program each end with a `result`, and then the
/// last two are there. A program without a master forks nobody.
pub(super) fn check_order(facts: &[Fact]) {
    let clusters = facts.split(|fact| fact.name() == "result");
    let ended = clusters.clone().count() - 1;
    clusters.enumerate().for_each(|(number, facts)| check_cluster(facts, number < ended));
}

fn check_cluster(facts: &[Fact], complete: bool) {
    if facts.iter().all(|fact| fact.name() != "fork") {
        return;
    }
    let mut workers: HashMap<u64, Vec<usize>> = HashMap::new();
    for fact in facts {
        let Some(rank) = ORDER.iter().position(|name| *name == fact.name()) else { continue };
        workers.entry(fact.get("id")).or_default().push(rank);
    }
    for (id, ranks) in workers {
        let names: Vec<&str> = ranks.iter().map(|rank| ORDER[*rank]).collect();
        let rising = ranks.windows(2).all(|pair| pair[0] < pair[1] || pair == LISTENING || pair == LATE);
        let ends = ranks.iter().filter(|rank| ORDER[**rank] == "exit" || ORDER[**rank] == "disconnect").count();
        assert!(rising && ranks[0] == 0, "worker {id} has its events out of order: {names:?}");
        assert!(!complete || ends == 2, "worker {id} has no end: {names:?}");
    }
}

const ORDER: [&str; 6] = ["fork", "online", "listening", "ready", "disconnect", "exit"];
/// On several addresses.
const LISTENING: [usize; 2] = [2, 2];
/// On one that was added.
const LATE: [usize; 2] = [3, 2];
