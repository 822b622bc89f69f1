//! What master and worker say to each other, and how it is written into packets.

use super::{BODY_MAX, Bundle, DESCRIPTORS_MAX, HEADER, MESSAGE_MAX, MORE, PROTOCOL_MAJOR, PROTOCOL_MINOR};
use crate::{config::Bind, id::RequestId};
use std::{borrow::Cow, fmt, ops::RangeInclusive, time::Duration};

/// One statement. Addresses are indexes into the list that both sides have known since before the fork, or since
/// `AddressAdded`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// Both ways, the first frame of each side. `layout` is the version of the scoreboard.
    Hello { major: u16, minor: u16, layout: u16, pid: u32 },
    /// Worker: "the descriptor beside this is my bound socket; listen on it and keep it".
    Listen { address: u16 },
    /// Worker: "my socket listens, and I keep it to myself".
    Opened { address: u16 },
    /// Worker: "I have dropped my listener".
    Closed { address: u16 },
    /// Worker: "you may count on me".
    Ready,
    /// Worker: "I am leaving, as if you had asked".
    Leaving,
    /// Worker: "a signal tells me to leave, and I wait for your word".
    Retires,
    /// Master: "it listens"; with a descriptor: "this one does, which is your slot's already, so close yours".
    Granted { address: u16 },
    /// Master: "it does not listen, for this reason". `lost`: the descriptor did not arrive, ask again.
    Refused { address: u16, lost: bool, reason: String },
    /// Master: "look into your queues"; siblings have emptied one of them meanwhile, so nothing else may wake you.
    Look,
    /// Master: "finish and exit within this time", in whole milliseconds.
    Drain { within: Duration, leave: Leave },
    /// Master: "open your log files anew".
    ReopenLogs,
    /// Master: "there is this address, too", with the socket beside it if all workers share one.
    AddressAdded { address: u16, bind: Bind },
    /// Master: "the address of this number and name is no more".
    AddressRemoved { address: u16, name: String },
    /// Master: "nobody accepts at the door of this slot, which is beside this; accept there, too". The number of a loan
    /// is never used again.
    Lend { loan: u32, slot: u32, address: u16 },
    /// Master: "no longer".
    TakeBack { loan: u32 },
    /// Worker: "I do not accept there, or no longer".
    Returned { loan: u32 },
    /// Both ways: the user's own bytes, with any number of descriptors; the only frame that may take several packets.
    Message { purpose: Purpose, bytes: Vec<u8> },
    /// Both ways: several messages without descriptors and without a request, in their order. Written by
    /// [`Batch`](super::Batch).
    Batch(Bundle),
}

/// What becomes of the sockets that only this worker accepts on, once nobody waits there any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// The master has a duplicate and decides: a successor accepts there already, or nobody is sent there any more.
    HandOver,
    /// Nobody comes after it: the worker shuts them, so that later clients are refused at once.
    Shut,
}

/// What a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Plain,
    /// It wants a reply.
    Request(RequestId),
    /// It is one.
    Reply(RequestId),
}

/// The first byte of a packet. The numbers are part of the protocol: never reused, never renumbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    Listen = 2,
    Closed = 3,
    Ready = 4,
    Leaving = 5,
    Granted = 6,
    Refused = 7,
    Drain = 8,
    ReopenLogs = 9,
    Message = 10,
    Opened = 11,
    Request = 12,
    Reply = 13,
    Batch = 14,
    AddressAdded = 15,
    AddressRemoved = 16,
    Lend = 17,
    TakeBack = 18,
    Returned = 19,
    Retires = 20,
    Look = 21,
}

/// The packets of one frame, in the order in which they must be sent. Descriptors travel with the first.
#[derive(Clone, Debug)]
pub(crate) struct Packets<'a> {
    kind: Kind,
    token: u32,
    descriptors: u16,
    body: Cow<'a, [u8]>,
    /// Packets written so far, and bytes of `body` in them.
    written: usize,
    at: usize,
}

/// A message of this many bytes exceeds [`MESSAGE_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLarge(pub(crate) usize);

impl Frame {
    /// The first frame of this process, which speaks this version.
    pub(crate) fn hello(layout: u16, pid: u32) -> Self {
        Self::Hello { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, layout, pid }
    }

