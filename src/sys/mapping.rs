//! Shared memory: pages of atomics that a master and its workers see at once.
//!
//! A memfd, so that an exec'd process can map it too; sealed, so that no holder of it can shrink it and make a reader
//! die of SIGBUS.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    slice,
    sync::atomic::AtomicU64,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
    },
    unistd::{SysconfVar, ftruncate, sysconf},
};

use super::owned::Owned;

/// `pages` pages, zero at first. A forked child has it at the same address; dropping it unmaps it in this process only.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<AtomicU64>,
    bytes: NonZeroUsize,
    page_bytes: usize,
    memfd: Owned,
}

impl Mapping {
    pub(crate) fn new(pages: usize) -> io::Result<Self> {
        let page_bytes =
            sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok()).ok_or(Errno::EINVAL)?;
        let bytes = pages.checked_mul(page_bytes).and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let memfd = Owned::new(memfd_create(c"mio-cluster", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        ftruncate(&memfd, libc::off_t::try_from(bytes.get()).map_err(|_| Errno::EINVAL)?)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals))?;
        // SAFETY: a new mapping at an address of the kernel's choice replaces no memory that is in use.
        let base = unsafe {
            mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &memfd, 0)
        }?;
        Ok(Self { base: base.cast(), bytes, page_bytes, memfd })
    }

    /// Panics like a slice if there is no page `index`.
    pub(crate) fn page(&self, index: usize) -> &[AtomicU64] {
        let words = self.page_bytes / size_of::<AtomicU64>();
        &self.words()[index * words..][..words]
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `base` is page-aligned and mapped for `bytes` until `self` is dropped; the seals keep the file at
        // that size. Any bits are a valid AtomicU64, and the only view of the memory in any process is as atomics.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.bytes.get() / size_of::<AtomicU64>()) }
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, unmapped once; every slice of it borrows `self`.
        let _ = unsafe { munmap(self.base.cast(), self.bytes.get()) };
    }
}

// SAFETY: the mapping belongs to the process, not to a thread; it may be unmapped by any.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` gives out nothing but atomics.
unsafe impl Sync for Mapping {}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt, panic, sync::atomic::Ordering};

    use super::*;

    #[test]
    fn pages_are_apart_and_shared_through_the_memfd() {
        let mapping = Mapping::new(3).unwrap();
        mapping.page(1)[0].store(7, Ordering::Relaxed);
        mapping.page(2).last().unwrap().store(8, Ordering::Relaxed);
        assert!(mapping.page(0).iter().all(|word| word.load(Ordering::Relaxed) == 0));

        let file = File::from(mapping.as_fd().try_clone_to_owned().unwrap());
        let mut word = [0; 8];
        file.read_exact_at(&mut word, mapping.page_bytes as u64).unwrap();
        assert_eq!(u64::from_ne_bytes(word), 7);
        file.read_exact_at(&mut word, mapping.bytes.get() as u64 - 8).unwrap();
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
        assert!(panic::catch_unwind(|| mapping.page(1).len()).is_err());
    }
}
