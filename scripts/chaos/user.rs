//! Who runs a server: this user, and as root somebody without any privilege as well.

use std::{
    env,
    ffi::CString,
    fs::File,
    os::{fd::AsFd, unix::process::CommandExt},
    process::Command,
};

use nix::unistd::{Gid, Uid, fexecve, geteuid, setgroups, setresgid, setresuid};

use crate::{Attempt, process::die_with_the_starter};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Who has started this program.
    Own,
    Nobody,
}

impl User {
    pub(crate) fn all() -> Vec<User> {
        if geteuid().is_root() { vec![User::Own, User::Nobody] } else { vec![User::Own] }
    }

    /// This user, unless that is root.
    pub(crate) fn unprivileged() -> User {
        if geteuid().is_root() { User::Nobody } else { User::Own }
    }

    /// What the table calls a row for this user.
    pub(crate) fn name(self, row: &str) -> String {
        match self {
            User::Own if geteuid().is_root() => format!("{row}, root"),
            User::Own => row.to_owned(),
            User::Nobody => format!("{row}, nobody"),
        }
    }

    /// A tool of the system, that is run by that user.
    pub(crate) fn command(self, program: &str) -> Command {
        let mut command = Command::new(program);
        match self {
            User::Own => &mut command,
            User::Nobody => command.uid(NOBODY).gid(NOBODY),
        };
        command
    }

    /// What a program is started with.
    pub(crate) fn prefix(self) -> &'static [&'static str] {
        match self {
            User::Own => &["--exec"],
            User::Nobody => &["--exec-as-nobody"],
        }
    }
}

/// The role `--exec-as-nobody`. The program is opened before, since nobody may not look into every folder.
pub(crate) fn exec_as_nobody(program: &str, rest: &[&str]) -> Attempt<std::convert::Infallible> {
    let file = File::open(program)?;
    let words = std::iter::once(&program).chain(rest).map(|word| CString::new(*word)).collect::<Result<Vec<_>, _>>()?;
    let environment = env::vars().map(|(name, value)| CString::new(format!("{name}={value}")));
    let environment = environment.collect::<Result<Vec<_>, _>>()?;
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    // The kernel forgets this with the user.
    die_with_the_starter()?;
    Ok(fexecve(file.as_fd(), &words, &environment)?)
}

/// On every Linux.
const NOBODY: u32 = 65534;
