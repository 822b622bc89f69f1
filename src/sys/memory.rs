//! The memory of a process.

use std::{fs, io};

use super::mapping::page_bytes;

/// How many bytes of it are in memory, whoever shares them.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.ok_or(io::ErrorKind::InvalidData)?.saturating_mul(page_bytes()? as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_counts() {
        let before = resident(std::process::id()).unwrap();
        let touched = vec![1_u8; 64 << 20];
        let after = resident(std::process::id()).unwrap();
        // Other tests run beside this one, and allocate less.
        assert!(after >= before + (48 << 20), "{before}, {after}, {}", touched.len());
        assert!(resident(u32::MAX).is_err());
    }
}
