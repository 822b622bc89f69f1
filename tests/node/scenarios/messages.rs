//! Node's 2.9: messages and the passing of descriptors.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixListener},
    time::Duration,
};

use mio_cluster::{Cluster, Message, Worker};

use super::scenarios;
use crate::{
    harness,
    stage::{Ear, Gate, Lent, Place, Primary, idle, idlers},
};

scenarios!("messages":
    worker_init,
    worker_isconnected,
    eaccess,
    message,
    invalid_message,
    net_send,
    send_deadlock,
    send_handle_twice,
    send_socket_to_worker_http_server,
    send_handle_large_payload,
    worker_handle_close,
);

/// Sends each message back.
fn echo(mut worker: Worker) -> io::Result<()> {
    let mut ear = Ear::new(&mut worker)?;
    worker.ready()?;
    while let Some(message) = ear.hear(&mut worker)? {
        match message.wants_reply() {
            Some(request) => worker.reply(request, message)?,
            None => worker.send(message)?,
        }
    }
    Ok(())
}

/// The end of a connection for the program, and the one to be handed on.
fn connection(place: &Place) -> (BufReader<TcpStream>, OwnedFd) {
    let listener = TcpListener::bind(place.any()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (BufReader::new(client), listener.accept().unwrap().0.into())
}

fn stream(message: &mut Message) -> TcpStream {
    assert_eq!((message.fds.len(), message.lost_fds()), (1, 0));
    TcpStream::from(message.fds.remove(0))
}

fn line(of: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    of.read_line(&mut line).unwrap();
    line
}

/// A message that is sent as soon as the worker is online is heard and answered.
fn worker_init(_place: &Place) {
    let mut primary = Primary::start(idlers().workers(1), echo);
    primary.online(1);
    let id = primary.id(1);
    primary.send(id, "hello").unwrap();
    let (worker, message) = primary.message();
    assert_eq!((worker.id, &*message.bytes), (id, &b"hello"[..]));
    primary.ready(1);
    primary.disconnect(id).unwrap();
    assert!(primary.exit(1).status.success());
    primary.end();
}

/// A worker can be reached from its fork to its disconnect, and not after it, though its process still lives.
fn worker_isconnected(_place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(Cluster::new().manual(), move |mut worker: Worker| {
        let first = Ear::new(&mut worker).unwrap().hear(&mut worker).unwrap().unwrap();
        worker.send(first).unwrap();
        worker.disconnect().unwrap();
        drop(worker);
        inside.wait();
    });
    let id = primary.master_fork();
    primary.send(id, "right after the fork").unwrap();
    assert_eq!((&*primary.text(), primary.count("disconnect")), ("right after the fork", 0));
    primary.disconnected(id.as_u64());
    let refused = primary.send(id, "too late").unwrap_err();
    assert!(refused.is_gone() && primary.count("exit") == 0);
    assert_eq!(refused.into_message().unwrap().bytes, b"too late");
    gate.open();
    assert!(primary.exit(id.as_u64()).cause.asked());
    primary.end();
}

/// The error of a worker's own `bind` reaches the primary with its code intact.
fn eaccess(_place: &Place) {
    harness::become_unprivileged(false);
    let listen = || UnixListener::bind("/no-right-to.write-here").unwrap_err().raw_os_error().unwrap();
    let mut primary = Primary::start(idlers().workers(1), move |worker: Worker| {
        worker.send(listen().to_string())?;
        idle(worker)
    });
    assert_eq!(primary.text(), listen().to_string());
    let code = io::Error::from_raw_os_error(listen());
    assert_eq!(code.kind(), io::ErrorKind::PermissionDenied);
    primary.stop();
}

/// Both ways over the channel, checked over TCP: what the worker hears goes to its client, what the client says comes
/// to the primary, and the message says from whom.
fn message(place: &Place) {
    let mut primary = Primary::start(Cluster::new().listen(place.any()).workers(1), |mut worker: Worker| {
        let mut ear = Ear::new(&mut worker)?;
        let listener = worker.listen()?;
        let (client, _peer) = listener.accept_blocking()?.unwrap();
        let mut client = BufReader::new(client);
        while let Some(message) = ear.hear(&mut worker)? {
            client.get_mut().write_all(&message.bytes)?;
            worker.send(line(&mut client))?;
        }
        Ok::<(), io::Error>(())
    });
    let mut client = BufReader::new(TcpStream::connect(primary.all_ready()[0]).unwrap());
    let id = primary.id(1);
    for round in 0..3 {
        primary.send(id, format!("{round} to the worker\n")).unwrap();
        assert_eq!(line(&mut client), format!("{round} to the worker\n"));
        writeln!(client.get_mut(), "{round} to the primary").unwrap();
        let (worker, message) = primary.message();
        assert_eq!((worker, &*message.bytes), (primary.forked(1), format!("{round} to the primary\n").as_bytes()));
    }
    primary.stop();
}

/// A message that looks like the library's own talk is a message like any other, and a reply that nobody waits for is
/// ignored.
fn invalid_message(_place: &Place) {
    let mut primary = Primary::start(idlers().workers(1), |mut worker: Worker| {
        let mut ear = Ear::new(&mut worker)?;
        worker.ready()?;
        while let Some(message) = ear.hear(&mut worker)? {
            if let Some(request) = message.wants_reply() {
                worker.reply(request, "once")?;
                worker.reply(request, "twice")?;
            }
            worker.send(message)?;
        }
        Ok::<(), io::Error>(())
    });
    primary.ready(1);
    let id = primary.id(1);
    for bytes in (0..=u8::MAX).map(|kind| [kind, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) {
        primary.send(id, &bytes[..]).unwrap();
        assert_eq!(primary.message().1.bytes, bytes);
    }
    for number in 1..=3 {
        primary.request(id, "answer", Duration::from_secs(60)).unwrap();
        assert_eq!((&*primary.text(), primary.replies()), ("answer", vec!["once".to_owned(); number]));
    }
    primary.stop();
}

/// A connection goes to the worker and back, and both write to its client.
fn net_send(place: &Place) {
    let mut primary = Primary::start(idlers().workers(1), |mut worker: Worker| {
        let mut ear = Ear::new(&mut worker)?;
        worker.ready()?;
        while let Some(mut message) = ear.hear(&mut worker)? {
            let mut stream = stream(&mut message);
            stream.write_all(b"from the worker\n")?;
            worker.send(message.with_fd(stream))?;
        }
        Ok::<(), io::Error>(())
    });
    primary.ready(1);
    let (mut client, connection) = connection(place);
    let id = primary.id(1);
    primary.send(id, Message::from("yours").with_fd(connection)).unwrap();
    assert_eq!(line(&mut client), "from the worker\n");
    let (_, mut message) = primary.message();
    assert_eq!(message.bytes, b"yours");
    let mut back = stream(&mut message);
    back.write_all(b"from the primary\n").unwrap();
    assert_eq!(line(&mut client), "from the primary\n");
    drop(back);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "no process has kept a copy");
    primary.stop();
}

/// Connections pass each other in both directions at the same time, as many as the channel takes: all arrive.
fn send_deadlock(place: &Place) {
    let lent = Lent::new(connection(place));
    let inside = lent.share();
    let mut primary = Primary::start(idlers().workers(1), move |mut worker: Worker| {
        let mut ear = Ear::new(&mut worker)?;
        let (_client, connection) = inside.take();
        worker.ready()?;
        for number in 0..CROSSING {
            worker.send(Message::from(number.to_string()).with_fd(connection.try_clone()?))?;
        }
        for number in 0..CROSSING {
            let mut message = ear.hear(&mut worker)?.unwrap();
            assert_eq!(message.bytes, number.to_string().as_bytes());
            stream(&mut message);
        }
        worker.send("all there")?;
        idle(worker)
    });
    primary.ready(1);
    let (_client, connection) = connection(place);
    let id = primary.id(1);
    for number in 0..CROSSING {
        let copy = connection.try_clone().unwrap();
        primary.send(id, Message::from(number.to_string()).with_fd(copy)).unwrap();
    }
    for number in 0..CROSSING {
        let (_, mut message) = primary.message();
        assert_eq!(message.bytes, number.to_string().as_bytes());
        stream(&mut message);
    }
    assert_eq!(primary.text(), "all there");
    primary.stop();
}

/// In each direction; more than 250 packets fill a channel.
const CROSSING: usize = 100;

/// One connection sent twice arrives as two descriptors, each of which is as good as the other.
fn send_handle_twice(place: &Place) {
    let mut primary = Primary::start(idlers().workers(1), |mut worker: Worker| {
        let mut ear = Ear::new(&mut worker)?;
        worker.ready()?;
        while let Some(mut message) = ear.hear(&mut worker)? {
            stream(&mut message).write_all(&message.bytes)?;
        }
        Ok::<(), io::Error>(())
    });
    primary.ready(1);
    let (mut client, connection) = connection(place);
    let id = primary.id(1);
    primary.send(id, Message::from("first\n").with_fd(connection.try_clone().unwrap())).unwrap();
    primary.send(id, Message::from("second\n").with_fd(connection)).unwrap();
    assert_eq!((line(&mut client), line(&mut client)), ("first\n".to_owned(), "second\n".to_owned()));
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "both copies are closed");
    primary.stop();
}

