//! Workers without a loop: four threads each, which wait for a client, serve it, and wait for the next one.
//!
//! The master has one thread, so that it can fork at any time; threads start in the workers. `accept_blocking` returns
//! `None` once the worker is to leave and nobody waits any more: then the threads end, the scope joins them, and the
//! worker returns. A panic costs one thread; without any the worker ends, and is replaced.
//!
//! ```text
//! cargo run --example blocking_threads -- 127.0.0.1:8000
//! ```
//!
//! Try `curl http://127.0.0.1:8000/` and `kill -9` the process that answers. Start `nc 127.0.0.1 8000`, press Ctrl-C
//! here, and then Enter there: who is connected is answered first, if it speaks within five seconds.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    panic::resume_unwind,
    process::ExitCode,
    thread,
    time::Duration,
};

use mio_cluster::{Cluster, Listener, Worker};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    Cluster::new().listen(address).workers(2).main(serve)
}

fn serve(mut worker: Worker) -> io::Result<()> {
    let listener = &worker.listen()?;
    thread::scope(|scope| {
        let threads = [1, 2, 3, 4].map(|number| scope.spawn(move || accept_all(listener, number)));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn accept_all(listener: &Listener, thread: usize) -> io::Result<()> {
    while let Some((stream, peer)) = listener.accept_blocking()? {
        if let Err(error) = answer(stream, thread) {
            log::debug!("{peer}: {error}"); // the client's affair, not the worker's
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream, thread: usize) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if stream.read(&mut [0; 4096])? == 0 {
        return Ok(());
    }
    let body = format!("thread {thread} of process {}\n", std::process::id());
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A client that is silent, or does not read, holds a thread no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
