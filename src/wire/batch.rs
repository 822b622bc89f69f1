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

/// What stands behind the header.
pub(super) fn body(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(messages.iter().map(|message| LENGTH + message.len()).sum());
    for message in messages {
        body.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(message);
    }
    body
}

pub(super) fn messages(mut body: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut messages = Vec::with_capacity(body.len() / USUAL);
    while let Some((length, rest)) = body.split_first_chunk::<LENGTH>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Malformed::WrongBatch)?;
        let (message, rest) = rest.split_at_checked(length).ok_or(Malformed::WrongBatch)?;
        messages.push(message.to_vec());
        body = rest;
    }
    if body.is_empty() && !messages.is_empty() { Ok(messages) } else { Err(Malformed::WrongBatch) }
}

/// Bytes of a message's length.
const LENGTH: usize = size_of::<u32>();

/// Bytes of a message with its length, as a guess of how many there are.
const USUAL: usize = 32;

/// Bytes of a packet at most: enough to make its own cost small, and few enough for several to fit into a socket.
const FULL: usize = 32 * 1024;
const _: () = assert!(FULL <= PACKET_MAX && HEADER + LENGTH + Batch::MESSAGE_MAX <= FULL);
