//! From packets to frames: the side that must not trust what it reads.

use super::{Bundle, Frame, HEADER, Leave, MESSAGE_MAX, MORE, Malformed, PACKET_MAX, Purpose, address, frame::Kind};
use crate::id::RequestId;
use std::{mem, time::Duration};

/// Turns the packets of one peer into frames, in their order.
///
/// After an error the assembler goes on with the next packet; what follows of a message that was begun is skipped.
#[derive(Default, Debug)]
pub(crate) struct Assembler {
    message: Partial,
}

/// What the kernel delivered beside a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Descriptors {
    Arrived(usize),
    /// It dropped at least one (MSG_CTRUNC): this process has as many open as it may.
    Lost,
}

/// What a packet has led to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// A frame is complete; so many descriptors were announced for it.
    Frame(Frame, usize),
    /// A message has begun, or goes on; the descriptors of its first packet belong to it.
    Part,
    /// The packet belongs to a message that is skipped.
    Skipped,
}

#[derive(Default, Debug)]
enum Partial {
    #[default]
    None,
    Collecting {
        purpose: Purpose,
        descriptors: usize,
        bytes: Vec<u8>,
    },
    /// Until the last part of a message whose other parts were bad.
    Skipping,
}

/// The header of a packet.
struct Header {
    kind: Kind,
    more: bool,
    descriptors: usize,
    token: u32,
}

impl Assembler {
    /// A frame whose descriptors are [`Descriptors::Lost`] is returned all the same, if it should have had any: whoever
    /// holds the descriptors must say that they did not arrive.
    pub(crate) fn push(&mut self, packet: &[u8], descriptors: Descriptors) -> Result<Progress, Malformed> {
        match open(packet) {
            Ok((header, body)) if header.kind.is_message() => self.part(&header, body, descriptors),
            Ok((header, body)) => self.whole(&header, body, descriptors),
            Err(malformed) => {
                self.give_up();
                Err(malformed)
            }
        }
    }

    fn part(&mut self, header: &Header, body: &[u8], found: Descriptors) -> Result<Progress, Malformed> {
        let rest = if header.more { Partial::Skipping } else { Partial::None };
        let purpose = header.purpose();
        let (purpose, descriptors, mut bytes) = match mem::replace(&mut self.message, rest) {
            Partial::Skipping => return Ok(Progress::Skipped),
            Partial::None => (purpose?, header.check_descriptors(found)?, Vec::new()),
            Partial::Collecting { purpose: begun, descriptors, bytes } => {
                if begun != purpose? {
                    return Err(Malformed::Interrupted(header.kind));
                }
                header.check_no_descriptors(found)?;
                (begun, descriptors, bytes)
            }
        };
        if header.more && body.is_empty() {
            return Err(Malformed::EmptyPart);
        }
        if bytes.len() + body.len() > MESSAGE_MAX {
            return Err(Malformed::MessageTooLarge);
        }
        bytes.extend_from_slice(body);
        if !header.more {
            return Ok(Progress::Frame(Frame::Message { purpose, bytes }, descriptors));
        }
        self.message = Partial::Collecting { purpose, descriptors, bytes };
        Ok(Progress::Part)
    }

    fn whole(&mut self, header: &Header, body: &[u8], found: Descriptors) -> Result<Progress, Malformed> {
        if matches!(self.message, Partial::Collecting { .. }) {
            self.give_up();
            return Err(Malformed::Interrupted(header.kind));
        }
        let descriptors = header.check_descriptors(found)?;
        if header.token != 0 {
            return Err(Malformed::WrongToken(header.kind));
        }
        Ok(Progress::Frame(decode(header.kind, body)?, descriptors))
    }

    fn give_up(&mut self) {
        if matches!(self.message, Partial::Collecting { .. }) {
            self.message = Partial::Skipping;
        }
    }
}

impl Header {
    fn purpose(&self) -> Result<Purpose, Malformed> {
        let wrong = Malformed::WrongToken(self.kind);
        match (self.kind, RequestId::from_raw(self.token)) {
            (Kind::Message, None) => Ok(Purpose::Plain),
            (Kind::Request, Some(id)) => Ok(Purpose::Request(id)),
            (Kind::Reply, Some(id)) => Ok(Purpose::Reply(id)),
            (_, _) => Err(wrong),
        }
    }

    /// How many were announced, if all of them have come, or some were lost.
    fn check_descriptors(&self, found: Descriptors) -> Result<usize, Malformed> {
        let Self { kind, descriptors: announced, .. } = *self;
        let belong = kind.descriptors().contains(&announced);
        match found {
            Descriptors::Arrived(number) if belong && number == announced => Ok(announced),
            Descriptors::Lost if belong && announced > 0 => Ok(announced),
            Descriptors::Arrived(_) | Descriptors::Lost => Err(Malformed::Descriptors { kind, announced, found }),
        }
    }

