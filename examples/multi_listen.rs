//! Two addresses in one loop: a public one (IPv4), and one for whoever runs the server (IPv6, from this machine only).
//!
//! ```text
//! cargo run --example multi_listen -- 127.0.0.1:8000 '[::1]:8001'
//! ```
//!
//! Try `curl http://127.0.0.1:8000/` and `curl -g 'http://[::1]:8001/'`, which answers with the worker's pid, and
//! `kill -9` that one. Without addresses, and on a machine without IPv6, the second one is 127.0.0.1:8001.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::TcpListener,
    process::ExitCode,
    time::Duration,
};

use mio_cluster::{
    Cluster, Listen, Worker,
    mio::{Events, Interest, Poll, Token},
};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let mut addresses = std::env::args().skip(1);
    let public = Listen::from(addresses.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned()));
    let admin = addresses.next().map_or_else(admin_by_default, Listen::from);
    Cluster::new().listen(public.name("public")).listen(admin.name("admin")).workers(2).main(serve)
}

fn admin_by_default() -> Listen {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => Listen::from("[::1]:8001"),
        Err(error) => {
            log::warn!("no IPv6 on this machine ([::1]: {error}): the admin address is 127.0.0.1:8001 instead");
            Listen::from("127.0.0.1:8001")
        }
    }
}

fn serve(mut worker: Worker) -> io::Result<()> {
    let (mut public, mut admin) = (worker.listen_on("public")?, worker.listen_on("admin")?);
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    poll.registry().register(&mut public, PUBLIC, Interest::READABLE)?;
    poll.registry().register(&mut admin, ADMIN, Interest::READABLE)?;
    let (mut clients, mut last, mut answered) = (HashMap::new(), ADMIN, 0);
    loop {
        let draining = worker.is_draining(); // asked before the accepts: nobody comes after the last of them
        for (listener, door) in [(&public, PUBLIC), (&admin, ADMIN)] {
            while let Ok((mut client, _peer)) = listener.accept() {
                last.0 += 1;
                poll.registry().register(&mut client, last, Interest::READABLE)?;
                clients.insert(last, (client, door));
            }
        }
        if draining && clients.is_empty() {
            return Ok(());
        }
        worker.poll(&mut poll, &mut events, draining.then_some(QUIET))?;
        if draining && events.is_empty() {
            return Ok(());
        }
        for (mut client, door) in events.iter().filter_map(|event| clients.remove(&event.token())) {
            if client.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                answered += usize::from(door == PUBLIC);
                let _ = client.write_all(answer(door, &worker, answered).as_bytes()); // a client that left is no error
            }
        }
    }
}

fn answer(door: Token, worker: &Worker, answered: usize) -> String {
    let body = match door {
        PUBLIC => format!("Hello from worker {}\n", worker.id()),
        _admin => format!("worker {}, pid {}, answered {answered}\n", worker.id(), std::process::id()),
    };
    format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const PUBLIC: Token = Token(0);
const ADMIN: Token = Token(1);

/// Who has asked nothing for this long while the worker drains has nothing on its way.
const QUIET: Duration = Duration::from_secs(1);
