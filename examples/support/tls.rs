//! TLS for any service, by rustls: `worker.serve(Tls::new(config, service))`.
//!
//! The inner service notices nothing of it: it gets plaintext, and what it writes is encrypted when its callback is
//! over. Its connections begin when the handshake is over: it is `opened` then, and one that fails before that costs it
//! nothing, not even a `closed`. A handshake, and a record that is not complete, is a request that is not complete: it
//! has the time of `Serve::request_timeout`, and a drain waits for it. Whoever connects and sends nothing has no TLS
//! state yet.
//!
//! `end_of_input` means that the peer said goodbye (`close_notify`). A connection that ends without one is cut off, by
//! whom nobody can say. Its service gets what came before, and no `end_of_input`, so that no truncated message can pass
//! for a complete one: in the middle of a request the connection has `Failed` (`UnexpectedEof`), between requests it
//! was closed `ByPeer`, since many clients never say goodbye.
//!
//! rustls runs without buffers of its own, which are more than half of what a connection takes. Here each worker has
//! one of each kind; a connection keeps only the beginning of a record, and what the inner service has not consumed.

use std::{error::Error, io, mem, path::Path, sync::Arc};

use mio_cluster::{
    Closed, Deadline, Io, Layer, Posted, Service, SourceId, TimerId, Turn, WorkerEvent, mio::event::Event,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};

/// A certificate with the chain to its issuer, and its key, as PEM files; TLS 1.2 and 1.3.
///
/// For `main`, before the cluster forks: an error ends the program before there are workers, the key is read with the
/// privileges of the start, and the key of the session tickets is the same in all workers, so that a client that comes
/// back to another one need not begin from scratch. (After six hours each worker makes a new one of its own; the cost
/// is a full handshake.)
pub(crate) fn config(certificates: &Path, key: &Path) -> Result<ServerConfig, Box<dyn Error>> {
    let unreadable = |path: &Path, error| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| unreadable(certificates, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key)?;
    config.ticketer = ring::Ticketer::new()?;
    // It refuses tickets that are longer than all that it has made: a worker that has made none yet would refuse all.
    config.ticketer.encrypt(&[0; TICKET]);
    Ok(config)
}

/// A service in TLS.
pub(crate) struct Tls<S> {
    service: S,
    config: Arc<ServerConfig>,
    /// Memory that connections share, empty between callbacks.
    plain: Plain,
    records: Vec<u8>,
}

#[derive(Default)]
struct Plain {
    /// For the service.
    input: Vec<u8>,
    /// Of the service.
    output: Vec<u8>,
}

/// `C`: the inner service's.
pub(crate) struct Conn<C> {
    /// From the first byte on, and until it fails.
    session: Option<Session>,
    inner: Option<C>,
    layer: Layer,
    end: End,
    knows_drain: bool,
}

/// Of the peer's plaintext.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// The connection has ended without a goodbye.
    CutOff,
    /// The inner service knows.
    Told,
}

impl<C> Conn<C> {
    /// And the inner service has seen all that came before.
    fn is_cut_off(&self) -> bool {
        self.end == End::CutOff && !self.layer.is_unshown() && !self.layer.is_closed()
    }
}

impl<S: Service> Tls<S> {
    pub(crate) fn new(config: Arc<ServerConfig>, service: S) -> Self {
        Self { service, config, plain: Plain::default(), records: Vec::new() }
    }

