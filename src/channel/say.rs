//! A program's message, from either side: in a batch or alone, and what is wrong if it cannot be sent.

use std::{
    fmt,
    io::{self, ErrorKind},
    mem,
    os::fd::{AsFd, BorrowedFd},
};

use nix::libc;

use super::Channel;
use crate::{
    error::{Error, Kind, Result},
    event::Message,
    wire::{Batch, DESCRIPTORS_MAX, Frame, Purpose, TooLarge},
};

impl Channel {
    /// Sends the program's message; a small plain one may be held, see [`due`](Self::due). `step` says whom it is for,
    /// `now` is in nanoseconds.
    ///
    /// **Errors** name what to do and hold the message.
    pub(crate) fn say(
        &mut self,
        step: fmt::Arguments<'_>,
        now: u64,
        purpose: Purpose,
        mut message: Message,
    ) -> Result<()> {
        let said = self.try_say(now, purpose, &mut message);
        said.map_err(|error| not_said(step, &message, error).with_message(message))
    }

    fn try_say(&mut self, now: u64, purpose: Purpose, message: &mut Message) -> io::Result<()> {
        if purpose == Purpose::Plain && message.fds.is_empty() && message.bytes.len() <= Batch::MESSAGE_MAX {
            return self.post(now, &message.bytes);
        }
        if message.fds.len() > DESCRIPTORS_MAX {
            return Err(ErrorKind::InvalidInput.into());
        }
        let frame = Frame::Message { purpose, bytes: mem::take(&mut message.bytes) };
        let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
        let sent = self.send(&frame, &fds);
        if let (Err(_), Frame::Message { bytes, .. }) = (&sent, frame) {
            message.bytes = bytes;
        }
        sent
    }
}

fn not_said(step: fmt::Arguments<'_>, message: &Message, error: io::Error) -> Error {
    let fds = message.fds.len();
    if fds > DESCRIPTORS_MAX {
        let text = format!("{step}: {fds} descriptors are more than the {DESCRIPTORS_MAX} that a message can carry");
        return Error::new(Kind::InvalidConfig, text);
    }
    if error.kind() == ErrorKind::WouldBlock {
        let text =
            format!("{step}: there is no room, what was sent before is not read yet; try again after `Writable`");
        return Error::new(Kind::WouldBlock, text);
    }
    if error.raw_os_error() == Some(libc::ETOOMANYREFS) {
        let text =
            format!("{step}: more descriptors of this user are on their way than its limit allows (`ulimit -n`)");
        return Error::new(Kind::System, text).because(error);
    }
    if error.get_ref().is_some_and(|cause| cause.is::<TooLarge>()) {
        return Error::new(Kind::InvalidConfig, step.to_string()).because(error);
    }
    Error::system(step.to_string(), error)
}
