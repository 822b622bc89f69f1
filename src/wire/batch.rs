//! Several small messages in one packet: the packet is what costs, a system call on each side and perhaps a wake-up.

use super::{
    HEADER, Malformed, PACKET_MAX,
    frame::{Kind, header},
};

/// A packet under construction. It holds plain messages only, in the order in which they were pushed.
#[derive(Default, Debug)]
pub(crate) struct Batch {
    packet: Vec<u8>,
}

impl Batch {
    /// Longer messages travel alone: copying them once more would cost as much as the packet that it saves.
    pub(crate) const MESSAGE_MAX: usize = 4096;

    /// False, and nothing is changed, if the message is too long or finds no room.
    pub(crate) fn push(&mut self, message: &[u8]) -> bool {
        let length = match u32::try_from(message.len()) {
            Ok(length) if message.len() <= Self::MESSAGE_MAX => length,
            Ok(_) | Err(_) => return false,
        };
        if self.packet.len() + LENGTH + message.len() > FULL {
            return false;
        }
        if self.packet.is_empty() {
            self.packet.extend(header(Kind::Batch, 0, 0, 0));
        }
        self.packet.extend(length.to_le_bytes());
        self.packet.extend(message);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packet.is_empty()
    }

    /// The whole packet; empty if there is none.
    pub(crate) fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// The next one, in the same memory.
    pub(crate) fn clear(&mut self) {
        self.packet.clear();
    }

    /// The next one, in other memory.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.packet)
    }
}

/// The messages of a batch, in their order; each is made when it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bundle {
    body: Vec<u8>,
    at: usize,
}

impl Bundle {
    /// What stands behind the header of a packet.
    pub(super) fn new(body: &[u8]) -> Result<Self, Malformed> {
        let mut rest = body;
        while !rest.is_empty() {
            rest = split(rest).ok_or(Malformed::WrongBatch)?.1;
        }
        if body.is_empty() { Err(Malformed::WrongBatch) } else { Ok(Self { body: body.to_vec(), at: 0 }) }
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Of the whole, however much was asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.body.len()
    }
}

impl Iterator for Bundle {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let (message, rest) = split(&self.body[self.at..])?;
        self.at = self.body.len() - rest.len();
        Some(message.to_vec())
    }
}

/// The first message, and what is behind it.
fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// Bytes of a message's length.
const LENGTH: usize = size_of::<u32>();

/// Bytes of a packet at most: enough to make its own cost small, and few enough for several to fit into a socket.
const FULL: usize = 32 * 1024;
const _: () = assert!(FULL <= PACKET_MAX && HEADER + LENGTH + Batch::MESSAGE_MAX <= FULL);
