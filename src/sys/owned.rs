//! Descriptors of this library, and the process-wide table of their numbers.
//!
//! A forked child inherits every descriptor of every `Master` in the process. It must close exactly these: left open
//! they keep a dead worker's socket alive; closing anything else can hit a number that the program has given to a file
//! of its own. So each descriptor enters the table when the library comes to own it and leaves it before it is closed.
//!
//! Race: a number is free for reuse from the moment of `close`, hence out of the table first, closed second.

use std::{
    mem::{self, ManuallyDrop},
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::libc;

/// A descriptor that is in the table as long as this value lives. `T` is what owns and closes it.
///
/// In a forked child that closed it by [`keep_only`] the value is a husk: dropping it does nothing, for the number may
/// belong to somebody else by now. Whoever uses one that may have crossed a fork asks [`is_ours`](Self::is_ours) first.
#[derive(Debug)]
pub(crate) struct Owned<T = OwnedFd> {
    entry: Entry,
    value: ManuallyDrop<T>,
}

/// One line of the table. The serial number tells a descriptor from a later one of the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    fd: RawFd,
    serial: u64,
    generation: u32,
}

/// In ascending order of the numbers.
struct Table {
    entries: Vec<Entry>,
    last_serial: u64,
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
        let entry = table().enter(fd_of(&value).as_raw_fd());
        Self { entry, value: ManuallyDrop::new(value) }
    }

    /// Takes it out of the table; a forked child no longer closes it.
    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        table().leave(this.entry);
        // SAFETY: `this` is never dropped and not used again, so the value is taken once.
        unsafe { ManuallyDrop::take(&mut this.value) }
    }

    /// False in a child that was forked since, for what it did not keep. One relaxed load.
    pub(crate) fn is_ours(&self) -> bool {
        self.entry.generation == GENERATION.load(Ordering::Relaxed) || table().holds(self.entry)
    }
}

impl<T> Drop for Owned<T> {
    /// Out of the table first, closed second: a number is free for reuse from the moment of `close`.
    fn drop(&mut self) {
        if table().leave(self.entry) {
            // SAFETY: a value is dropped once, and `into_inner` forgets the one whose value it takes.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
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
        // lives, and is never handed out mutably, so it cannot be replaced by another value meanwhile. A husk must not
        // be asked.
        unsafe { BorrowedFd::borrow_raw(self.entry.fd) }
    }
}

impl<T> AsRawFd for Owned<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.entry.fd
    }
}

impl Table {
    fn enter(&mut self, fd: RawFd) -> Entry {
        self.last_serial += 1;
        let entry = Entry { fd, serial: self.last_serial, generation: GENERATION.load(Ordering::Relaxed) };
        match self.entries.binary_search_by_key(&fd, |entry| entry.fd) {
            // A number can only be free if whoever had it is gone.
            Ok(place) => self.entries[place] = entry,
            Err(place) => self.entries.insert(place, entry),
        }
        entry
    }

    fn holds(&self, entry: Entry) -> bool {
        self.entries.binary_search_by_key(&entry.fd, |entry| entry.fd).is_ok_and(|place| self.entries[place] == entry)
    }

    /// True if it was there.
    fn leave(&mut self, entry: Entry) -> bool {
        let held = self.holds(entry);
        self.entries.retain(|other| *other != entry);
        held
    }
}

/// For the child right after fork: closes every descriptor of the table but these and runs no Drop code; the table then
/// holds what it held of `keep`.
pub(crate) fn keep_only(keep: &[RawFd]) {
    let mut table = table();
    let kept = table.entries.iter().copied().filter(|entry| keep.contains(&entry.fd)).collect();
    let doomed = mem::replace(&mut table.entries, kept);
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let doomed: Vec<RawFd> = doomed.iter().map(|entry| entry.fd).filter(|fd| !keep.contains(fd)).collect();
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
    // SAFETY: the number was in the table, so a value of this library owned it; that value is a husk now and never
    // closes it. EINTR and EIO leave the number free on Linux: nothing to do about them.
    unsafe { libc::close(fd) };
}

fn table() -> MutexGuard<'static, Table> {
    // No call under the lock leaves the table half changed: it is whole even if a thread panicked there.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Never locked at the moment of a fork: only a single-threaded process forks, and nothing forks under the lock.
static TABLE: Mutex<Table> = Mutex::new(Table { entries: Vec::new(), last_serial: 0 });

/// How often this process, or one that it descends from, was a child that closed descriptors.
static GENERATION: AtomicU32 = AtomicU32::new(0);

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
        assert!(table().entries.iter().any(|entry| entry.fd == number));
        let file = owned.into_inner();
        assert_eq!(file.as_raw_fd(), number);
        assert!(table().entries.iter().all(|entry| entry.fd != number));
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

    #[test]
    fn a_husk_closes_nothing() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let owned = Owned::register(ours, AsFd::as_fd);
        assert!(owned.is_ours());
        // What `keep_only` does in a child, for this one descriptor: later ones of its number are others.
        table().leave(owned.entry);
        let later = table().enter(owned.as_raw_fd());
        let raw = owned.as_raw_fd();
        drop(owned);
        assert!(table().leave(later), "the later owner keeps its line");
        theirs.set_nonblocking(true).unwrap();
        assert!(theirs.read(&mut [0]).is_err(), "descriptor {raw} is still open");
        close(raw);
    }
}
