//! What a connection still has to send: bytes of answers, then any number of filler bytes that are never held in
//! memory.
//!
//! Pure. It must not be given more while [`Output::is_full`]: filler comes last, so text behind it would overtake it.

#[derive(Default)]
pub(crate) struct Output {
    text: Vec<u8>,
    sent: usize,
    filler: u64,
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.unsent() == 0 && self.filler == 0
    }

    /// The peer takes its answers more slowly than it asks: answer, and read, no more until this is false.
    pub(crate) fn is_full(&self) -> bool {
        self.filler > 0 || self.unsent() >= LIMIT
    }

    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Appends `count` bytes of filler; a few are copied, so that small answers leave with one write.
    pub(crate) fn fill(&mut self, count: u64) {
        match usize::try_from(count) {
            Ok(count) if count <= FILLER.len() => self.text.extend_from_slice(&FILLER[..count]),
            _large => self.filler += count,
        }
    }

    /// The bytes to write next; empty only if nothing is left.
    pub(crate) fn chunk(&self) -> &[u8] {
        if self.unsent() > 0 {
            return &self.text[self.sent..];
        }
        let left = usize::try_from(self.filler).unwrap_or(usize::MAX);
        &FILLER[..left.min(FILLER.len())]
    }

    /// The first `count` bytes of [`Output::chunk`] are on their way.
    pub(crate) fn wrote(&mut self, count: usize) {
        if self.unsent() == 0 {
            self.filler -= count as u64;
            return;
        }
        self.sent += count;
        if self.unsent() == 0 {
            self.sent = 0;
            self.text.clear();
            self.text.shrink_to(KEPT);
        }
    }

    fn unsent(&self) -> usize {
        self.text.len() - self.sent
    }
}

/// Enough to fill a fast connection between two turns; a peer that never reads costs no more than this and one answer.
const LIMIT: usize = 1 << 20;

/// An ordinary answer fits; a burst does not hold its memory for as long as the connection stays idle.
const KEPT: usize = 4096;

static FILLER: [u8; 64 << 10] = [b'x'; 64 << 10];
