//! The descriptors of a program that embeds a master: files, sockets, stdin, stdout and stderr.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::harness::{Bench, Client, Fact, Run, cases, free_port};

cases!("descriptors":
    captured_file_and_logger_in_every_generation,
    captured_file_of_a_worker_that_has_closed_it,
    workers_that_close_what_they_inherit,
    workers_that_keep_what_they_inherit,
    program_without_stdio,
    program_whose_stderr_is_full,
);

fn captured_file_and_logger_in_every_generation(bench: &Bench) {
    let mut run = bench.start("captured listen=@:0 generations=100 log_to_file");
    assert_eq!(run.fact("file").rest(), "101");
    assert_eq!(run.fact("log").rest(), "101");
    run.end_with(0);
}

/// The worker function owns a file although it is told not to. Left alone, that does no harm; to use it fails; and to
/// drop it ends the worker by the standard library's own check, where that is on.
fn captured_file_of_a_worker_that_has_closed_it(bench: &Bench) {
    let mut run = bench.start("captured_alone listen=@:0");
    assert_eq!(run.fact("write").rest(), "Some(9)", "EBADF");
    assert_eq!(run.fact("exit").how(), "code 0, own");
    run.expect_once("exited with code 0");
    run.end_with(0);
    let mut run = bench.start("captured_alone listen=@:0 drops");
    if cfg!(debug_assertions) {
        assert_eq!(run.fact("exit").how(), "signal 6, own");
        run.expect_once("IO Safety violation: owned file descriptor already closed");
        run.expect_once("was killed by SIGABRT");
        run.end_with(3);
    } else {
        assert_eq!(run.fact("exit").how(), "code 0, own");
        run.expect_once("exited with code 0");
        run.end_with(0);
    }
}

/// The program closes its listener and a connection; the workers have no copy of either, those forked later included.
fn workers_that_close_what_they_inherit(bench: &Bench) {
    let (mut run, address, own, client) = serves_something_itself(bench, "close_inherited");
    assert_eq!(bench.ask(address, "holds /dev/zero"), "false");
    assert_eq!(bench.ask(address, "has_stdio"), "true");
    run.tell("close_own");
    client.closed();
    free_port(own).expect("nobody listens there any more");
    run.tell("stop");
    run.end_with(0);
}

fn workers_that_keep_what_they_inherit(bench: &Bench) {
    let (mut run, address, own, client) = serves_something_itself(bench, "");
    assert_eq!(bench.ask(address, "holds /dev/zero"), "true");
    run.tell("close_own");
    run.fact("closed");
    drop(bench.connect(own));
    // It ends along with the worker.
    run.tell("stop");
    run.end_with(0);
    client.closed();
}

/// A client is connected to the program, and the only worker was forked after that.
fn serves_something_itself(bench: &Bench, words: &str) -> (Run, SocketAddr, SocketAddr, Client) {
    let mut run = bench.start(&format!("cluster listen=@:0 {words}"));
    let address = run.ready();
    run.tell(&format!("serve_own {}", bench.ip()));
    let own: SocketAddr = run.fact("own").rest().parse().unwrap();
    let client = bench.connect(own);
    run.fact("accepted");
    run.expect_once("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact_of("ready", 2);
    (run, address, own, client)
}

/// It prints and logs all the time; nothing of that reaches a descriptor of the library or a client, in no process.
fn program_without_stdio(bench: &Bench) {
    for words in ["", "close_inherited"] {
        let mut run = bench.start(&format!("without_stdio listen=@:0 workers=2 {words}"));
        let address = run.ready();
        assert_eq!(run.fact("low").rest(), "[]");
        // One by exit, one by a signal; each replacement serves.
        for (id, command) in [(3, "exit 7"), (4, "abort")] {
            let mut client = bench.connect(address);
            assert_eq!(client.ask("has_stdio"), "true");
            client.say(command);
            client.closed();
            run.fact_of("ready", id);
        }
        run.signal(Signal::SIGTERM);
        run.end_with(0);
        let ends: Vec<String> = run.all("exit").iter().map(Fact::how).collect();
        assert_eq!(ends, ["code 7, own", "signal 6, own", "code 0, asked", "code 0, asked"]);
    }
}

/// Neither master nor worker stumbles over its last words.
fn program_whose_stderr_is_full(bench: &Bench) {
    for logger in ["", "no_logger"] {
        let start =
            |words| bench.start_by(&["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"], &format!("{words} {logger}"));
        let mut run = start("cluster mode=run worker=fails restart=never");
        assert_eq!(run.fact("exit").how(), "code 1, own");
        run.end_with(1);
        start("cluster mode=main workers=0").end_with(2);
    }
}
