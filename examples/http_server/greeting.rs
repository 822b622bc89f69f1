//! What `/` answers, and where it comes from.
//!
//! The master reads the file, at the start and at SIGHUP; each worker finds what was read last at its fork. A file that
//! cannot be read, or is no greeting, changes nothing.

use std::{cell::RefCell, fs, path::PathBuf, rc::Rc};

#[derive(Clone)]
pub(crate) struct Greeting {
    file: Option<PathBuf>,
    text: Rc<RefCell<String>>,
}

impl Greeting {
    pub(crate) fn new(file: Option<PathBuf>) -> Result<Self, String> {
        let greeting = Self { file, text: Rc::new(RefCell::new("Hello, World!".to_owned())) };
        greeting.read().map(|()| greeting)
    }

    /// Anew, if it comes from a file.
    pub(crate) fn read(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        match text.trim_end() {
            "" => Err(format!("{}: an empty file greets nobody", file.display())),
            long if long.len() > LONGEST => {
                Err(format!("{}: {} bytes, at most {LONGEST} are a greeting", file.display(), long.len()))
            }
            text => {
                text.clone_into(&mut self.text.borrow_mut());
                Ok(())
            }
        }
    }

    /// For the rest of the process.
    pub(crate) fn text(&self) -> &'static [u8] {
        self.text.take().leak().as_bytes()
    }
}

/// It goes out with every answer.
const LONGEST: usize = 4096;
