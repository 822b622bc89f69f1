//! A set of durations, and what a table says of them.

use std::{fmt, time::Duration};

pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// **Errors**: there is nothing to say about no duration.
    pub(crate) fn new(mut times: Vec<Duration>) -> Result<Self, &'static str> {
        times.sort_unstable();
        if times.is_empty() { Err("nothing was measured") } else { Ok(Self(times)) }
    }

    pub(crate) fn median(&self) -> Duration {
        self.rank(50)
    }

    pub(crate) fn max(&self) -> Duration {
        self.rank(100)
    }

    /// The nearest rank: the smallest of them that `percent` % do not exceed.
    fn rank(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100).max(1) - 1]
    }
}

/// In milliseconds.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median {}", millis(self.median()))?;
        if self.0.len() >= 100 {
            write!(f, ", p99 {}", millis(self.rank(99)))?;
        }
        write!(f, ", max {} of {}", millis(self.max()), self.0.len())
    }
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