/// The primary accepts, and a worker answers the request that comes over the connection.
fn send_socket_to_worker_http_server(place: &Place) {
    let mut primary = Primary::start(idlers().workers(1), |mut worker: Worker| {
        let mut ear = Ear::new(&mut worker)?;
        worker.ready()?;
        while let Some(mut message) = ear.hear(&mut worker)? {
            let mut client = BufReader::new(stream(&mut message));
            assert_eq!(line(&mut client), "GET / HTTP/1.0\r\n");
            let body = format!("worker {}", worker.id());
            write!(client.get_mut(), "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        }
        Ok::<(), io::Error>(())
    });
    primary.ready(1);
    let id = primary.id(1);
    for _connection in 0..3 {
        let (mut client, connection) = connection(place);
        primary.send(id, Message::from("").with_fd(connection)).unwrap();
        client.get_mut().write_all(b"GET / HTTP/1.0\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nworker 1"), "{answer}");
    }
    primary.stop();
}

/// 800 kB and a connection in one message, there and back.
fn send_handle_large_payload(place: &Place) {
    let mut primary = Primary::start(idlers().workers(1), echo);
    primary.ready(1);
    let payload: Vec<u8> = (0..800_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let (mut client, connection) = connection(place);
    let id = primary.id(1);
    primary.send(id, Message::from(&*payload).with_fd(connection)).unwrap();
    let (_, mut message) = primary.message();
    assert!(message.bytes == payload, "{} bytes, or others", message.bytes.len());
    stream(&mut message).write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut client), "hello\n");
    primary.stop();
}

/// A connection that is handed to a worker which is just leaving is closed with it, not leaked; after that the primary
/// gets it back.
fn worker_handle_close(place: &Place) {
    let gate = Gate::new();
    let inside = gate.share();
    let mut primary = Primary::start(Cluster::new().manual(), move |mut worker: Worker| {
        worker.disconnect().unwrap();
        inside.wait();
    });
    let id = primary.master_fork();
    primary.online(id.as_u64());
    let (mut client, connection) = connection(place);
    primary.send(id, Message::from("yours").with_fd(connection)).unwrap();
    gate.open();
    assert!(primary.exit(id.as_u64()).status.success());
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed");
    let (mut client, connection) = self::connection(place);
    let back = primary.send(id, Message::from("yours").with_fd(connection)).unwrap_err().into_message();
    stream(&mut back.unwrap()).write_all(b"still here\n").unwrap();
    assert_eq!(line(&mut client), "still here\n");
    primary.end();
}
