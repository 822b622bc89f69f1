//! What a worker is called in `ps` and `top`.

use std::{ffi::CString, io};

use nix::sys::prctl;

use super::boot::TARGET;
use crate::id::{Slot, WorkerId};

/// Names the calling thread, and all that it starts from now on, after the slot. If that fails, a line in the log says
/// so.
pub(super) fn take_name(slot: Slot, id: WorkerId) {
    if let Err(error) = rename(slot) {
        log::debug!(target: TARGET, "worker {id} (slot {slot}) keeps the name of the program: {error}");
    }
}

/// `w0 server`. The kernel cuts a name after 15 bytes.
fn rename(slot: Slot) -> io::Result<()> {
    let program = prctl::get_name()?;
    let name = [format!("w{slot} ").as_bytes(), program.as_bytes()].concat();
    Ok(prctl::set_name(&CString::new(name)?)?)
}

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