    fn call(
        &mut self,
        conn: &mut Conn<S::Conn>,
        io: &mut Io<'_>,
        callback: impl FnOnce(&mut S, &mut S::Conn, &mut Io<'_>),
    ) {
        if let Some(inner) = &mut conn.inner {
            callback(&mut self.service, inner, &mut io.layer(&mut conn.layer, &mut self.plain.output));
            self.go_on(conn, io, &[]);
        }
    }

    /// With what has come from the network and what the inner service has just written, until nothing is left to do.
    fn go_on(&mut self, conn: &mut Conn<S::Conn>, io: &mut Io<'_>, fresh: &[u8]) {
        let Some(mut session) = conn.session.take() else { return self.plain.output.clear() };
        session.take_in(fresh, &mut self.records);
        let result = loop {
            let goodbye = conn.layer.is_closed() || conn.is_cut_off();
            if let Err(error) = session.exchange(&mut self.plain, goodbye, io.output()) {
                break Err(error);
            }
            if !self.next(conn, io, &session) {
                break Ok(());
            }
        };
        self.plain.input.clear();
        if let Err(error) = result {
            log::debug!("TLS with {:?}: {error}", io.peer());
            self.records.clear();
            return io.fail(error);
        }
        conn.layer.close(io);
        if conn.layer.wants_flushed() {
            io.want_flushed();
        }
        io.hold_input(conn.layer.holds_input());
        io.set_in_request(session.is_incomplete());
        session.put_by(&mut self.records);
        conn.session = Some(session);
        if conn.is_cut_off() {
            if io.is_in_request() {
                io.fail(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has closed without close_notify"));
            }
            io.close();
        }
    }

    /// The next callback of the inner service that is due, if any.
    fn next(&mut self, conn: &mut Conn<S::Conn>, io: &mut Io<'_>, session: &Session) -> bool {
        let Conn { inner, layer, end, knows_drain, .. } = conn;
        let Some(inner) = inner else {
            if session.tls.is_handshaking() {
                return false;
            }
            // Here a service could be told what was agreed on: the name of the server, ALPN, the client's certificate.
            *inner = Some(self.service.opened(&mut io.layer(layer, &mut self.plain.output)));
            return true;
        };
        if !self.plain.input.is_empty() || (layer.is_unshown() && !layer.holds_input() && !io.is_full()) {
            let service = &mut self.service;
            layer.received(io, &mut self.plain.output, &self.plain.input, |io, input| {
                service.received(inner, io, input)
            });
            self.plain.input.clear();
            return true;
        }
        if io.is_draining() && !layer.is_closed() && !mem::replace(knows_drain, true) {
            self.service.draining(inner, &mut io.layer(layer, &mut self.plain.output));
            return true;
        }
        if session.is_ended && *end == End::NotYet && !layer.is_unshown() && !layer.is_closed() && io.jobs() == 0 {
            *end = End::Told;
            self.service.end_of_input(inner, &mut io.layer(layer, &mut self.plain.output));
            return true;
        }
        false
    }
}

impl<S: Service> Service for Tls<S> {
    type Conn = Conn<S::Conn>;

    fn started(&mut self, turn: &mut Turn<'_>) -> io::Result<()> {
        self.service.started(turn)
    }

    fn opened(&mut self, _io: &mut Io<'_>) -> Self::Conn {
        Conn { session: None, inner: None, layer: Layer::new(), end: End::NotYet, knows_drain: false }
    }

    fn received(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        if conn.layer.is_unshown() {
            self.go_on(conn, io, &[]);
            // It may have closed, too: nothing is to be decrypted after a goodbye.
            if conn.layer.is_unshown() || conn.layer.is_closed() || conn.session.is_none() {
                return 0;
            }
        }
        if conn.session.is_none() {
            match Session::new(&self.config) {
                Ok(session) => conn.session = Some(session),
                Err(error) => io.fail(io::Error::other(error)),
            }
        }
        self.go_on(conn, io, input);
        input.len()
    }

    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        match &conn.session {
            None => io.close(),
            Some(session) if session.is_ended => {}
            Some(_) => conn.end = End::CutOff,
        }
        self.go_on(conn, io, &[]);
    }

    fn flushed(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        if conn.layer.take_want_flushed() {
            self.call(conn, io, |service, inner, io| service.flushed(inner, io));
        } else {
            self.go_on(conn, io, &[]);
        }
    }

    fn timed_out(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, which: Deadline) {
        if conn.inner.is_none() {
            io.close();
        }
        self.call(conn, io, |service, inner, io| service.timed_out(inner, io, which));
    }

    fn posted(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, value: Posted) {
        self.call(conn, io, |service, inner, io| service.posted(inner, io, value));
    }

    /// The inner service hears it as soon as it has seen all that came before; after its handshake, if that goes on.
    fn draining(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        self.go_on(conn, io, &[]);
    }

    fn closed(&mut self, conn: Self::Conn, turn: &mut Turn<'_>, why: Closed) {
        if let Some(inner) = conn.inner {
            self.service.closed(inner, turn, why);
        }
    }

    fn ready(&mut self, turn: &mut Turn<'_>, id: SourceId, event: &Event) {
        self.service.ready(turn, id, event);
    }

    fn timer(&mut self, turn: &mut Turn<'_>, id: TimerId) {
        self.service.timer(turn, id);
    }

    fn event(&mut self, turn: &mut Turn<'_>, event: WorkerEvent) {
        self.service.event(turn, event);
    }
}

/// One connection's TLS: records in, plaintext out, and the reverse.
struct Session {
    tls: Box<UnbufferedServerConnection>,
    /// The beginning of a record or of a handshake message. rustls decrypts in place and remembers how far it is, so it
    /// must get the same bytes again.
    records: Vec<u8>,
    /// The peer has said goodbye.
    is_ended: bool,
    said_goodbye: bool,
}

impl Session {
    fn new(config: &Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let tls = Box::new(UnbufferedServerConnection::new(Arc::clone(config))?);
        Ok(Self { tls, records: Vec::new(), is_ended: false, said_goodbye: false })
    }

