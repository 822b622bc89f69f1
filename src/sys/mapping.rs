//! Shared memory: pages of atomics that a master and its workers see at once.
//!
//! A memfd, so that an exec'd process can map it too; sealed, so that no holder of it can shrink it and make a reader
//! die of SIGBUS.
//!
//! A forked child has every mapping of its parent. What it has no business to write it makes read-only
//! ([`Mapping::keep_writable`]), by a table of all mappings of the process: whatever goes wrong in it then leaves no
//! false numbers about others.

use std::{
    io,
    num::NonZeroUsize,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    slice,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, mprotect, munmap},
    },
    unistd::{SysconfVar, ftruncate, sysconf},
};

use super::owned::Owned;

/// Some pages, zero at first. A forked child has it at the same address; dropping it unmaps it in this process only.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: Memory,
    page_words: usize,
    memfd: Owned,
}

/// What is mapped, in whole pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Memory {
    base: NonNull<AtomicU64>,
    bytes: NonZeroUsize,
}

/// One line of the process-wide table.
struct Entry {
    memory: Memory,
    /// The program of this process has references to pages of it, which it may carry into children.
    lent: bool,
}

impl Mapping {
    pub(crate) fn new(pages: usize) -> io::Result<Self> {
        let page_words = page_words()?;
        let bytes = pages.checked_mul(page_words * size_of::<AtomicU64>()).and_then(NonZeroUsize::new);
        let bytes = bytes.ok_or(Errno::EINVAL)?;
        let memfd = Owned::new(memfd_create(c"mio-cluster", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        ftruncate(&memfd, libc::off_t::try_from(bytes.get()).map_err(|_| Errno::EINVAL)?)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals))?;
        // SAFETY: a new mapping at an address of the kernel's choice replaces no memory that is in use.
        let base = unsafe {
            mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &memfd, 0)
        }?;
        let memory = Memory { base: base.cast(), bytes };
        table().push(Entry { memory, lent: false });
        Ok(Self { memory, page_words, memfd })
    }

    /// Panics like a slice if there are no such pages.
    pub(crate) fn pages(&self, pages: Range<usize>) -> &[AtomicU64] {
        let words = self.memory.words();
        &words[pages.start * self.page_words..pages.end * self.page_words]
    }

    /// For the child right after fork: of this mapping it can write from now on only `ours`, in ascending order, and
    /// nothing of the parent's others. A store elsewhere ends the process by SIGSEGV; reading works as before.
    ///
    /// Mappings that the parent had lent are left as they are: a reference that the program carried here must not
    /// fault.
    pub(crate) fn keep_writable(&self, ours: &[Range<usize>]) -> io::Result<()> {
        for entry in table().iter_mut().filter(|entry| !entry.lent) {
            if entry.memory == self.memory {
                entry.lent = true;
                self.protect_all_but(ours)?;
            } else {
                protect(entry.memory.words())?;
            }
        }
        Ok(())
    }

    /// For a mapping that only the program of this process writes: children may go on doing so.
    pub(crate) fn lend(&self) {
        table().iter_mut().filter(|entry| entry.memory == self.memory).for_each(|entry| entry.lent = true);
    }

    fn protect_all_but(&self, ours: &[Range<usize>]) -> io::Result<()> {
        let pages = self.memory.words().len() / self.page_words;
        let starts = [0].into_iter().chain(ours.iter().map(|range| range.end));
        let ends = ours.iter().map(|range| range.start).chain([pages]);
        starts.zip(ends).try_for_each(|(start, end)| protect(self.pages(start..end)))
    }
}

