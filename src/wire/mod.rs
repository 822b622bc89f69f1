//! The codec of the channel between master and worker: frames to packets and back, bytes in and bytes out.
//!
//! It owns the format and its limits. It never touches a descriptor, a clock or a log: a packet's descriptors are a
//! number here. The bytes come from another process, which may be broken or taken over: every one of them is checked,
//! nothing panics, and memory stays below one message.
//!
//! A packet is at most [`PACKET_MAX`] bytes, in little endian:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0 | kind | see [`Frame`] |
//! | 1 | flags | bit 0 MORE: this message goes on in the next packet; the others are 0 |
//! | 2–3 | descriptors | how many travel with this packet |
//! | 4–7 | token | pairs a request with its reply; else 0 |
//! | 8… | body | the fields of the frame, in the order of their declaration |
//!
//! The header and the first ten bytes of `Hello`'s body are the same in every version to come, so that two versions can
//! always tell each other apart.
//!
//! The body of `Batch` is one or more plain messages, each as its length in four bytes and its bytes.
//!
//! **Order.** The parts of a message follow each other without another frame in between, and its descriptors travel
//! with the first. Where one part is bad, the rest of its message is skipped: a message arrives as it was sent or not
//! at all.

mod address;
mod assembler;
mod batch;
mod frame;
mod malformed;
#[cfg(test)]
mod tests;

pub(crate) use assembler::{Assembler, Descriptors, Progress};
pub(crate) use batch::{Batch, Bundle};
pub(crate) use frame::{Frame, Leave, Packets, Purpose, TooLarge};
pub(crate) use malformed::Malformed;

/// Unequal majors cannot work together: the worker ends with a clear error.
pub(crate) const PROTOCOL_MAJOR: u16 = 1;
/// Grows with every addition that an older side can do without.
pub(crate) const PROTOCOL_MINOR: u16 = 0;

/// Bytes of one packet, header included: fits into the default send buffer (208 KiB) three times over.
pub(crate) const PACKET_MAX: usize = 64 * 1024;
/// Bytes of one message, headers not counted: what one side may make the other hold in memory.
pub(crate) const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// Descriptors of one message: the kernel's SCM_MAX_FD.
pub(crate) const DESCRIPTORS_MAX: usize = 253;

const HEADER: usize = 8;
const BODY_MAX: usize = PACKET_MAX - HEADER;
const MORE: u8 = 1;
