//! A usual axum server: it greets, and echoes what is posted. Try `curl -d text http://127.0.0.1:8000/`.
//! As a cluster: one such server per worker. Ctrl-C answers what was accepted. `axum_before.rs` is the plain program.
use axum::{Router, routing::get};
use mio_cluster::{Cluster, Worker};
use std::{env, io};
use tokio::net::TcpListener;

fn address() -> String {
    env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned())
}

fn main() -> std::process::ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    Cluster::new().listen(address()).main(serve)
}

#[tokio::main(flavor = "current_thread")]
async fn serve(mut worker: Worker) -> io::Result<()> {
    let app = Router::new().route("/", get(|| async { "Hello, World!\n" }).post(|body: String| async { body }));
    let listener = TcpListener::from_std(worker.listen()?.into_std()?)?;
    axum::serve(listener, app).with_graceful_shutdown(worker.drained()).await
}
