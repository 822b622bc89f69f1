//! Unix sockets and sockets that were there before: all workers accept on one.

pub(crate) mod files;
pub(crate) mod given;

use std::{
    collections::HashSet,
    env, fs,
    io::{ErrorKind, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Fact, Run, cases};

cases!("unix":
    all_workers_accept_in_loops_of_their_own,
    all_workers_accept_in_the_managed_loop,
    http_server_takes_a_path,
    threads_wait_for_clients,
    queue_outlives_a_killed_worker,
    clients_wait_while_no_worker_lives,
    worker_of_another_user_accepts,
    listener_that_is_dropped_can_be_made_again,
    bare_socket_is_left_to_the_others,
    methods_of_the_other_kind_are_named,
    stop_serves_whoever_waits_and_refuses_the_rest,
    worker_with_a_signal_of_its_own_is_succeeded,
    one_worker_leaves_and_the_others_serve_on,
    workers_leak_no_descriptor,
    two_clusters_in_one_process,
);

/// A directory of one case, gone with the value.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(bench: &Bench) -> Self {
        let path = env::temp_dir().join(format!("mio-cluster-unix-{}", bench.ip()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        // Also for those who are not root.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    pub(super) fn socket(&self) -> String {
        self.0.join("socket").to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stop(mut run: Run) {
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

/// Each worker serves one client at a time, so those who are held have different ones.
fn all_workers_accept_in_loops_of_their_own(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} workers=3"));
    run.fact("all_ready");
    assert!(run.all("listening").iter().all(|fact| fact.get::<String>("address") == format!("unix:{path}")));
    let mut clients: Vec<Client> = (0..3).map(|_| bench.connect_unix(&path)).collect();
    let answers: HashSet<String> = clients.iter_mut().map(|client| client.ask("who")).collect();
    assert_eq!(answers.len(), 3);
    drop(clients);
    stop(run);
    assert!(!Path::new(&path).exists());
}

fn all_workers_accept_in_the_managed_loop(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let script = format!("cluster mode=run listen=unix:{path},u listen=@:0,i workers=2 worker=managed told");
    let mut run = bench.start(&script);
    let ip = run.ready();
    let mut answered = HashSet::new();
    while answered.len() < 2 {
        answered.insert(bench.connect_unix(&path).ask("who"));
    }
    bench.ask(ip, "who");
    let mut busy = bench.connect_unix(&path);
    busy.say("flood");
    let mut client = bench.connect_unix(&path);
    client.ask("who");
    client.say("ticks 3");
    assert_eq!(client.hear().unwrap(), "ticked");
    drop((busy, client));
    stop(run);
}

fn http_server_takes_a_path(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.example(&format!("http_server --listen unix:{path} --workers 2 --json"));
    run.fact("all_ready");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Running on worker with id ==> "), "{answer}");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    assert!(!Path::new(&path).exists());
}

fn threads_wait_for_clients(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} workers=2 worker=unix_threads"));
    run.fact("all_ready");
    for _ in 0..20 {
        bench.connect_unix(&path).ask("who");
    }
    run.signal(Signal::SIGTERM);
    for _ in 0..2 {
        assert_eq!(run.fact("joined").rest(), "true");
    }
    run.end_with(0);
}

fn queue_outlives_a_killed_worker(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    run.fact("all_ready");
    let mut busy = bench.connect_unix(&path);
    busy.ask("who");
    let clients: Vec<Client> = (0..100).map(|_| bench.connect_unix(&path)).collect();
    run.expect_once("was killed by SIGKILL");
    let pid = run.first("ready").get("pid");
    run.signal_to(pid, Signal::SIGKILL);
    for mut client in clients {
        assert!(client.ask("who").starts_with("2 0 "));
    }
    busy.closed();
    assert_eq!(run.logged("gives up"), 0);
    stop(run);
}

/// There is none yet, or none any more, and the program forks one when it likes.
fn clients_wait_while_no_worker_lives(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster manual signals fork_on_exit=1 listen=unix:{path}"));
    run.fact("address");
    let mut early = bench.connect_unix(&path);
    run.tell("fork");
    assert!(early.ask("who").starts_with("1 0 "));
    let mut waiting = bench.connect_unix(&path);
    run.expect_once("was killed by SIGKILL");
    early.say("raise 9");
    assert!(waiting.ask("who").starts_with("2 0 "));
    drop(waiting);
    stop(run);
}

fn worker_of_another_user_accepts(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path},mode=600 worker=unix_of_nobody"));
    run.fact("all_ready");
    bench.connect_unix(&path).ask("who");
    stop(run);
}

fn listener_that_is_dropped_can_be_made_again(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    run.fact("all_ready");
    let mut client = bench.connect_unix(&path);
    let before = client.ask("descriptors");
    let mut waiting = bench.connect_unix(&path);
    for _ in 0..3 {
        client.say("relisten");
        run.fact("relistens");
        client.closed();
        assert!(waiting.ask("who").starts_with("1 0 "), "its queue is that of all");
        client = waiting;
        waiting = bench.connect_unix(&path);
    }
    assert_eq!(client.ask("descriptors"), before);
    drop((client, waiting));
    assert_eq!(run.logged("gives up"), 0);
    stop(run);
}

fn bare_socket_is_left_to_the_others(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} worker=unix_bare"));
    run.fact("all_ready");
    assert!(run.first("again").rest().contains("drop that listener first"));
    bench.connect_unix(&path).ask("who");
    let mut waiting = bench.connect_unix(&path);
    waiting.say("who");
    run.signal(Signal::SIGTERM);
    waiting.hear().unwrap();
    run.end_with(0);
}

