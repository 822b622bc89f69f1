//! A usual axum server: it greets, and echoes what is posted. Try `curl -d text http://127.0.0.1:8000/`.
use axum::{Router, routing::get};
use std::{env, io};
use tokio::net::TcpListener;

fn address() -> String {
    env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let app = Router::new().route("/", get(|| async { "Hello, World!\n" }).post(|body: String| async { body }));
    let listener = TcpListener::bind(address()).await?;
    axum::serve(listener, app).await
}
