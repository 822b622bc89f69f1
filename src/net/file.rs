//! The file of a Unix socket: who may have it, and who removes it.
//!
//! Races. Of several programs that start at once one gets the path: each holds a lock (flock) of the directory while it
//! binds, so nobody takes a socket for abandoned that is bound and does not listen yet. The lock is on the directory's
//! own descriptor; there is no file for it that could be left behind. At the end the file is removed under the same
//! lock, and only if it is the one that was bound here: device and inode number are compared while the socket is still
//! open, which keeps the number from being given away. What is no socket is never removed.
//!
//! All of it goes through the directory's descriptor, so neither a change of the working directory nor a renamed parent
//! leads it astray.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    process, thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, Flock, FlockArg, OFlag, open},
    sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use socket2::Socket;

use super::{
    TARGET, refused,
    shared::{sockaddr, unix_socket},
};
use crate::{
    config::Bind,
    error::{Error, Kind, Result},
    sys::owned::Owned,
};

/// Removes the file when dropped, in the process that bound it.
pub(super) struct SocketFile {
    /// `None` once it is being removed.
    directory: Option<Owned>,
    name: OsString,
    /// Device and inode.
    identity: (u64, u64),
    /// For the log.
    text: String,
    process: u32,
}

/// A directory, locked if its file system can do that.
enum Directory {
    Locked(Flock<OwnedFd>),
    Unlocked(OwnedFd),
}

impl SocketFile {
    /// A socket that listens at `path`.
    ///
    /// **Errors**: somebody listens there; something else than a socket is there; the directory is missing, forbidden,
    /// or locked by somebody for long.
    pub(super) fn bind(bind: &Bind, path: &Path) -> Result<(Socket, Self)> {
        let (directory, name) = (parent(path), path.file_name().unwrap_or_default());
        let opened = open(directory, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let opened = opened.map_err(|error| forbidden(bind, directory, error))?;
        let locked = Directory::lock(opened, AT_START).map_err(|error| {
            let text = format!(
                "claiming {}: {}: another program has held a lock of this directory for {AT_START:?}; the directory should be \
                 this service's own",
                bind.at,
                directory.display()
            );
            Error::system(text, error)
        })?;
        let mode = bind.mode.map(Mode::from_bits_truncate);
        let socket = unix_socket(mode).map_err(|error| refused("claiming", bind, error))?;
        take_name(&socket, bind, locked.as_fd(), directory, name)?;
        let identity = open_for_all(&socket, bind, locked.as_fd(), name, mode).map_err(|error| {
            // Bound a moment ago, and under the lock: it is ours.
            let _ = unlinkat(&locked, name, UnlinkatFlags::NoRemoveDir);
            refused("claiming", bind, error.into())
        })?;
        let (name, text, process) = (name.to_owned(), bind.at.to_string(), process::id());
        let directory = Some(Owned::new(locked.unlock()));
        Ok((socket, Self { directory, name, identity, text, process }))
    }

    fn remove(&mut self) -> io::Result<()> {
        let Some(directory) = self.directory.take() else { return Ok(()) };
        let directory = Directory::lock(directory.into_inner(), AT_END)?;
        match fstatat(&directory, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if identity(&stat) == self.identity => {
                Ok(unlinkat(&directory, &*self.name, UnlinkatFlags::NoRemoveDir)?)
            }
            Ok(_) => {
                log::debug!(target: TARGET, "{}: somebody has put another file there, which stays", self.text);
                Ok(())
            }
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.process == process::id() {
            if let Err(error) = self.remove() {
                log::warn!(target: TARGET, "{}: the file stays where it is: {error}", self.text);
            }
        }
    }
}

impl Directory {
    /// **Errors**: somebody else has held the lock for all this time.
    fn lock(directory: OwnedFd, within: Duration) -> io::Result<Self> {
        let (mut directory, until) = (directory, Instant::now() + within);
        loop {
            match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => return Ok(Self::Locked(locked)),
                Err((same, Errno::EWOULDBLOCK)) if Instant::now() < until => {
                    directory = same;
                    thread::sleep(BETWEEN_TRIES);
                }
                Err((same, Errno::EINTR)) => directory = same,
                Err((_, Errno::EWOULDBLOCK)) => return Err(Errno::EWOULDBLOCK.into()),
                Err((same, error)) => {
                    log::debug!(target: TARGET, "locking a directory: {error}; it goes on without");
                    return Ok(Self::Unlocked(same));
                }
            }
        }
    }

    fn unlock(self) -> OwnedFd {
        match self {
            // Closing it unlocks it as well.
            Self::Locked(locked) => locked.unlock().unwrap_or_else(|(_, error)| unreachable!("LOCK_UN: {error}")),
            Self::Unlocked(directory) => directory,
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Locked(locked) => locked.as_fd(),
            Self::Unlocked(directory) => directory.as_fd(),
        }
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Binds, in place of a socket that nobody has any more.
fn take_name(socket: &Socket, bind: &Bind, at: BorrowedFd<'_>, directory: &Path, name: &OsStr) -> Result<()> {
    let address = sockaddr(&bind.at).map_err(|error| refused("claiming", bind, error))?;
    for _ in 0..TRIES {
        match socket.bind(&address) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => make_room(bind, at, name)?,
            Err(error) => return Err(forbidden(bind, directory, error)),
        }
    }
    Err(refused("claiming", bind, Errno::EADDRINUSE.into()))
}

/// Removes a socket that nobody listens on.
///
/// **Errors**: it is none, or somebody does, or that cannot be found out.
fn make_room(bind: &Bind, directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let step = |what: &str, error: io::Error| Error::system(format!("claiming {}: {what}", bind.at), error);
    let stat = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        stat => stat.map_err(|error| step("looking at what is there", error.into()))?,
    };
    if let Some(what) = no_socket(&stat) {
        let text = format!("claiming {}: there is {what}, which stays; remove it or choose another path", bind.at);
        return Err(Error::new(Kind::System, text));
    }
    let probe = unix_socket(None).and_then(|probe| probe.connect(&sockaddr(&bind.at)?));
    match probe.map_err(|error| (error.raw_os_error().map(Errno::from_raw), error)) {
        Err((Some(Errno::ECONNREFUSED), _)) => {}
        Err((Some(Errno::ENOENT), _)) => return Ok(()),
        // EAGAIN: its queue is full. EPROTOTYPE: it is in use, but not for streams.
        Ok(()) | Err((Some(Errno::EAGAIN | Errno::EPROTOTYPE), _)) => {
            return Err(refused("claiming", bind, Errno::EADDRINUSE.into()));
        }
        Err((_, error)) => return Err(step("finding out whether anybody listens on the socket that is there", error)),
    }
    log::info!(target: TARGET, "{}: the socket that is there was left behind, nobody listens; it is replaced", bind.at);
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(step("removing the socket that was left behind there", error.into())),
    }
}

