//! From packets to frames: the side that must not trust what it reads.

use super::{Frame, HEADER, MESSAGE_MAX, MORE, Malformed, PACKET_MAX, frame::Kind};
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

#[derive(Default, Debug)]
enum Partial {
    #[default]
    None,
    Collecting(Vec<u8>),
    /// Until the last part of a message whose other parts were bad.
    Skipping,
}

impl Assembler {
    /// `None`: more packets are needed. A frame whose descriptors are [`Descriptors::Lost`] is returned all the same,
    /// if it should have had any: whoever holds the descriptors must say to the peer that they did not arrive.
    pub(crate) fn push(&mut self, packet: &[u8], descriptors: Descriptors) -> Result<Option<Frame>, Malformed> {
        match open(packet) {
            Ok((Kind::Message, more, body)) => self.part(more, body, descriptors),
            Ok((kind, _more, body)) => self.whole(kind, body, descriptors).map(Some),
            Err(malformed) => {
                self.give_up();
                Err(malformed)
            }
        }
    }

    fn part(&mut self, more: bool, body: &[u8], descriptors: Descriptors) -> Result<Option<Frame>, Malformed> {
        let rest = if more { Partial::Skipping } else { Partial::None };
        let mut bytes = match mem::replace(&mut self.message, rest) {
            Partial::None => Vec::new(),
            Partial::Collecting(bytes) => bytes,
            Partial::Skipping => return Ok(None),
        };
        check_descriptors(Kind::Message, descriptors)?;
        if more && body.is_empty() {
            return Err(Malformed::EmptyPart);
        }
        if bytes.len() + body.len() > MESSAGE_MAX {
            return Err(Malformed::MessageTooLarge);
        }
        bytes.extend_from_slice(body);
        if !more {
            return Ok(Some(Frame::Message { bytes }));
        }
        self.message = Partial::Collecting(bytes);
        Ok(None)
    }

    fn whole(&mut self, kind: Kind, body: &[u8], descriptors: Descriptors) -> Result<Frame, Malformed> {
        if matches!(self.message, Partial::Collecting(_)) {
            self.give_up();
            return Err(Malformed::Interrupted(kind));
        }
        check_descriptors(kind, descriptors)?;
        decode(kind, body)
    }

    fn give_up(&mut self) {
        if matches!(self.message, Partial::Collecting(_)) {
            self.message = Partial::Skipping;
        }
    }
}

/// The kind of a packet, its MORE flag and its body.
fn open(packet: &[u8]) -> Result<(Kind, bool, &[u8]), Malformed> {
    if packet.is_empty() {
        return Err(Malformed::Empty);
    }
    if packet.len() > PACKET_MAX {
        return Err(Malformed::PacketTooLarge);
    }
    let Some((&[kind, flags, reserved @ ..], body)) = packet.split_first_chunk::<HEADER>() else {
        return Err(Malformed::ShortHeader(packet.len()));
    };
    let kind = Kind::from_byte(kind).ok_or(Malformed::UnknownKind(kind))?;
    if flags & !MORE != 0 {
        return Err(Malformed::UnknownFlags(flags));
    }
    if reserved.iter().any(|&byte| byte != 0) {
        return Err(Malformed::ReservedInUse);
    }
    let more = flags & MORE != 0;
    if more && kind != Kind::Message {
        return Err(Malformed::CannotBeSplit(kind));
    }
    Ok((kind, more, body))
}

fn check_descriptors(kind: Kind, found: Descriptors) -> Result<(), Malformed> {
    let expected = kind.descriptors();
    match found {
        Descriptors::Arrived(number) if number == expected => Ok(()),
        Descriptors::Lost if expected > 0 => Ok(()),
        Descriptors::Arrived(_) | Descriptors::Lost => Err(Malformed::Descriptors { kind, expected, found }),
    }
}

fn decode(kind: Kind, body: &[u8]) -> Result<Frame, Malformed> {
    Ok(match kind {
        Kind::Hello => decode_hello(body)?,
        Kind::Listen => Frame::Listen { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Opened => Frame::Opened { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Closed => Frame::Closed { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Granted => Frame::Granted { address: u16::from_le_bytes(exactly(kind, body)?) },
        Kind::Refused => decode_refused(body)?,
        Kind::Drain => Frame::Drain { within: Duration::from_millis(u64::from_le_bytes(exactly(kind, body)?)) },
        Kind::Ready => exactly(kind, body).map(|[]| Frame::Ready)?,
        Kind::Leaving => exactly(kind, body).map(|[]| Frame::Leaving)?,
        Kind::ReopenLogs => exactly(kind, body).map(|[]| Frame::ReopenLogs)?,
        Kind::Message => Frame::Message { bytes: body.to_vec() },
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

fn decode_refused(body: &[u8]) -> Result<Frame, Malformed> {
    let &[low, high, lost, ref reason @ ..] = body else {
        return Err(Malformed::WrongLength { kind: Kind::Refused, body: body.len() });
    };
    let lost = match lost {
        0 => false,
        1 => true,
        other => return Err(Malformed::NotYesOrNo(other)),
    };
    let reason = std::str::from_utf8(reason).map_err(|_invalid| Malformed::NotUtf8)?.to_owned();
    Ok(Frame::Refused { address: u16::from_le_bytes([low, high]), lost, reason })
}

fn exactly<const N: usize>(kind: Kind, body: &[u8]) -> Result<[u8; N], Malformed> {
    body.try_into().map_err(|_length| Malformed::WrongLength { kind, body: body.len() })
}
