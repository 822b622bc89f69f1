//! What can be wrong with a packet.

use super::{Descriptors, MESSAGE_MAX, PACKET_MAX, frame::Kind};
use std::fmt;

/// Why a packet was thrown away. The peer has a bug, was taken over, or speaks a version that it did not announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Malformed {
    Empty,
    PacketTooLarge,
    ShortHeader(usize),
    UnknownKind(u8),
    UnknownFlags(u8),
    /// The reserved bytes or the token are not 0.
    ReservedInUse,
    /// MORE on a frame that always fits into one packet.
    CannotBeSplit(Kind),
    WrongLength {
        kind: Kind,
        body: usize,
    },
    NotYesOrNo(u8),
    NotUtf8,
    Descriptors {
        kind: Kind,
        expected: usize,
        found: Descriptors,
    },
    /// A part that carries nothing and is not the last: such a message need never end.
    EmptyPart,
    MessageTooLarge,
    /// This frame came between two parts of a message.
    Interrupted(Kind),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "empty packet"),
            Self::PacketTooLarge => write!(f, "packet of more than {PACKET_MAX} bytes"),
            Self::ShortHeader(length) => write!(f, "packet of {length} bytes, too short for a header"),
            Self::UnknownKind(kind) => write!(f, "unknown kind {kind}"),
            Self::UnknownFlags(flags) => write!(f, "unknown flags {flags:#04x}"),
            Self::ReservedInUse => write!(f, "reserved header bytes that are not 0"),
            Self::CannotBeSplit(kind) => write!(f, "{kind:?} that claims to go on in another packet"),
            Self::WrongLength { kind, body } => {
                write!(f, "{kind:?} with a body of {body} bytes, which is the wrong length")
            }
            Self::NotYesOrNo(byte) => write!(f, "{byte} where only 0 or 1 may stand"),
            Self::NotUtf8 => write!(f, "text that is not UTF-8"),
            Self::Descriptors { kind, expected, found: Descriptors::Arrived(found) } => {
                write!(f, "{kind:?} with {found} descriptors instead of {expected}")
            }
            Self::Descriptors { kind, expected, found: Descriptors::Lost } => {
                write!(f, "{kind:?} with more descriptors than could be received instead of {expected}")
            }
            Self::EmptyPart => write!(f, "empty part in the middle of a message"),
            Self::MessageTooLarge => write!(f, "message of more than {MESSAGE_MAX} bytes"),
            Self::Interrupted(kind) => write!(f, "{kind:?} between two parts of a message"),
        }
    }
}

impl std::error::Error for Malformed {}
