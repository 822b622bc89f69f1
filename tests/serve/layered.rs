//! A service that wraps another one and does nothing but that, as TLS does with something in between.

use std::io;

use mio_cluster::{Closed, Deadline, Io, Layer, Posted, Service, Turn};

pub(crate) struct Layered<S> {
    inner: S,
    /// Of one callback.
    output: Vec<u8>,
}

pub(crate) struct Conn<C> {
    inner: C,
    layer: Layer,
    /// The inner service is to be told when it has seen all input.
    has_ended: bool,
}

impl<S: Service> Layered<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, output: Vec::new() }
    }

    fn call(
        &mut self,
        conn: &mut Conn<S::Conn>,
        io: &mut Io<'_>,
        callback: impl FnOnce(&mut S, &mut S::Conn, &mut Io<'_>),
    ) {
        if !conn.layer.is_closed() {
            callback(&mut self.inner, &mut conn.inner, &mut io.layer(&mut conn.layer, &mut self.output));
        }
        self.settle(conn, io);
    }

    fn show(&mut self, conn: &mut Conn<S::Conn>, io: &mut Io<'_>, fresh: &[u8]) {
        let Self { inner, output } = self;
        let Conn { inner: state, layer, .. } = conn;
        layer.received(io, output, fresh, |io, input| inner.received(state, io, input));
        self.settle(conn, io);
    }

    /// What the inner service has written and wants goes on to the connection.
    fn settle(&mut self, conn: &mut Conn<S::Conn>, io: &mut Io<'_>) {
        io.write(&self.output);
        self.output.clear();
        if conn.layer.wants_flushed() {
            io.want_flushed();
        }
        conn.layer.close(io);
    }

    fn end(&mut self, conn: &mut Conn<S::Conn>, io: &mut Io<'_>) {
        if !conn.layer.is_unshown() && std::mem::take(&mut conn.has_ended) {
            self.call(conn, io, S::end_of_input);
        }
    }
}

impl<S: Service> Service for Layered<S> {
    type Conn = Conn<S::Conn>;

    fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        self.inner.started(turn)
    }

    fn opened(&mut self, io: &mut Io<'_>) -> Self::Conn {
        let mut layer = Layer::new();
        let inner = self.inner.opened(&mut io.layer(&mut layer, &mut self.output));
        let mut conn = Conn { inner, layer, has_ended: false };
        self.settle(&mut conn, io);
        conn
    }

    fn received(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        if conn.layer.is_unshown() {
            self.show(conn, io, &[]);
        }
        if conn.layer.is_unshown() {
            return 0;
        }
        self.show(conn, io, input);
        input.len()
    }

    fn flushed(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        if conn.layer.take_want_flushed() {
            // Also after it has closed.
            let mut inner = io.layer(&mut conn.layer, &mut self.output);
            self.inner.flushed(&mut conn.inner, &mut inner);
            self.settle(conn, io);
        }
        self.show(conn, io, &[]);
        self.end(conn, io);
    }

    fn posted(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, value: Posted) {
        self.call(conn, io, |inner, conn, io| inner.posted(conn, io, value));
    }

    fn timed_out(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, which: Deadline) {
        let mut inner = io.layer(&mut conn.layer, &mut self.output);
        self.inner.timed_out(&mut conn.inner, &mut inner, which);
        self.settle(conn, io);
    }

    fn draining(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        self.call(conn, io, S::draining);
    }

    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        conn.has_ended = true;
        self.end(conn, io);
    }

    fn closed(&mut self, conn: Self::Conn, turn: &mut Turn<'_>, why: Closed) {
        self.inner.closed(conn.inner, turn, why);
    }
}
