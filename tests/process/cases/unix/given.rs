//! Sockets that the program was given, through an exec.

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use nix::sys::signal::Signal;

use super::{Folder, stop};
use crate::harness::{Bench, Client, cases, free_port};

cases!("given":
    given_tcp_socket,
    given_unix_socket_keeps_its_file,
);

fn given_tcp_socket(bench: &Bench) {
    let mut run = bench.start("given at=@:0 cluster mode=run listen=stdin workers=3");
    let address: SocketAddr = run.fact("given").rest().parse().unwrap();
    assert_eq!(run.ready(), address);
    assert!(TcpListener::bind(address).is_err());
    let mut clients: Vec<Client> = (0..3).map(|_| bench.connect(address)).collect();
    let answers: HashSet<String> = clients.iter_mut().map(|client| client.ask("who")).collect();
    assert_eq!(answers.len(), 3);
    drop(clients);
    run.expect_once("was killed by SIGKILL");
    let mut busy = bench.connect(address);
    busy.say("raise 9");
    busy.closed();
    run.fact_of("ready", 4);
    bench.ask(address, "who");
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    free_port(address).expect("nobody has it any more");
}

fn given_unix_socket_keeps_its_file(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run =
        bench.start(&format!("given at=unix:{path} cluster mode=run listen=stdin,http workers=2 worker=managed told"));
    run.fact("all_ready");
    assert_eq!(run.first("listening").get::<String>("address"), format!("unix:{path}"));
    bench.connect_unix(&path).ask("who");
    stop(run);
    assert!(Path::new(&path).exists(), "whoever bound it removes it");
}