impl Memory {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `base` is page-aligned and mapped for `bytes` as long as its `Mapping` lives, which has this value or
        // lent it to the table until it is dropped; the seals keep the file at that size. Any bits are a valid
        // AtomicU64, and the only view of the memory in any process is as atomics.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.bytes.get() / size_of::<AtomicU64>()) }
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

impl Drop for Mapping {
    /// Out of the table first: the addresses are free for reuse from the moment of `munmap`.
    fn drop(&mut self) {
        table().retain(|entry| entry.memory != self.memory);
        // SAFETY: exactly what `new` mapped, unmapped once; every slice of it borrows `self`, or the table's entry
        // while that was locked.
        let _ = unsafe { munmap(self.memory.base.cast(), self.memory.bytes.get()) };
    }
}

// SAFETY: the memory belongs to the process, not to a thread; it may be unmapped by any.
unsafe impl Send for Memory {}
// SAFETY: a shared `Memory` gives out nothing but atomics.
unsafe impl Sync for Memory {}

/// How many words there are in a page.
pub(crate) fn page_words() -> io::Result<usize> {
    Ok(page_bytes()? / size_of::<AtomicU64>())
}

pub(super) fn page_bytes() -> io::Result<usize> {
    let bytes = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok());
    Ok(bytes.ok_or(Errno::EINVAL)?)
}

/// Makes whole pages read-only.
fn protect(pages: &[AtomicU64]) -> io::Result<()> {
    if pages.is_empty() {
        return Ok(());
    }
    let bytes = size_of_val(pages);
    // SAFETY: the slice is whole pages of a live mapping, and they stay readable. No store goes there afterwards: in
    // the child of a fork nobody but this library has references to them, which it stores through only for the seats
    // and doors of the child itself.
    Ok(unsafe { mprotect(NonNull::from(pages).cast(), bytes, ProtFlags::PROT_READ) }?)
}

fn table() -> MutexGuard<'static, Vec<Entry>> {
    // Every statement under the lock leaves the table whole.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All mappings of this process. Never locked at the moment of a fork: only a single-threaded process forks, and
/// nothing forks under the lock.
static TABLE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::FileExt,
        panic,
        sync::atomic::Ordering,
    };

    use super::*;

    #[test]
    fn pages_are_apart_and_shared_through_the_memfd() {
        let mapping = Mapping::new(3).unwrap();
        mapping.pages(1..2)[0].store(7, Ordering::Relaxed);
        mapping.pages(1..3).last().unwrap().store(8, Ordering::Relaxed);
        assert!(mapping.pages(0..1).iter().all(|word| word.load(Ordering::Relaxed) == 0));

        let file = File::from(mapping.as_fd().try_clone_to_owned().unwrap());
        let mut word = [0; 8];
        file.read_exact_at(&mut word, mapping.page_words as u64 * 8).unwrap();
        assert_eq!(u64::from_ne_bytes(word), 7);
        file.read_exact_at(&mut word, mapping.memory.bytes.get() as u64 - 8).unwrap();
        assert_eq!(u64::from_ne_bytes(word), 8);
    }

    #[test]
    fn nobody_can_change_the_size() {
        let mapping = Mapping::new(1).unwrap();
        assert_eq!(ftruncate(&mapping, 0), Err(Errno::EPERM));
        assert_eq!(ftruncate(&mapping, 1 << 20), Err(Errno::EPERM));
    }

    #[test]
    fn sizes_and_indexes_are_checked() {
        assert_eq!(Mapping::new(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(Mapping::new(usize::MAX).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let mapping = Mapping::new(1).unwrap();
        assert!(panic::catch_unwind(|| mapping.pages(0..2).len()).is_err());
    }

    #[test]
    fn all_but_some_pages_become_read_only() {
        let mapping = Mapping::new(6).unwrap();
        mapping.protect_all_but(&[1..2, 4..6]).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let rights = |page: usize| {
            let at = mapping.pages(page..page + 1).as_ptr().addr();
            let line = maps.lines().find(|line| {
                let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
                (start..end).contains(&at)
            });
            line.unwrap().split(' ').nth(1).unwrap()
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(rights), ["r--s", "rw-s", "r--s", "r--s", "rw-s", "rw-s"]);
        mapping.pages(4..6).iter().for_each(|word| word.store(1, Ordering::Relaxed));
        assert!(mapping.pages(2..4).iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}