fn methods_of_the_other_kind_are_named(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path},u listen=@:0,i worker=unix_and_ip"));
    run.fact("all_ready");
    let wrong: Vec<Fact> = run.all("wrong");
    let expected = [
        "is a Unix socket: use unix()",
        "is no Unix socket: use listen()",
        "choose one by unix_on",
        "only: \"u\", \"i\"",
    ];
    for (fact, text) in wrong.iter().zip(expected) {
        assert!(fact.rest().contains(text), "{fact:?}");
    }
    assert!(run.first("unix").rest().contains(&path) && run.first("at").rest().contains(&path));
    bench.connect_unix(&path).ask("who");
    stop(run);
}

/// Workers that are stopped while the cluster begins to: whoever got in by then is served, nobody else gets in.
fn stop_serves_whoever_waits_and_refuses_the_rest(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    for worker in ["managed told", "serve"] {
        let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} workers=2 worker={worker}"));
        run.fact("all_ready");
        let pids: Vec<u32> = run.all("ready").iter().map(|fact| fact.get("pid")).collect();
        // Each has had a turn and can be asked.
        let mut answered = HashSet::new();
        while answered.len() < pids.len() {
            let mut held: Vec<Client> = pids.iter().map(|_| bench.connect_unix(&path)).collect();
            answered.extend(held.iter_mut().map(|client| client.ask("who")));
        }
        pids.iter().for_each(|&pid| run.signal_to(pid, Signal::SIGSTOP));
        let mut clients: Vec<Client> = (0..100).map(|_| bench.connect_unix(&path)).collect();
        run.signal(Signal::SIGTERM);
        run.log("stopping:");
        // The line comes a moment before the deed.
        let refused = loop {
            match bench.stream_unix(&path) {
                Ok(stream) => clients.push(bench.client(stream)),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "not left waiting");
        pids.iter().for_each(|&pid| run.signal_to(pid, Signal::SIGCONT));
        for mut client in clients {
            client.ask("who");
        }
        run.end_with(0);
        assert!(!Path::new(&path).exists());
    }
}

/// In every kind of loop; whoever comes meanwhile is served.
fn worker_with_a_signal_of_its_own_is_succeeded(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    for worker in ["managed told", "serve", "unix_threads"] {
        let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} worker={worker}"));
        run.fact("all_ready");
        bench.connect_unix(&path).ask("who");
        run.expect_once("exited with code 0");
        let pid = run.first("ready").get("pid");
        run.signal_to(pid, Signal::SIGTERM);
        run.known("exit", 1);
        run.known("ready", 2);
        bench.connect_unix(&path).ask("who");
        stop(run);
    }
}

fn one_worker_leaves_and_the_others_serve_on(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} workers=2"));
    run.fact("all_ready");
    let mut client = bench.connect_unix(&path);
    let who = client.ask("who");
    assert_eq!(client.ask("leave"), "Ok(())");
    drop(client);
    run.fact("exit");
    for _ in 0..20 {
        assert_ne!(bench.connect_unix(&path).ask("who"), who);
    }
    stop(run);
}

fn workers_leak_no_descriptor(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} worker=managed told"));
    run.fact("all_ready");
    let mut client = bench.connect_unix(&path);
    let before = client.ask("descriptors");
    for _ in 0..50 {
        bench.connect_unix(&path).ask("who");
    }
    // As soon as it has seen the last one's end.
    run.pass_until(|| client.ask("descriptors") == before);
    run.expect_once("was killed by SIGKILL");
    let pid = run.first("ready").get("pid");
    run.signal_to(pid, Signal::SIGKILL);
    client.closed();
    let mut client = bench.connect_unix(&path);
    assert!(client.ask("who").starts_with("2 0 "));
    assert_eq!(client.ask("descriptors"), before, "its replacement inherits no more");
    drop(client);
    stop(run);
}

/// The workers of each inherit the socket of their own cluster, and not that of the other.
fn two_clusters_in_one_process(bench: &Bench) {
    let folder = Folder::new(bench);
    let (one, other) = (folder.0.join("one"), folder.0.join("other"));
    let script = format!("two_masters listen=unix:{} second=unix:{} drop_first", one.display(), other.display());
    let mut run = bench.start(&script);
    assert_eq!(run.fact("first").rest(), "2", "the channel and the shared socket");
    assert_eq!(run.fact("second").rest(), "2");
    assert_eq!(run.fact("both").rest(), format!("unix:{} unix:{}", one.display(), other.display()));
    run.fact("dropped");
    assert!(!one.exists());
    let mut client = bench.connect_unix(other.to_str().unwrap());
    assert!(client.ask("who").starts_with("1 0 "));
    run.expect_once("exited with code 7");
    client.say("exit 7");
    assert_eq!(run.fact("replaced").rest(), "2");
    run.end_with(0);
    assert!(!other.exists());
}
