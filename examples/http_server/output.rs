//! What a connection still has to send. Pure.

#[derive(Default)]
pub(crate) struct Output {
    text: Vec<u8>,
    sent: usize,
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunk().is_empty()
    }

    /// The peer takes its answers more slowly than it asks: answer, and read, no more until this is false.
    pub(crate) fn is_full(&self) -> bool {
        self.chunk().len() >= LIMIT
    }

    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// The bytes to write next.
    pub(crate) fn chunk(&self) -> &[u8] {
        &self.text[self.sent..]
    }

    /// The first `count` bytes of [`Output::chunk`] are on their way.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.sent = 0;
            self.text.clear();
            self.text.shrink_to(KEPT);
        }
    }
}

/// Enough to fill a fast connection between two turns; a peer that never reads costs no more than this and one answer.
const LIMIT: usize = 256 << 10;

/// An ordinary answer fits; a burst does not hold its memory for as long as the connection stays idle.
const KEPT: usize = 4096;
