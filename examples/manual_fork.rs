//! Node's old style: fork in a loop, and fork again when a worker exits, unless it was asked to.
//!
//! ```js
//! for (let i = 0; i < numCPUs; i++) cluster.fork();
//! cluster.on('exit', (worker) => { if (!worker.exitedAfterDisconnect) cluster.fork(); });
//! ```
//!
//! Nothing is forked that this program does not fork. Without `manual()` all of this is one call of `Cluster::main`.
//! Try `curl http://127.0.0.1:8000/` and `kill` the worker whose pid it answers.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
    thread::available_parallelism,
    time::Duration,
};

use mio_cluster::{
    Cluster, Event, Result, Worker,
    mio::{Events, Interest, Poll, Token, net::TcpStream},
};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    match master() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:?}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn master() -> Result<()> {
    let mut master = Cluster::new().listen("127.0.0.1:8000").manual().signals(true).start(serve)?;
    for _ in 0..available_parallelism().map_or(1, usize::from) {
        master.fork()?;
    }
    while let Some(event) = master.wait(None)? {
        if let Event::Exit { worker, cause, .. } = event {
            if cause.asked() {
                continue;
            }
            match master.fork() {
                Ok(id) => log::info!("worker {id} replaces worker {}", worker.id),
                Err(error) => log::error!("worker {} is not replaced: {error:?}", worker.id),
            }
        }
    }
    Ok(())
}

/// The worker: its own loop, one connection per answer.
fn serve(mut worker: Worker) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = worker.listen()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: Vec<TcpStream> = Vec::new();
    loop {
        // Asked before the accepts: once it is true, an empty queue stays empty.
        let draining = worker.is_draining();
        while let Ok((mut client, _peer)) = listener.accept() {
            poll.registry().register(&mut client, CLIENT, Interest::READABLE)?;
            clients.push(client);
        }
        clients.retain_mut(|client| !answered(client));
        if draining && clients.is_empty() {
            return Ok(());
        }
        worker.poll(&mut poll, &mut events, draining.then_some(QUIET))?;
        if draining && events.is_empty() {
            return Ok(());
        }
    }
}

/// Whether this client is done with: answered, or gone.
fn answered(client: &mut TcpStream) -> bool {
    match client.read(&mut [0; 4096]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
        Ok(0) | Err(_) => return true,
        Ok(_request) => {}
    }
    let body = format!("hello world from process {}\n", std::process::id());
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    if let Err(error) = client.write_all(answer.as_bytes()) {
        log::debug!("a client left before its answer: {error}");
    }
    true
}

const LISTENER: Token = Token(0);

/// All clients share it: each turn tries them all, which is right for a few.
const CLIENT: Token = Token(1);

/// Who has asked nothing for this long while the worker drains has nothing on its way.
const QUIET: Duration = Duration::from_secs(1);
