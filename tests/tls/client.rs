//! A client that is in control of every byte.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use socket2::SockRef;

use super::service::WATCHDOG;

pub(super) fn config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(include_bytes!("certificate.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

pub(super) struct Client {
    pub(super) tls: ClientConnection,
    pub(super) socket: TcpStream,
    /// Received and not yet asked for.
    input: Vec<u8>,
}

impl Client {
    /// Nothing is sent yet.
    pub(super) fn new(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        // The default may hold more than a case has to send.
        SockRef::from(&socket).set_recv_buffer_size(64 << 10).unwrap();
        socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Self { tls: ClientConnection::new(Arc::clone(config), name).unwrap(), socket, input: Vec::new() }
    }

    /// Greeted by the service.
    pub(super) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut client = Self::new(address, config);
        assert_eq!(client.line(), "hello");
        client
    }

    /// As one record, if it is small.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let records = self.sealed(bytes);
        self.socket.write_all(&records).unwrap();
    }

    pub(super) fn sealed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(bytes.as_ref()).unwrap();
        self.records()
    }

    /// What the client's TLS has to say.
    pub(super) fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).unwrap();
        }
        records
    }

    /// The rest of a handshake, too.
    fn read(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 << 10];
        let count = rustls::Stream::new(&mut self.tls, &mut self.socket).read(&mut piece)?;
        self.input.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    pub(super) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            assert_ne!(self.read().unwrap(), 0, "the server has closed");
        }
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.input.len() < count {
            assert_ne!(self.read().unwrap(), 0, "the server has closed");
        }
        self.input.drain(..count).collect()
    }

    /// Everything to the end; an error if that comes without close_notify.
    pub(super) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.read()? > 0 {}
        Ok(std::mem::take(&mut self.input))
    }

    pub(super) fn close_notify(&mut self) {
        self.tls.send_close_notify();
        let records = self.records();
        self.socket.write_all(&records).unwrap();
    }

    pub(super) fn cut_off(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}
