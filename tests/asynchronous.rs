//! A worker in a tokio runtime, without a fork: what a user's own tests do.
#![allow(clippy::unwrap_used, reason = "a test program: a failure is a panic")]

use std::{
    future::Future,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use axum::{Router, routing::get};
use mio_cluster::{Cluster, Worker, WorkerEvent};
use tokio::{net::TcpListener, task::spawn_blocking};

#[tokio::test]
async fn a_wait_is_ended_from_another_thread() {
    let mut worker = Cluster::new().drain_timeout(Duration::from_secs(7)).standalone().unwrap();
    let handle = worker.handle();
    let thread = thread::spawn(move || handle.disconnect().unwrap());
    assert!(is_drain(&worker.event().await.unwrap()));
    thread.join().unwrap();
}

#[tokio::test]
async fn a_wait_that_was_dropped_is_taken_up() {
    let mut worker = Cluster::new().drain_timeout(Duration::from_secs(7)).standalone().unwrap();
    for _ in 0..3 {
        assert!(pin!(worker.event()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        tokio::task::yield_now().await;
    }
    worker.handle().disconnect().unwrap();
    assert!(is_drain(&worker.event().await.unwrap()));
}

#[test]
fn a_wait_outside_of_a_runtime_is_an_error() {
    let mut worker = Cluster::new().standalone().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Err(error)) = pin!(worker.event()).poll(&mut context) else { panic!("it waits") };
    assert!(error.to_string().contains("no tokio runtime"), "{error}");
    assert!(pin!(worker.drained()).poll(&mut context).is_ready(), "nobody could tell it");
}

/// Twice at the same port: after the first one nothing is left of it.
#[tokio::test]
async fn axum_serves_and_leaves() {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..2 {
        let worker = Cluster::new().listen(address).standalone().unwrap();
        let handle = worker.handle();
        address = worker.addresses()[0].socket_addr().unwrap();
        let server = tokio::spawn(serve(worker));
        assert!(spawn_blocking(move || ask(address)).await.unwrap().unwrap().ends_with("hello"));
        handle.disconnect().unwrap();
        server.await.unwrap().unwrap();
        assert!(handle.disconnect().unwrap_err().is_gone());
    }
}

async fn serve(mut worker: Worker) -> io::Result<()> {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let listener = TcpListener::from_std(worker.listen()?.into_std()?)?;
    axum::serve(listener, app).with_graceful_shutdown(worker.drained()).await
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn is_drain(event: &WorkerEvent) -> bool {
    matches!(event, WorkerEvent::Drain { within } if *within == Duration::from_secs(7))
}
