//! axum on a tokio runtime of one thread: `axum PORT 1`.

use axum::{Router, routing::get, serve::ListenerExt};
use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let [port, _one] = bench_peers::arguments();
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let listener = listener.tap_io(|stream| {
            // As the others have it; a connection that is gone already shows that by itself.
            let _gone = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/", get(|| async { bench_peers::BODY }))).await
    })
}
