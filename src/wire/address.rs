//! What is said of an address: what a worker needs to listen there.
//!
//! | bytes | of `AddressAdded` |
//! |---|---|
//! | 0–1 | the number |
//! | 2 | bit 0: shared, 1: nodelay, 2: v6_only, 3: of the Unix domain |
//! | 3–6, 7–10 | backlog, defer_accept |
//! | 11–12 | length of the name |
//! | … | the name, and the address: as text, or as bind(2) has the name of a Unix socket |
//!
//! `AddressRemoved` is the number and the name.

use crate::{
    config::Bind,
    event::Endpoint,
    wire::{Frame, Malformed},
};

pub(super) fn added(address: u16, bind: &Bind) -> Vec<u8> {
    let flags = [(bind.shared, SHARED), (bind.nodelay, NODELAY), (bind.v6_only, V6_ONLY), (bind.at.is_unix(), UNIX)];
    let flags = flags.into_iter().map(|(on, bit)| if on { bit } else { 0 }).sum();
    let at = match &bind.at {
        Endpoint::Ip(at) => at.to_string().into_bytes(),
        unix @ (Endpoint::Path(_) | Endpoint::Abstract(_)) => unix.unix_name(),
    };
    // The builder takes no longer ones.
    let name = u16::try_from(bind.name.len()).unwrap_or(u16::MAX);
    [
        &address.to_le_bytes()[..],
        &[flags],
        &bind.backlog.to_le_bytes(),
        &bind.defer_accept.to_le_bytes(),
        &name.to_le_bytes(),
        bind.name.as_bytes(),
        &at,
    ]
    .concat()
}

pub(super) fn removed(address: u16, name: &str) -> Vec<u8> {
    [&address.to_le_bytes()[..], name.as_bytes()].concat()
}

pub(super) fn decode_added(body: &[u8]) -> Result<Frame, Malformed> {
    let Some((&[low, high, flags, numbers @ ..], rest)) = body.split_first_chunk::<FIXED>() else {
        return Err(Malformed::NoAddress);
    };
    let [a, b, c, d, e, f, g, h, name_low, name_high] = numbers;
    let name = usize::from(u16::from_le_bytes([name_low, name_high]));
    let (name, at) = rest.split_at_checked(name).ok_or(Malformed::NoAddress)?;
    let has = |bit| flags & bit != 0;
    if flags & !(SHARED | NODELAY | V6_ONLY | UNIX) != 0 {
        return Err(Malformed::UnknownFlags(flags));
    }
    let at =
        if has(UNIX) { Endpoint::unix(at) } else { Endpoint::Ip(text(at)?.parse().map_err(|_| Malformed::NoAddress)?) };
    let bind = Bind {
        name: text(name)?.into(),
        at,
        shared: has(SHARED),
        backlog: i32::from_le_bytes([a, b, c, d]),
        nodelay: has(NODELAY),
        defer_accept: i32::from_le_bytes([e, f, g, h]),
        v6_only: has(V6_ONLY),
        // Of interest to whoever binds the file, and that is done.
        mode: None,
    };
    Ok(Frame::AddressAdded { address: u16::from_le_bytes([low, high]), bind })
}

pub(super) fn decode_removed(body: &[u8]) -> Result<Frame, Malformed> {
    let &[low, high, ref name @ ..] = body else { return Err(Malformed::NoAddress) };
    Ok(Frame::AddressRemoved { address: u16::from_le_bytes([low, high]), name: text(name)?.to_owned() })
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_invalid| Malformed::NotUtf8)
}

const SHARED: u8 = 1;
const NODELAY: u8 = 2;
const V6_ONLY: u8 = 4;
const UNIX: u8 = 8;

/// Bytes before the name.
const FIXED: usize = 13;
