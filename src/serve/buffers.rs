//! The memory that bytes pass through: none of it belongs to a connection that is idle.

pub(super) struct Buffers {
    /// Where every read goes first; [`prepare`](Self::prepare) makes it.
    pub(super) read: Vec<u8>,
    /// Empty ones, for output and for what is left of input; the last one is still in the cache.
    spare: Vec<Vec<u8>>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { read: Vec::new(), spare: Vec::new() }
    }

    /// For the first connection. Before that it would be memory that nobody needs: zeroed, so touched, where the
    /// allocator takes it from what the master has given back.
    #[inline]
    pub(super) fn prepare(&mut self) {
        if self.read.is_empty() {
            self.read = vec![0; READ];
        }
    }

    #[inline]
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    #[inline]
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) && self.spare.len() < KEPT {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// A loopback client with many requests in flight fills it.
const READ: usize = 64 << 10;

/// A burst of large answers does not hold its memory for ever: at most 8 MiB.
const KEPT: usize = 128;
const KEPT_BYTES: usize = 64 << 10;
