//! Node's 2.7, and the sockets of 2.6 that somebody else has opened.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::Command,
};

use mio_cluster::{Cluster, Listen, Worker};
use nix::sys::stat::{Mode, umask};

use super::scenarios;
use crate::stage::{Place, Primary, ask_all, serve};

scenarios!("unix":
    http_pipe,
    listen_pipe_readable_writable,
    net_listen_relative_path,
    net_listen_handle_in_cluster_2,
    listen_fd_cluster,
);

/// A directory of this process's own, for as long as this lives.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("node-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in it is a failure of the scenario, not of this.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get(path: &str) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// HTTP over a path: two workers answer, and the client has no address.
fn http_pipe(_place: &Place) {
    let folder = Folder::new();
    let path = folder.0.join("http.sock");
    let mut primary = Primary::start(Cluster::new().listen(Listen::unix(&path)).workers(2), |mut worker: Worker| {
        worker.is_draining();
        let listener = worker.unix()?;
        while let Some((client, peer)) = listener.accept_blocking()? {
            assert!(peer.is_unnamed());
            let mut client = BufReader::new(client);
            let mut line = String::new();
            client.read_line(&mut line)?;
            assert_eq!(line, "GET / HTTP/1.0\r\n");
            client.read_line(&mut line)?;
            write!(client.get_mut(), "HTTP/1.0 200 OK\r\n\r\nworker {}", worker.id())?;
        }
        Ok::<(), io::Error>(())
    });
    primary.all_ready();
    assert_eq!(primary.addresses()[0].path(), Some(&*path));
    for _request in 0..8 {
        assert!(get(path.to_str().unwrap()).starts_with("HTTP/1.0 200 OK\r\n\r\nworker "));
    }
    primary.stop();
    assert!(!path.exists());
}

/// The mode is exactly what was asked for, whatever the umask is; without it, the umask decides.
fn listen_pipe_readable_writable(_place: &Place) {
    let folder = Folder::new();
    let [open, usual] = ["open", "usual"].map(|name| folder.0.join(name));
    umask(Mode::from_bits_truncate(0o027));
    let cluster = Cluster::new().listen(Listen::unix(&open).mode(0o777)).listen(Listen::unix(&usual)).workers(1);
    let mut primary = Primary::start(cluster, serve);
    primary.all_ready();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(&open), mode(&usual)], [0o777, 0o750]);
    primary.stop();
}

/// A relative path serves where the absolute one would be too long, which is refused; the file is gone at the end,
/// though the program has gone elsewhere meanwhile.
fn net_listen_relative_path(_place: &Place) {
    let folder = Folder::new();
    let deep = folder.0.join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    let path = deep.join("a.sock");
    let refused = Cluster::new().listen(Listen::unix(&path)).start(serve).unwrap_err();
    assert!(refused.is_invalid_config() && refused.to_string().contains("107"), "{refused:?}");
    env::set_current_dir(&deep).unwrap();
    let mut primary = Primary::start(Cluster::new().listen("unix:a.sock").workers(1), serve);
    primary.all_ready();
    let mut client = BufReader::new(UnixStream::connect("a.sock").unwrap());
    client.get_mut().write_all(b"who\n").unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "1\n");
    env::set_current_dir("/").unwrap();
    drop(client);
    primary.stop();
    assert!(!path.exists());
}

/// The cluster is given a listener that is open already: all workers serve at it.
fn net_listen_handle_in_cluster_2(place: &Place) {
    let listener = TcpListener::bind(place.any()).unwrap();
    let at = listener.local_addr().unwrap();
    let mut primary = Primary::start(Cluster::new().listen(Listen::fd(listener)).workers(2), serve);
    assert_eq!(primary.all_ready(), [at]);
    assert_eq!([1, 2].map(|id| primary.listening(id)), [at; 2]);
    ask_all(at, 2);
    primary.stop();
}

/// A listener that was opened by one program, inherited by another one through exec, and by its workers: they serve.
fn listen_fd_cluster(place: &Place) {
    let Some(at) = place.1 else {
        let listener = TcpListener::bind(place.any()).unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let mut primary = Command::new(env::current_exe().unwrap());
        primary.args(["listen_fd_cluster", &place.0.to_string(), &at]).stdin(OwnedFd::from(listener));
        panic!("{}", primary.exec());
    };
    let inherited = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut primary = Primary::start(Cluster::new().listen(Listen::fd(inherited)).workers(2), serve);
    assert_eq!(primary.all_ready(), [at]);
    ask_all(at, 2);
    primary.stop();
}
