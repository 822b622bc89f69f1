use std::{
    fs::File,
    io::Read,
    os::{fd::IntoRawFd, unix::net::UnixStream},
    thread,
};

use nix::errno::Errno;

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
fn what_lies_between_the_kept_numbers_is_closed() {
    assert_eq!(gaps(&[]), [(3, RawFd::MAX)]);
    assert_eq!(gaps(&[7, 3, 4, 2]), [(5, 6), (8, RawFd::MAX)]);
    assert_eq!(gaps(&[0, 1, 2, 9]), [(3, 8), (10, RawFd::MAX)]);
}

#[test]
fn what_is_inherited_is_closed_but_stdio_and_what_is_kept() {
    with_own_table(closes_all_but_two);
}

#[test]
fn where_close_range_is_forbidden_they_are_closed_one_by_one() {
    with_own_table(|| {
        forbid_close_range();
        assert!(!close_range(3, 4));
        closes_all_but_two();
    });
}

fn closes_all_but_two() {
    let files = [(); 5].map(|()| open().into_raw_fd());
    close_inherited(&[files[3], 1, files[1]]).unwrap();
    let is_open = |fd: RawFd| fs::exists(format!("/proc/thread-self/fd/{fd}")).unwrap();
    assert_eq!(files.map(is_open), [false, true, false, true, false]);
    assert_eq!(open_numbers().unwrap().iter().filter(|fd| **fd < FIRST_AFTER_STDIO).count(), 3);
}

#[test]
fn no_number_is_one_of_stdio() {
    with_own_table(|| {
        [0, 1, 2].into_iter().for_each(close);
        // Not entered into the table, where these numbers are those of other tests.
        let moved = above_stdio(open().into());
        let made = make_above_stdio(|| Ok::<File, io::Error>(open()), AsFd::as_fd).unwrap();
        assert_eq!((moved.as_raw_fd(), made.as_raw_fd()), (3, 4));
        assert!(File::from(moved).metadata().is_ok() && made.metadata().is_ok());
        // The low ones are free again.
        assert_eq!([(); 3].map(|()| open().into_raw_fd()), [0, 1, 2]);
    });
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

/// In a thread with a descriptor table of its own, in which only 0, 1 and 2 are open: nothing that another test holds
/// is copied, not even for a moment.
fn with_own_table(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        // SAFETY: the other threads keep their table; this one has just begun and owns no descriptor.
        let result =
            unsafe { libc::syscall(libc::SYS_close_range, FIRST_AFTER_STDIO, RawFd::MAX, libc::CLOSE_RANGE_UNSHARE) };
        Errno::result(result).unwrap();
        test();
    });
    thread.join().unwrap();
}

/// In this thread, by a seccomp filter.
fn forbid_close_range() {
    let statement = |code: u32, jt, jf, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the number of the system call
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_close_range as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` describes `filter` by its true length; both live across the calls, which concern this thread.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    Errno::result(result).unwrap();
}
