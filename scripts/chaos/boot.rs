//! How the workers of a slot start, as a file says that they read first: at once, slowly, or not at all.

use std::{fs, path::PathBuf, process, thread, time::Duration};

#[derive(Clone)]
pub(crate) struct Boot {
    file: Option<PathBuf>,
}

impl Boot {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// In a worker of the slot, before it listens. A file that is not there says nothing.
    pub(crate) fn begin(&self, slot: usize) {
        let Some(text) = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok()) else { return };
        let slot = slot.to_string();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match &words[..] {
                [of, "crash"] if *of == slot => process::exit(CODE),
                [of, "slow", millis] if *of == slot => {
                    thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)))
                }
                _other => {}
            }
        }
    }
}

pub(crate) fn crash(slot: u32) -> String {
    format!("{slot} crash\n")
}

pub(crate) fn slow(slot: u32, time: Duration) -> String {
    format!("{slot} slow {}\n", time.as_millis())
}

const CODE: i32 = 5;
