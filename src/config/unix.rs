//! Names of Unix sockets: what the kernel can take.

use std::os::unix::ffi::OsStrExt;

use crate::event::Endpoint;

/// **Errors**: why no socket can have this name.
pub(super) fn check(at: &Endpoint) -> Result<(), String> {
    let name = match at {
        Endpoint::Ip(_) => return Ok(()),
        Endpoint::Path(path) => path.as_os_str().as_bytes(),
        Endpoint::Abstract(name) => name,
    };
    let length = name.len();
    if name.is_empty() {
        return Err(format!("{:?} has no name; write unix:PATH, or unix:@NAME for an abstract one", at.to_string()));
    }
    if length > LONGEST {
        return Err(format!(
            "{at} is {length} bytes long, and the kernel takes {LONGEST}; choose a shorter path, or a relative one"
        ));
    }
    match at {
        Endpoint::Path(_) if name.contains(&0) => Err(format!("{:?} contains a NUL byte", at.to_string())),
        Endpoint::Path(path) if path.file_name().is_none() || name.ends_with(b"/") => {
            Err(format!("{at} names a directory, not a file in it"))
        }
        Endpoint::Ip(_) | Endpoint::Path(_) | Endpoint::Abstract(_) => Ok(()),
    }
}

/// Bytes of a path (sun_path holds 108, the last one being NUL), and of an abstract name (the first one being NUL).
const LONGEST: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &[u8]) -> String {
        check(&Endpoint::unix(name)).unwrap_err()
    }

    #[test]
    fn a_name_too_long_is_told_with_its_length_and_the_limit() {
        let path = |length: usize| format!("/{}", "x".repeat(length - 1));
        check(&Endpoint::unix(path(107).as_bytes())).unwrap();
        let text = problem(path(108).as_bytes());
        assert!(text.contains(&path(108)) && text.contains("108 bytes") && text.contains("takes 107"), "{text}");
        let name = |length: usize| format!("\0{}", "x".repeat(length));
        check(&Endpoint::unix(name(107).as_bytes())).unwrap();
        assert!(problem(name(108).as_bytes()).contains("unix:@xxx"));
    }

    #[test]
    fn names_of_no_file_are_refused() {
        assert!(problem(b"").contains("has no name") && problem(b"\0").contains("has no name"));
        for path in ["/tmp/", "/", "..", "a/.."] {
            assert!(problem(path.as_bytes()).contains("names a directory"), "{path}");
        }
        assert!(problem(b"/tmp/a\0b").contains("NUL byte"));
        check(&Endpoint::unix(b"\0a\0b")).unwrap();
        check(&Endpoint::unix(b"relative.sock")).unwrap();
    }
}