    /// Those of a message came with its first part.
    fn check_no_descriptors(&self, found: Descriptors) -> Result<(), Malformed> {
        let Self { kind, descriptors: announced, .. } = *self;
        match (announced, found) {
            (0, Descriptors::Arrived(0)) => Ok(()),
            (_, Descriptors::Arrived(_) | Descriptors::Lost) => Err(Malformed::Descriptors { kind, announced, found }),
        }
    }
}

fn open(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    if packet.is_empty() {
        return Err(Malformed::Empty);
    }
    if packet.len() > PACKET_MAX {
        return Err(Malformed::PacketTooLarge);
    }
    let Some((&[kind, flags, low, high, token @ ..], body)) = packet.split_first_chunk::<HEADER>() else {
        return Err(Malformed::ShortHeader(packet.len()));
    };
    let kind = Kind::from_byte(kind).ok_or(Malformed::UnknownKind(kind))?;
    if flags & !MORE != 0 {
        return Err(Malformed::UnknownFlags(flags));
    }
    let more = flags & MORE != 0;
    if more && !kind.is_message() {
        return Err(Malformed::CannotBeSplit(kind));
    }
    let descriptors = usize::from(u16::from_le_bytes([low, high]));
    Ok((Header { kind, more, descriptors, token: u32::from_le_bytes(token) }, body))
}

fn decode(kind: Kind, body: &[u8]) -> Result<Frame, Malformed> {
    Ok(match kind {
        Kind::Hello => decode_hello(body)?,
        Kind::Listen => Frame::Listen { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Opened => Frame::Opened { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Closed => Frame::Closed { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Granted => Frame::Granted { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Refused => decode_refused(body)?,
        Kind::Drain => decode_drain(body)?,
        Kind::Ready => exactly(kind, body).map(|[]| Frame::Ready)?,
        Kind::Look => exactly(kind, body).map(|[]| Frame::Look)?,
        Kind::Retires => exactly(kind, body).map(|[]| Frame::Retires)?,
        Kind::Leaving => exactly(kind, body).map(|[]| Frame::Leaving)?,
        Kind::ReopenLogs => exactly(kind, body).map(|[]| Frame::ReopenLogs)?,
        Kind::AddressAdded => address::decode_added(body)?,
        Kind::AddressRemoved => address::decode_removed(body)?,
        Kind::Lend => decode_lend(body)?,
        Kind::TakeBack => Frame::TakeBack { loan: u32::from_le_bytes(exactly(kind, body)?) },
        Kind::Returned => Frame::Returned { loan: u32::from_le_bytes(exactly(kind, body)?) },
        Kind::Batch => Frame::Batch(Bundle::new(body)?),
        // These are put together from their parts.
        Kind::Message | Kind::Request | Kind::Reply => return Err(Malformed::UnknownKind(kind as u8)),
    })
}

/// A later version may say more behind the fields that every version has.
fn decode_hello(body: &[u8]) -> Result<Frame, Malformed> {
    let Some((&[a, b, c, d, e, f, pid @ ..], _later)) = body.split_first_chunk::<10>() else {
        return Err(Malformed::WrongLength { kind: Kind::Hello, body: body.len() });
    };
    let number = |low, high| u16::from_le_bytes([low, high]);
    Ok(Frame::Hello { major: number(a, b), minor: number(c, d), layout: number(e, f), pid: u32::from_le_bytes(pid) })
}

fn decode_lend(body: &[u8]) -> Result<Frame, Malformed> {
    let [a, b, c, d, e, f, g, h, i, j] = exactly(Kind::Lend, body)?;
    let (loan, slot) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    Ok(Frame::Lend { loan, slot, address: u16::from_le_bytes([i, j]) })
}

fn decode_drain(body: &[u8]) -> Result<Frame, Malformed> {
    let Some((within, &[shut])) = body.split_first_chunk() else {
        return Err(Malformed::WrongLength { kind: Kind::Drain, body: body.len() });
    };
    let leave = if yes(shut)? { Leave::Shut } else { Leave::HandOver };
    Ok(Frame::Drain { within: Duration::from_millis(u64::from_le_bytes(*within)), leave })
}

fn decode_refused(body: &[u8]) -> Result<Frame, Malformed> {
    let &[low, high, lost, ref reason @ ..] = body else {
        return Err(Malformed::WrongLength { kind: Kind::Refused, body: body.len() });
    };
    let lost = yes(lost)?;
    let reason = std::str::from_utf8(reason).map_err(|_invalid| Malformed::NotUtf8)?.to_owned();
    Ok(Frame::Refused { address: u16::from_le_bytes([low, high]), lost, reason })
}

fn yes(byte: u8) -> Result<bool, Malformed> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Malformed::NotYesOrNo(other)),
    }
}

fn exactly<const N: usize>(kind: Kind, body: &[u8]) -> Result<[u8; N], Malformed> {
    body.try_into().map_err(|_length| Malformed::WrongLength { kind, body: body.len() })
}
