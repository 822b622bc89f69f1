//! A folder for the files of a row, which everybody may read; gone with its handle.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::unistd::mkdtemp;

use crate::Attempt;

pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Attempt<Self> {
        let path = mkdtemp(&env::temp_dir().join("chaos-XXXXXX"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whoever reads the file meanwhile finds the old text or the new one.
    pub(crate) fn write(&self, name: &str, text: &str) -> Attempt<()> {
        let new = self.file("new");
        fs::write(&new, text)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        Ok(fs::rename(new, self.file(name))?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}
