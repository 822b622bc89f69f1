//! What a release is worth: whether its workers work, as a file says that the master of `serve.rs` reads at SIGHUP.

use std::{cell::Cell, fs, path::PathBuf, process, rc::Rc, thread, time::Duration};

use mio_cluster::Worker;

#[derive(Clone)]
pub(crate) struct Release {
    file: Option<PathBuf>,
    worth: Rc<Cell<Worth>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    Works,
    Fails,
    NeverReady,
    /// Before it has accepted anybody: what a dead process had accepted is gone.
    DiesWhenReady,
    /// No release at all: the master is told at once.
    Unreadable,
}

impl Worth {
    pub(crate) const BAD: [Self; 4] = [Self::Fails, Self::NeverReady, Self::DiesWhenReady, Self::Unreadable];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Fails => "fails",
            Self::NeverReady => "never ready",
            Self::DiesWhenReady => "dies when ready",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Release {
    /// One that works, and then what the file says.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file, worth: Rc::new(Cell::new(Worth::Works)) }
    }

    pub(crate) fn read(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let known = [Worth::Works, Worth::Fails, Worth::NeverReady, Worth::DiesWhenReady];
        let worth = known.into_iter().find(|worth| worth.word() == text);
        self.worth.set(worth.ok_or_else(|| format!("{}: no release is called {text}", file.display()))?);
        Ok(())
    }

    /// Returns if it works.
    pub(crate) fn begin(&self, worker: &mut Worker) -> mio_cluster::Result<()> {
        match self.worth.get() {
            Worth::Works | Worth::Unreadable => Ok(()),
            Worth::Fails => process::exit(3),
            Worth::NeverReady => loop {
                thread::sleep(Duration::from_secs(3600));
            },
            Worth::DiesWhenReady => {
                let _door = worker.listen()?;
                process::exit(4)
            }
        }
    }
}
