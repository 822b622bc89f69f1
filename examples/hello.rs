//! The smallest server: two workers, each with its own mio loop. Try `curl http://127.0.0.1:8000/`, and `kill -9` one
//! of them.
use mio_cluster::mio::{Events, Interest, Poll, Token};
use mio_cluster::{Cluster, Worker};
use std::{collections::HashMap, io, io::Read, io::Write, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    Cluster::new().listen("127.0.0.1:8000").workers(2).main(serve)
}

fn serve(mut worker: Worker) -> io::Result<()> {
    let body = format!("Hello from worker {}\n", worker.id());
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (mut poll, mut events, mut listener) = (Poll::new()?, Events::with_capacity(256), worker.listen()?);
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let (mut clients, mut last) = (HashMap::new(), Token(0));
    loop {
        let draining = worker.is_draining(); // asked before the accepts: nobody comes after the last of them
        while let Ok((mut client, _)) = listener.accept() {
            last.0 += 1;
            poll.registry().register(&mut client, last, Interest::READABLE)?;
            clients.insert(last, client);
        }
        if draining && clients.is_empty() {
            return Ok(());
        }
        worker.poll(&mut poll, &mut events, draining.then_some(Duration::from_secs(1)))?;
        if draining && events.is_empty() {
            return Ok(()); // who asked nothing for a second has nothing on its way
        }
        for mut client in events.iter().filter_map(|event| clients.remove(&event.token())) {
            if client.read(&mut [0; 4096]).is_ok() {
                let _ = client.write_all(answer.as_bytes()); // a client that left is no error
            }
        }
    }
}