    /// A message has begun and is not complete.
    fn is_incomplete(&self) -> bool {
        self.tls.is_handshaking() || !self.records.is_empty()
    }

    /// In `buffer`, until [`put_by`](Self::put_by).
    fn take_in(&mut self, fresh: &[u8], buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.records);
        buffer.extend_from_slice(fresh);
        mem::swap(&mut self.records, buffer);
    }

    /// What is left.
    fn put_by(&mut self, buffer: &mut Vec<u8>) {
        mem::swap(&mut self.records, buffer);
        self.records.clear();
        self.records.extend_from_slice(buffer);
        if self.records.is_empty() {
            self.records = Vec::new();
        }
        buffer.clear();
    }

    /// Decrypts all complete records, encrypts all output, and appends to `out` what the peer is to get; that includes
    /// what rustls itself has to say, also if it fails. Afterwards `plain.output` is empty.
    fn exchange(&mut self, plain: &mut Plain, goodbye: bool, out: &mut Vec<u8>) -> io::Result<()> {
        let mut used = 0;
        while self.step(&mut used, plain, goodbye, out)? {}
        if self.is_ended {
            // Nothing that follows a goodbye means anything.
            used = self.records.len();
        }
        self.records.drain(..used);
        plain.output.clear();
        plain.output.shrink_to(SPARE);
        if self.records.len() > MAX_RECORDS { Err(invalid("a handshake message is too large")) } else { Ok(()) }
    }

    /// `used`: of the records. Whether there may be more to do.
    fn step(&mut self, used: &mut usize, plain: &mut Plain, goodbye: bool, out: &mut Vec<u8>) -> io::Result<bool> {
        let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.records[*used..]);
        *used += discard;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(invalid)?;
                    plain.input.extend_from_slice(record.payload);
                    *used += record.discard;
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out)?,
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => self.is_ended = true,
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                if !self.said_goodbye {
                    encrypt(&mut traffic, &plain.output, out)?;
                }
                if goodbye && !mem::replace(&mut self.said_goodbye, true) {
                    append(out, |room| traffic.queue_close_notify(room))?;
                }
                return Ok(false);
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => return Ok(false),
            // An attacker can repeat it: not for a service that knows nothing of it.
            Ok(_early_data) => return Err(io::Error::other("the configuration must not allow early data")),
            Err(error) => {
                self.last_words(out)?;
                return Err(invalid(error));
            }
        }
        Ok(true)
    }

    /// The alert that says what is wrong.
    fn last_words(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out)?,
                _no_more => break,
            }
        }
        Ok(())
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(start + size.required_size, 0);
        data.encode(&mut out[start..]).map_err(invalid)?;
    }
    Ok(())
}

fn encrypt<D>(traffic: &mut WriteTraffic<'_, D>, output: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    output.chunks(RECORD).try_for_each(|piece| append(out, |room| traffic.encrypt(piece, room)))
}

/// `write` says how much room it needs.
fn append(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>) -> io::Result<()> {
    let start = out.len();
    let mut written = write(&mut []);
    if let Err(EncryptError::InsufficientSize(size)) = &written {
        out.resize(start + size.required_size, 0);
        written = write(&mut out[start..]);
    }
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop).map_err(invalid)
}

fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Some times what a session without client certificates takes.
const TICKET: usize = 512;

/// The most that one record holds.
const RECORD: usize = 16 << 10;

/// The largest handshake message that rustls accepts, and a record of which it is the end.
const MAX_RECORDS: usize = (64 << 10) + RECORD + (2 << 10);

/// What one large answer has taken is given back.
const SPARE: usize = 64 << 10;