    /// For as many descriptors as will travel with it. A `reason` too long for one packet is cut.
    pub(crate) fn encode(&self, descriptors: usize) -> Result<Packets<'_>, TooLarge> {
        debug_assert!(self.kind().descriptors().contains(&descriptors));
        let body: Cow<'_, [u8]> = match self {
            Self::Hello { major, minor, layout, pid } => {
                [&major.to_le_bytes()[..], &minor.to_le_bytes(), &layout.to_le_bytes(), &pid.to_le_bytes()]
                    .concat()
                    .into()
            }
            Self::Listen { address }
            | Self::Opened { address }
            | Self::Closed { address }
            | Self::Granted { address } => address.to_le_bytes().to_vec().into(),
            Self::Refused { address, lost, reason } => {
                let reason = cut(reason, BODY_MAX - REFUSED_FIXED);
                [&address.to_le_bytes()[..], &[u8::from(*lost)], reason.as_bytes()].concat().into()
            }
            Self::Drain { within, leave } => {
                [&milliseconds(*within).to_le_bytes()[..], &[u8::from(*leave == Leave::Shut)]].concat().into()
            }
            Self::AddressAdded { address, bind } => super::address::added(*address, bind).into(),
            Self::AddressRemoved { address, name } => super::address::removed(*address, name).into(),
            Self::Lend { loan, slot, address } => {
                [&loan.to_le_bytes()[..], &slot.to_le_bytes(), &address.to_le_bytes()].concat().into()
            }
            Self::TakeBack { loan } | Self::Returned { loan } => loan.to_le_bytes().to_vec().into(),
            Self::Ready | Self::Leaving | Self::Retires | Self::ReopenLogs | Self::Look => Cow::Borrowed(&[]),
            Self::Message { bytes, .. } if bytes.len() > MESSAGE_MAX => return Err(TooLarge(bytes.len())),
            Self::Message { bytes, .. } => bytes.into(),
            Self::Batch(bundle) => bundle.body().into(),
        };
        let descriptors = u16::try_from(descriptors).unwrap_or(u16::MAX);
        Ok(Packets { kind: self.kind(), token: self.token(), descriptors, body, written: 0, at: 0 })
    }

    /// What the program sends, as much as it likes; everything else is the library's.
    pub(crate) fn is_the_programs(&self) -> bool {
        self.kind().is_message()
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Hello { .. } => Kind::Hello,
            Self::Listen { .. } => Kind::Listen,
            Self::Opened { .. } => Kind::Opened,
            Self::Closed { .. } => Kind::Closed,
            Self::Ready => Kind::Ready,
            Self::Leaving => Kind::Leaving,
            Self::Retires => Kind::Retires,
            Self::Granted { .. } => Kind::Granted,
            Self::Refused { .. } => Kind::Refused,
            Self::Drain { .. } => Kind::Drain,
            Self::ReopenLogs => Kind::ReopenLogs,
            Self::Message { purpose: Purpose::Plain, .. } => Kind::Message,
            Self::Message { purpose: Purpose::Request(_), .. } => Kind::Request,
            Self::Message { purpose: Purpose::Reply(_), .. } => Kind::Reply,
            Self::Batch(_) => Kind::Batch,
            Self::AddressAdded { .. } => Kind::AddressAdded,
            Self::AddressRemoved { .. } => Kind::AddressRemoved,
            Self::Look => Kind::Look,
            Self::Lend { .. } => Kind::Lend,
            Self::TakeBack { .. } => Kind::TakeBack,
            Self::Returned { .. } => Kind::Returned,
        }
    }

    fn token(&self) -> u32 {
        match self {
            Self::Message { purpose: Purpose::Request(id) | Purpose::Reply(id), .. } => id.as_u32(),
            Self::Message { purpose: Purpose::Plain, .. } | Self::Batch(_) => 0,
            Self::Hello { .. } | Self::Listen { .. } | Self::Opened { .. } | Self::Closed { .. } => 0,
            Self::Ready | Self::Leaving | Self::Retires | Self::Granted { .. } | Self::Refused { .. } => 0,
            Self::Drain { .. } | Self::ReopenLogs | Self::AddressAdded { .. } | Self::AddressRemoved { .. } => 0,
            Self::Lend { .. } | Self::TakeBack { .. } | Self::Returned { .. } | Self::Look => 0,
        }
    }
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// How many descriptors may travel with the first packet.
    pub(crate) fn descriptors(self) -> RangeInclusive<usize> {
        match self {
            Self::Listen | Self::Lend => 1..=1,
            Self::AddressAdded | Self::Granted => 0..=1,
            Self::Message | Self::Request | Self::Reply => 0..=DESCRIPTORS_MAX,
            Self::Hello
            | Self::Opened
            | Self::Closed
            | Self::Ready
            | Self::Leaving
            | Self::Retires
            | Self::Refused
            | Self::Drain
            | Self::ReopenLogs
            | Self::AddressRemoved
            | Self::Look
            | Self::TakeBack
            | Self::Returned
            | Self::Batch => 0..=0,
        }
    }

    /// The user's own, which may take several packets.
    pub(super) fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::Request | Self::Reply)
    }

    const ALL: [Self; 21] = [
        Self::Look,
        Self::Hello,
        Self::Listen,
        Self::Closed,
        Self::Ready,
        Self::Leaving,
        Self::Retires,
        Self::Granted,
        Self::Refused,
        Self::Drain,
        Self::ReopenLogs,
        Self::Message,
        Self::Opened,
        Self::Request,
        Self::Reply,
        Self::Batch,
        Self::AddressAdded,
        Self::AddressRemoved,
        Self::Lend,
        Self::TakeBack,
        Self::Returned,
    ];
}

impl Packets<'_> {
    /// Bytes of the packets that are still to come.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() - self.at + self.len() * HEADER
    }
}

impl Iterator for Packets<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.len() == 0 {
            return None;
        }
        let more = self.len() > 1;
        let part = &self.body[self.at..self.body.len().min(self.at + BODY_MAX)];
        let mut packet = Vec::with_capacity(HEADER + part.len());
        let descriptors = if self.written == 0 { self.descriptors } else { 0 };
        packet.extend(header(self.kind, if more { MORE } else { 0 }, descriptors, self.token));
        packet.extend(part);
        self.at += part.len();
        self.written += 1;
        Some(packet)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An empty body still takes one packet.
        let left = self.body.len().div_ceil(BODY_MAX).max(1) - self.written;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Packets<'_> {}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        write!(
            f,
            "a message of {bytes} bytes exceeds the limit of {MESSAGE_MAX}; send it in pieces, or put it into a file and send the descriptor"
        )
    }
}

impl std::error::Error for TooLarge {}

pub(super) fn header(kind: Kind, flags: u8, descriptors: u16, token: u32) -> [u8; HEADER] {
    let ([a, b], [c, d, e, f]) = (descriptors.to_le_bytes(), token.to_le_bytes());
    [kind as u8, flags, a, b, c, d, e, f]
}

/// The longest beginning of `text` that fits and ends between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Rounded up, so that a deadline never comes early; a time beyond 584 million years is for ever.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// `address` and `lost` before the reason of `Refused`.
const REFUSED_FIXED: usize = 3;
