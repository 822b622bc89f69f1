//! What the rest of the system sees of a worker: its name, and its turn when memory runs out.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
};

use nix::sys::prctl;

use super::boot::TARGET;
use crate::id::{Slot, WorkerId};

/// Names the calling thread, and all that it starts from now on, after the slot, and lets the kernel end this process
/// before its master. Neither is needed: what fails is told in the log only.
pub(super) fn take(slot: Slot, id: WorkerId) {
    if let Err(error) = rename(slot) {
        log::debug!(target: TARGET, "worker {id} (slot {slot}) keeps the name of the program: {error}");
    }
    if let Err(error) = go_first() {
        log::debug!(target: TARGET, "worker {id} (slot {slot}) keeps the oom_score_adj of its master: {error}");
    }
}

/// `w0 server`. The kernel cuts a name after 15 bytes.
fn rename(slot: Slot) -> io::Result<()> {
    let program = prctl::get_name()?;
    let name = [format!("w{slot} ").as_bytes(), program.as_bytes()].concat();
    Ok(prctl::set_name(&CString::new(name)?)?)
}

/// A master that the kernel kills takes all workers along; one worker is replaced.
fn go_first() -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open("/proc/self/oom_score_adj")?;
    let mut text = [0; 8];
    let length = file.read(&mut text)?;
    let master = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let master = master.ok_or(io::ErrorKind::InvalidData)?;
    file.write_all((master + SOONER).min(MOST).to_string().as_bytes())
}

/// Of 1000, which stand for all memory: a worker counts as if it used a tenth of the machine's (or of the control
/// group's limit) more than it does. A master that uses more than that beyond its workers is the one to end.
const SOONER: i32 = 100;

/// The kernel's.
const MOST: i32 = 1000;

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn a_thread_is_named_after_its_slot() {
        // One of its own, as others of this process keep theirs.
        let named = |slot: usize| {
            let renamed = move || {
                rename(Slot::from_index(slot)).unwrap();
                fs::read_to_string("/proc/thread-self/comm").unwrap()
            };
            thread::Builder::new().name("a long program".to_owned()).spawn(renamed).unwrap().join().unwrap()
        };
        assert_eq!(named(0), "w0 a long progr\n");
        assert_eq!(named(1234), "w1234 a long pr\n");
    }
}
