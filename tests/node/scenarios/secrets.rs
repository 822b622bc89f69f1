//! Node's 2.10: what all workers have to share.

use std::{
    collections::HashSet,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use mio_cluster::{Cluster, Worker};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::scenarios;
use crate::stage::{Place, Primary};

scenarios!("secrets":
    tls_ticket_cluster,
);

/// Four workers, sixteen connections: each after the first one resumes the TLS session, on whatever worker it lands, as
/// the keys of the tickets were made before the forks.
fn tls_ticket_cluster(place: &Place) {
    let server = Arc::new(server());
    let mut primary =
        Primary::start(Cluster::new().listen(place.any()).workers(4), move |worker| serve(worker, &server));
    let at = primary.all_ready()[0];
    let client = Arc::new(client());
    let mut answered = HashSet::new();
    for number in 0..16 {
        let mut socket = TcpStream::connect(at).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut id = String::new();
        Stream::new(&mut tls, &mut socket).read_to_string(&mut id).unwrap();
        let expected = if number == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
        assert_eq!(tls.handshake_kind(), Some(expected), "connection {number}, worker {id}");
        answered.insert(id);
    }
    assert!(answered.len() >= 2, "only {answered:?}");
    primary.stop();
}

/// Each client gets the worker's id.
fn serve(mut worker: Worker, config: &Arc<ServerConfig>) -> io::Result<()> {
    // From now on it can be asked.
    worker.is_draining();
    let listener = worker.listen()?;
    while let Some((mut client, _peer)) = listener.accept_blocking()? {
        let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let mut stream = Stream::new(&mut tls, &mut client);
        write!(stream, "{}", worker.id())?;
        stream.conn.send_close_notify();
        stream.flush()?;
    }
    Ok(())
}

fn server() -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tls/key.pem")).unwrap();
    let mut config = builder.with_single_cert(vec![certificate()], key).unwrap();
    config.ticketer = ring::Ticketer::new().unwrap();
    // It refuses tickets that are longer than all that it has made: a worker that has made none yet would refuse all.
    config.ticketer.encrypt(&[0; 512]);
    config
}

fn client() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("../../tls/certificate.pem")).unwrap()
}
