//! Packets that the socket did not take yet, bounded.

use std::{collections::VecDeque, io, os::fd::AsFd};

use super::is_full;
use crate::{sys::rights, wire::Packets};

#[derive(Default)]
pub(super) struct Outbox {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// For the packets of a message.
    pub(super) fn has_room_for(&self, packets: &Packets<'_>) -> bool {
        self.packets.len() + packets.len() <= PACKETS && self.bytes + packets.bytes() <= BYTES
    }

    /// For one packet more of a size that nobody has to ask about.
    pub(super) fn has_room(&self) -> bool {
        self.packets.len() < PACKETS && self.bytes < BYTES
    }

    /// For one of the library's own packets, which few are: a program that floods its peer can still be told to end.
    pub(super) fn has_reserve(&self) -> bool {
        self.packets.len() < PACKETS + RESERVE
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        while let Some(packet) = self.packets.front() {
            match rights::send(&socket, packet, &[]) {
                Ok(()) => self.bytes -= packet.len(),
                Err(error) if is_full(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            self.packets.pop_front();
        }
        Ok(())
    }
}

/// Packets of messages that wait for one peer.
pub(super) const PACKETS: usize = 1024;
/// Bytes that wait for one peer: two messages of the largest size.
const BYTES: usize = 32 * 1024 * 1024;
/// Packets of the library's own beyond that.
const RESERVE: usize = 64;
