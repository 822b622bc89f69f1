//! What stands between a service that wraps another one, such as TLS, and the inner one.

use std::{fmt, mem};

use super::{
    connection::OUTERMOST,
    io::{Below, End, Io, Wish},
};

/// What a service that wraps another one, such as TLS, keeps for the inner one, per connection: input that the inner
/// one has not consumed, and what it wants to become of the connection.
///
/// The inner service's callbacks get the [`Io`] of [`Io::layer`], or, for input, of [`received`](Self::received). After
/// each of them the outer service takes the output, makes of it what it likes, and looks whether the inner one
/// [has closed](Self::is_closed) or [waits for `flushed`](Self::wants_flushed).
///
/// Both services can be in the middle of a request ([`Io::set_in_request`]) without knowing of each other, and input
/// that is kept here counts as one that is not complete.
#[derive(Default)]
pub struct Layer {
    input: Vec<u8>,
    /// `input` is to be shown again when there is room.
    unshown: bool,
    wish: Wish,
}

impl Layer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows input to the inner service, by the rules of [`Service::received`](crate::Service::received): `fresh`
    /// behind what is left of earlier input, again and again while some of it is consumed and there is room. What is
    /// left is kept, up to [`Serve::max_input`](crate::Serve::max_input). Without `fresh` it shows what [waits for
    /// room](Self::is_unshown). Does nothing if the inner service has closed.
    ///
    /// `output`: for what the inner service writes, as that of [`Io::layer`].
    pub fn received(
        &mut self,
        io: &mut Io<'_>,
        output: &mut Vec<u8>,
        fresh: &[u8],
        mut received: impl FnMut(&mut Io<'_>, &[u8]) -> usize,
    ) {
        if self.is_closed() || (fresh.is_empty() && (!self.unshown || self.holds_input())) {
            return;
        }
        let mut kept = mem::take(&mut self.input);
        let used = if kept.is_empty() {
            let used = self.feed(io, output, fresh, &mut received);
            kept.extend_from_slice(&fresh[used..]);
            used
        } else {
            kept.extend_from_slice(fresh);
            let used = self.feed(io, output, &kept, &mut received);
            kept.drain(..used);
            used
        };
        if kept.is_empty() || self.is_closed() {
            kept = Vec::new();
        }
        self.input = kept;
        io.keeps_input(!self.input.is_empty(), used > 0);
        if self.input.len() > io.hub.options.max_input && !self.unshown {
            io.wish.end = Some(End::InputLimit);
        }
    }

    /// As long as some of it is consumed; returns how much was.
    fn feed(
        &mut self,
        io: &mut Io<'_>,
        output: &mut Vec<u8>,
        input: &[u8],
        received: &mut impl FnMut(&mut Io<'_>, &[u8]) -> usize,
    ) -> usize {
        let mut used = 0;
        self.unshown = false;
        while used < input.len() && !self.is_closed() {
            if self.holds_input() || io.layer(self, output).is_full() {
                self.unshown = true;
                break;
            }
            let count = received(&mut io.layer(self, output), &input[used..]);
            used += count.min(input.len() - used);
            if count == 0 {
                // It may wait for room.
                self.unshown = self.holds_input() || io.layer(self, output).is_full();
                break;
            }
        }
        used
    }

    /// Input waits for room in the output, or for the inner service: call [`received`](Self::received), with or without
    /// more of it, when there is, at the latest in [`Service::flushed`](crate::Service::flushed). Until then the outer
    /// service should leave its own input unconsumed, or a peer that does not take its answers fills the memory, and
    /// keep the end of input to itself.
    pub fn is_unshown(&self) -> bool {
        self.unshown && !self.is_closed()
    }

    /// Whether the inner service [holds its input back](Io::hold_input): the outer one should do the same.
    pub fn holds_input(&self) -> bool {
        self.wish.held == Some(true)
    }

    /// Whether the inner service has closed: the outer one says its goodbye, and [closes](Self::close).
    pub fn is_closed(&self) -> bool {
        self.wish.end.is_some()
    }

    /// Closes the connection as the inner service wants it to be; does nothing if it does not.
    pub fn close(&self, io: &mut Io<'_>) {
        match self.wish.end {
            None => {}
            Some(End::Close) => io.close(),
            Some(End::Lingering) => io.close_lingering(),
            Some(end @ (End::Abort | End::InputLimit)) => io.wish.end = Some(end),
        }
    }

    /// Whether the outer service should [ask](Io::want_flushed) for `flushed`: the inner one waits for it, or input for
    /// room.
    pub fn wants_flushed(&self) -> bool {
        self.wish.flushed || (self.is_unshown() && !self.holds_input())
    }

    /// Whether the inner service waits for `flushed`; answers once.
    pub fn take_want_flushed(&mut self) -> bool {
        mem::take(&mut self.wish.flushed)
    }
}

impl Io<'_> {
    /// For a service that wraps another one: the connection, for a callback of the inner service. What that writes goes
    /// to `output`, and whether it closes or waits for `flushed` to `layer`; everything else is done to the connection
    /// itself.
    ///
    /// `output` may be one buffer for all connections, if the outer service empties it in the same callback; what is
    /// left in it counts as unsent.
    pub fn layer<'b>(&'b mut self, layer: &'b mut Layer, output: &'b mut Vec<u8>) -> Io<'b> {
        let unsent = self.below.unsent + self.output.len().saturating_sub(self.below.sent);
        Io {
            level: if self.level < DEEPEST { self.level << 2 } else { self.level },
            head: self.head,
            output,
            wish: &mut layer.wish,
            below: Below { unsent, sent: 0 },
            hub: self.hub,
        }
    }

    /// Whether the layer on this service keeps input, and whether some of it was consumed just now: what is left is the
    /// next request.
    fn keeps_input(&mut self, on: bool, progress: bool) {
        let (level, now) = (self.level << 1, self.hub.clock.ms);
        if progress {
            self.head.set_in_request(level, false, now);
            self.head.set_in_request(level, true, now);
        }
        self.head.set_in_request(level, on, now);
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, unshown, wish } = self;
        let mut text = f.debug_struct("Layer");
        text.field("input", &input.len()).field("unshown", unshown).field("wish", wish).finish()
    }
}

/// Four services, one on the other, and the layers between them have a bit each; further ones share the last.
const DEEPEST: u8 = OUTERMOST << 6;
