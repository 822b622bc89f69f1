//! The command line of a libtest binary, as far as cargo and people use it.

use std::{env, num::NonZeroUsize, thread::available_parallelism};

pub(super) struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    /// `--ignored`: only the cases that are off by default; there are none.
    only_ignored: bool,
    pub(super) list: bool,
    pub(super) quiet: bool,
    pub(super) threads: usize,
}

impl Arguments {
    pub(super) fn parse() -> Result<Self, String> {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        let (filters, skip) = (Vec::new(), Vec::new());
        let mut this = Self { filters, skip, exact: false, only_ignored: false, list: false, quiet: false, threads };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let (option, joined) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
                _ => (&*word, None),
            };
            let mut value = || joined.clone().or_else(|| words.next()).ok_or(format!("{option} needs a value"));
            match option {
                "--list" => this.list = true,
                "--exact" => this.exact = true,
                "--quiet" | "-q" => this.quiet = true,
                "--ignored" => this.only_ignored = true,
                "--skip" => this.skip.push(value()?),
                "--test-threads" => {
                    let threads: Result<NonZeroUsize, _> = value()?.parse();
                    this.threads = threads.map_err(|_| "--test-threads needs a number above 0")?.get();
                }
                // A case prints nothing itself, and what its fixtures print is shown if it fails.
                "--nocapture" | "--no-capture" | "--show-output" | "--include-ignored" | "--test" => {}
                "--color" | "--format" | "-Z" => drop(value()?),
                option if option.starts_with('-') => return Err(format!("unknown option {option}")),
                filter => this.filters.push(filter.to_owned()),
            }
        }
        Ok(this)
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        let matches = |pattern: &String| if self.exact { name == pattern } else { name.contains(&**pattern) };
        let chosen = self.filters.is_empty() || self.filters.iter().any(matches);
        chosen && !self.only_ignored && !self.skip.iter().any(matches)
    }
}
