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
    /// A token on a frame that pairs with no other, or none on one that must.
    WrongToken(Kind),
    /// MORE on a frame that always fits into one packet.
    CannotBeSplit(Kind),
    WrongLength {
        kind: Kind,
        body: usize,
    },
    NotYesOrNo(u8),
    NotUtf8,
    /// The header announces another number than the kind may have, or than has come.
    Descriptors {
        kind: Kind,
        announced: usize,
        found: Descriptors,
    },
    /// What is said of an address is no address.
    NoAddress,
    /// A batch whose lengths do not fill it.
    WrongBatch,
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
            Self::WrongToken(kind) => write!(f, "{kind:?} with a token that does not belong there, or without one"),
            Self::CannotBeSplit(kind) => write!(f, "{kind:?} that claims to go on in another packet"),
            Self::WrongLength { kind, body } => {
                write!(f, "{kind:?} with a body of {body} bytes, which is the wrong length")
            }
            Self::NotYesOrNo(byte) => write!(f, "{byte} where only 0 or 1 may stand"),
            Self::NotUtf8 => write!(f, "text that is not UTF-8"),
            Self::Descriptors { kind, announced, found: Descriptors::Arrived(found) } => {
                write!(f, "{kind:?} that announces {announced} descriptors and brings {found}")
            }
            Self::Descriptors { kind, announced, found: Descriptors::Lost } => {
                write!(f, "{kind:?} that announces {announced} descriptors and brings more than could be received")
            }
            Self::NoAddress => write!(f, "address that cannot be read"),
            Self::WrongBatch => write!(f, "batch whose lengths do not add up"),
            Self::EmptyPart => write!(f, "empty part in the middle of a message"),
            Self::MessageTooLarge => write!(f, "message of more than {MESSAGE_MAX} bytes"),
            Self::Interrupted(kind) => write!(f, "{kind:?} between two parts of a message"),
        }
    }
}

impl std::error::Error for Malformed {}