/// The exact bits, then the queue; returns which file it is.
fn open_for_all(
    socket: &Socket,
    bind: &Bind,
    directory: BorrowedFd<'_>,
    name: &OsStr,
    mode: Option<Mode>,
) -> nix::Result<(u64, u64)> {
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match mode {
        // The umask has taken some. No link is followed: who may write to the directory must not choose another file.
        Some(mode) if Mode::from_bits_truncate(stat.st_mode) != mode => {
            fchmodat(directory, name, mode, FchmodatFlags::NoFollowSymlink)?;
        }
        Some(_) | None => {}
    }
    socket.listen(bind.backlog).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    Ok(identity(&stat))
}

/// What is there, if it is no socket.
fn no_socket(stat: &FileStat) -> Option<&'static str> {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFSOCK => None,
        SFlag::S_IFDIR => Some("a directory"),
        SFlag::S_IFREG => Some("a file"),
        SFlag::S_IFLNK => Some("a symbolic link"),
        SFlag::S_IFIFO => Some("a pipe"),
        _other => Some("a device"),
    }
}

#[allow(clippy::unnecessary_cast, reason = "the fields differ in width from machine to machine")]
fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn forbidden(bind: &Bind, directory: &Path, error: impl Into<io::Error>) -> Error {
    let (error, at, directory) = (error.into(), &bind.at, directory.display());
    let advice = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => format!(": there is no directory {directory}; create it first, for this user"),
        Some(Errno::ENOTDIR) => format!(": {directory} is no directory"),
        Some(Errno::EACCES) => format!(
            ": this user may not read {directory} and create files in it; give it the rights, or choose another directory"
        ),
        Some(Errno::EROFS) => format!(": {directory} is on a file system that is mounted read-only"),
        _other => String::new(),
    };
    Error::system(format!("claiming {at}{advice}"), error)
}

/// Others hold the lock for a fraction of a millisecond.
const AT_START: Duration = Duration::from_secs(5);

/// A file that stays is replaced by the next start.
const AT_END: Duration = Duration::from_secs(1);

/// Others hold the lock for a bind, which takes microseconds; the system call that waits for it could not be given up.
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

/// Somebody who does not lock may put a file there again and again.
const TRIES: usize = 3;

#[cfg(test)]
mod tests;
