//! Descriptors of this library, and the process-wide table of their numbers.
//!
//! A forked child inherits every descriptor of every `Master` in the process. It must close exactly these: left open
//! they keep a dead worker's socket alive; closing anything else can hit a number that the program has given to a file
//! of its own. So each descriptor enters the table when the library comes to own it and leaves it before it is closed.
//!
//! None of them has the number of stdin, stdout or stderr, also in a program that has closed these and prints and logs
//! on: its text would be counted by an eventfd, taken for a packet by a worker, or written over the scoreboard.
//!
//! Race: a number is free for reuse from the moment of `close`, hence out of the table first, closed second.

use std::{
    fs, io,
    mem::{self, ManuallyDrop},
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};

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
        Self::register(above_stdio(fd.into()), AsFd::as_fd)
    }
}

impl<T> Owned<T> {
    /// For a descriptor whose owner is another type: `make(|| TimerFd::new(…), AsFd::as_fd)`, `make(|| Epoll::new(…),
    /// |epoll| epoll.0.as_fd())`. `fd_of` names the one descriptor that a value owns until it is dropped.
    pub(crate) fn make<E>(
        make: impl FnMut() -> Result<T, E>,
        fd_of: impl for<'a> Fn(&'a T) -> BorrowedFd<'a>,
    ) -> Result<Self, E> {
        Ok(Self::register(make_above_stdio(make, &fd_of)?, fd_of))
    }

    /// As [`make`](Self::make), for one that has a number above 2 because another `Owned` had it.
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

/// Makes another one until its number is above 2; the others keep theirs taken meanwhile.
fn make_above_stdio<T, E>(
    mut make: impl FnMut() -> Result<T, E>,
    fd_of: impl for<'a> Fn(&'a T) -> BorrowedFd<'a>,
) -> Result<T, E> {
    let mut low = Vec::new();
    loop {
        let value = make()?;
        if fd_of(&value).as_raw_fd() >= FIRST_AFTER_STDIO {
            return Ok(value);
        }
        low.push(value);
    }
}

/// The same descriptor under a number above 2. Without room for a moment it stays what it is.
fn above_stdio(fd: OwnedFd) -> OwnedFd {
    if fd.as_raw_fd() >= FIRST_AFTER_STDIO {
        return fd;
    }
    match fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_AFTER_STDIO)) {
        // SAFETY: the kernel has just made this number, and nobody else knows it.
        Ok(higher) => unsafe { OwnedFd::from_raw_fd(higher) },
        Err(_) => fd,
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

/// For the child after [`keep_only`]: closes what is left of its parent's program, that is every descriptor but 0, 1, 2
/// and `keep`. Runs no Drop code. The values of the program that own those numbers must not be used or dropped in this
/// process: whoever asks for this has been told so.
///
/// **Errors**: the kernel refuses close_range, and /proc/thread-self/fd, to close one by one, cannot be read either.
pub(crate) fn close_inherited(keep: &[RawFd]) -> io::Result<()> {
    if gaps(keep).into_iter().all(|(first, last)| close_range(first, last)) {
        return Ok(());
    }
    open_numbers()?.into_iter().filter(|fd| *fd >= FIRST_AFTER_STDIO && !keep.contains(fd)).for_each(close);
    Ok(())
}

/// First and last of every run of numbers above 2 that are not in `keep`.
fn gaps(keep: &[RawFd]) -> Vec<(RawFd, RawFd)> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= FIRST_AFTER_STDIO).collect();
    keep.sort_unstable();
    let firsts = std::iter::once(FIRST_AFTER_STDIO).chain(keep.iter().map(|fd| fd + 1));
    let lasts = keep.iter().map(|fd| fd - 1).chain(std::iter::once(RawFd::MAX));
    firsts.zip(lasts).filter(|(first, last)| first <= last).collect()
}

/// All that are open, and the one that read the list, which is closed by now.
fn open_numbers() -> io::Result<Vec<RawFd>> {
    let names = fs::read_dir("/proc/thread-self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

/// `run`: consecutive numbers.
fn close_run(run: &[RawFd]) {
    match run {
        [first, .., last] if close_range(*first, *last) => {}
        each => each.iter().for_each(|&fd| close(fd)),
    }
}

/// From the first to the last, whether they are open or not. False: a kernel before 5.9, or a filter that forbids the
/// call; nothing is closed then.
fn close_range(first: RawFd, last: RawFd) -> bool {
    // SAFETY: as for `close`, for every number of the range. The flags are none.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

fn close(fd: RawFd) {
    // SAFETY: from `keep_only`: the number was in the table, so a value of this library owned it; that value is a husk
    // now and never closes it. From `close_inherited`: whatever owns the number is a value of the program, which has
    // promised to own none in a worker. EINTR and EIO leave the number free on Linux: nothing to do about them.
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

/// 0, 1 and 2 are stdin, stdout and stderr, and belong to the program.
const FIRST_AFTER_STDIO: RawFd = 3;

#[cfg(test)]
mod tests;
