//! Descriptors of this library, and the process-wide table of their numbers.
//!
//! A forked child inherits every descriptor of every `Master` in the process. It must close exactly these: left open
//! they keep a dead worker's socket alive; closing anything else can hit a number that the program has given to a file
//! of its own. So each descriptor enters the table when the library comes to own it and leaves it before it is closed.
//!
//! Race: a number is free for reuse from the moment of `close`, hence out of the table first, closed second.

use std::{
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::libc;

/// A descriptor that is in the table as long as this value lives. `T` is what owns and closes it.
#[derive(Debug)]
pub(crate) struct Owned<T = OwnedFd> {
    // Dropped in this order: out of the table, then closed.
    entry: Entry,
    value: T,
}

impl Owned {
    pub(crate) fn new(fd: impl Into<OwnedFd>) -> Self {
        Self::register(fd.into(), AsFd::as_fd)
    }
}

impl<T> Owned<T> {
    /// For a descriptor whose owner is another type: `register(timer, AsFd::as_fd)`, `register(epoll, |epoll|
    /// epoll.0.as_fd())`. `fd_of` names the one descriptor that `value` owns until it is dropped.
    pub(crate) fn register(value: T, fd_of: impl for<'a> FnOnce(&'a T) -> BorrowedFd<'a>) -> Self {
        let entry = Entry::new(fd_of(&value).as_raw_fd());
        Self { entry, value }
    }

    /// Takes it out of the table; a forked child no longer closes it.
    pub(crate) fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> AsFd for Owned<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `self.value` owns this descriptor (contract of `register`), is borrowed for as long as the result
        // lives, and is never handed out mutably, so it cannot be replaced by another value meanwhile.
        unsafe { BorrowedFd::borrow_raw(self.entry.0) }
    }
}

impl<T> AsRawFd for Owned<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.entry.0
    }
}

/// For the child right after fork: closes every descriptor of the table but these and runs no Drop code; the table then
/// holds what it held of `keep`.
///
/// The values that owned the others still exist in the child's copy of the caller's frames. The child must never drop
/// them, so it ends by [`exit_now`](super::fork::exit_now), not by returning.
pub(crate) fn keep_only(keep: &[RawFd]) {
    let mut table = table();
    let kept = table.iter().copied().filter(|fd| keep.contains(fd)).collect();
    let mut doomed = std::mem::replace(&mut *table, kept);
    doomed.retain(|fd| !keep.contains(fd));
    // Numbers of one cluster mostly follow each other: one call closes a whole run of them.
    doomed.chunk_by(|one, next| *one + 1 == *next).for_each(close_run);
}

/// `run`: consecutive numbers.
fn close_run(run: &[RawFd]) {
    let [first, .., last] = run else { return run.iter().for_each(|&fd| close(fd)) };
    // SAFETY: as for `close`, for every number of the run. The flags are none.
    let result = unsafe { libc::syscall(libc::SYS_close_range, *first, *last, 0) };
    if result != 0 {
        // A kernel before 5.9, or a filter that forbids the call.
        run.iter().for_each(|&fd| close(fd));
    }
}

fn close(fd: RawFd) {
    // SAFETY: the number was in the table, so a value of this library owns it, and this process (the child) uses and
    // drops none of these values but those that are kept. EINTR and EIO leave the number free on Linux: nothing to do
    // about them.
    unsafe { libc::close(fd) };
}

#[derive(Debug)]
struct Entry(RawFd);

impl Entry {
    fn new(fd: RawFd) -> Self {
        let mut table = table();
        if let Err(place) = table.binary_search(&fd) {
            table.insert(place, fd);
        }
        Self(fd)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        table().retain(|fd| *fd != self.0);
    }
}

fn table() -> MutexGuard<'static, Vec<RawFd>> {
    // No call under the lock leaves the set half changed: it is whole even if a thread panicked there.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In ascending order. Never locked at the moment of a fork: only a single-threaded process forks, and nothing forks
/// under the lock.
static TABLE: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::unix::net::UnixStream};

    use super::*;

    fn open() -> File {
        File::open("/dev/null").expect("/dev/null can be opened")
    }

    #[test]
    fn a_descriptor_is_in_the_table_until_it_is_given_away() {
        let owned = Owned::new(open());
        let number = owned.as_raw_fd();
        assert!(table().contains(&number));
        let file = owned.into_inner();
        assert_eq!(file.as_raw_fd(), number);
        assert!(!table().contains(&number));
    }

    #[test]
    fn dropping_closes() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(Owned::register(ours, AsFd::as_fd));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "end of file: the other end is closed");
    }

    #[test]
    fn other_owners_stay_usable() {
        let owned = Owned::register(open(), AsFd::as_fd);
        assert_eq!(owned.as_fd().as_raw_fd(), owned.as_raw_fd());
        assert!(owned.metadata().is_ok());
    }
}
