//! `http_server --tls`: workers that were forked with one TLS configuration.

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::SocketAddr,
    process::{Command, Output},
    sync::Arc,
};

use nix::sys::signal::Signal;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::harness::{Bench, Run, cases};

cases!("tls":
    curl_gets_what_it_asks_for,
    a_client_that_comes_back_to_another_worker_need_not_begin_from_scratch,
    certificates_that_cannot_be_read_are_bad_usage,
);

fn curl_gets_what_it_asks_for(bench: &Bench) {
    if Command::new("curl").arg("--version").output().is_err() {
        bench.cannot("curl is not installed");
    }
    let (mut run, address) = start(bench);
    let curl = |arguments: &[&str]| {
        let server = format!("localhost:443:{}:{}", address.ip(), address.port());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--cacert", CERTIFICATE, "--connect-to", &server]);
        let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
        assert!(status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        stdout
    };
    for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        // Two requests on one connection; an answer and a request that are larger than all buffers.
        let twice = ["https://localhost/", "https://localhost/", "--write-out", "%{num_connects}"];
        assert_eq!(curl(&[&version[..], &twice].concat()), b"Hello, World!1Hello, World!0");
        assert_eq!(curl(&[&version[..], &["https://localhost/bytes/20000000"]].concat()).len(), 20_000_000);
        let body = "body ".repeat(25_000);
        let echoed = curl(&[&version[..], &["--data", &body, "https://localhost/echo"]].concat());
        assert!(echoed == body.as_bytes(), "{} bytes came back, or others", echoed.len());
    }
    stop(&mut run);
}

/// All workers know the key of the tickets: it was made before they were forked.
fn a_client_that_comes_back_to_another_worker_need_not_begin_from_scratch(bench: &Bench) {
    let (mut run, address) = start(bench);
    let config = client();
    let (mut workers, mut handshakes) = (HashSet::new(), Vec::new());
    while workers.len() < 2 {
        let (kind, worker) = ask(bench, address, &config, "/pid");
        handshakes.push(kind);
        workers.insert(worker);
    }
    assert_eq!(handshakes[0], HandshakeKind::Full);
    assert!(handshakes[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{handshakes:?}");
    stop(&mut run);
}

fn certificates_that_cannot_be_read_are_bad_usage(bench: &Bench) {
    for (files, problem) in [
        (["no/certificate", KEY], "no/certificate: "),
        ([CERTIFICATE, "no/key"], "no/key: "),
        ([KEY, KEY], "no certificate"),
        ([CERTIFICATE, CERTIFICATE], "certificate.pem: "),
    ] {
        let mut run = bench.example(&format!("http_server --listen @:0 --tls {}", files.join(" ")));
        run.log("--tls: ");
        assert_eq!(run.logged(problem), 1, "{files:?}");
        run.end_with(2);
    }
}

fn start(bench: &Bench) -> (Run, SocketAddr) {
    let mut run = bench.example(&format!("http_server --listen @:0 --workers 2 --tls {CERTIFICATE} {KEY}"));
    let ready = run.log("all ready after");
    let address = ready.split([' ', ',']).find_map(|word| word.parse().ok()).unwrap();
    (run, address)
}

fn stop(run: &mut Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Of a client that remembers its sessions.
pub(super) fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERTIFICATE).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// How the connection came about, and what was answered.
pub(super) fn ask(
    bench: &Bench,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    path: &str,
) -> (HandshakeKind, String) {
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut client = StreamOwned::new(tls, bench.stream(address));
    client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer that ends with a goodbye");
    (client.conn.handshake_kind().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

pub(super) const CERTIFICATE: &str = "tests/tls/certificate.pem";
pub(super) const KEY: &str = "tests/tls/key.pem";
