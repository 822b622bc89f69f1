//! Every way in which a worker can end, and what the cluster makes of it.

use crate::harness::{Bench, Run, cases};

cases!("endings":
    end_of_a_cluster_by_kind_of_exit,
    codes_of_no_restart_on,
    error_panic_abort_and_exit_are_told_apart,
    any_signal_is_reported_by_its_number,
    signals_of_a_terminal_do_nothing_to_a_worker,
    real_time_signal_from_outside,
    leaving_is_asked,
    dropped_listener_listens_again,
);

/// What a worker does, in the words of the line protocol, the log line about it, and how it is reported.
const KINDS: [(&str, &str, &str); 6] = [
    ("return", "exited with code 0", "code 0, own"),
    ("exit 0", "exited with code 0", "code 0, own"),
    ("exit 7", "exited with code 7", "code 7, own"),
    ("fail no disk", "failed: no disk", "code 1, own"),
    ("panic no disk", "panicked: no disk", "code 101, own"),
    ("abort", "was killed by SIGABRT", "signal 6, own"),
];

/// Makes worker `id` end; returns how that was reported.
fn end_by(bench: &Bench, run: &mut Run, id: u64, command: &str) -> String {
    let address = run.all("listening")[0].get::<std::net::SocketAddr>("address");
    let mut client = bench.connect(address);
    client.say(command);
    client.closed();
    if command.starts_with("panic") {
        run.expect_panic("no disk");
    }
    let exit = run.fact_of("exit", id);
    run.expect(&match exit.field("code") {
        Some("null") => "was killed by SIG".to_owned(),
        code => format!("exited with code {}", code.unwrap()),
    });
    exit.how()
}

/// One run per policy and kind: is the worker followed by another one, and if not, is the cluster's end a good one?
fn end_of_a_cluster_by_kind_of_exit(bench: &Bench) {
    for (policy, restarts) in
        [("", [true; 6]), ("restart=on_failure", [false, false, true, true, true, true]), ("restart=never", [false; 6])]
    {
        for ((command, log, how), restart) in KINDS.into_iter().zip(restarts) {
            let mut run = bench.start(&format!("cluster listen=@:0 {policy}"));
            run.ready();
            assert_eq!(end_by(bench, &mut run, 1, command), how, "{policy} {command}");
            run.expect(log);
            if restart {
                run.fact_of("ready", 2);
                run.tell("stop");
                run.end_with(0);
            } else {
                let good = how.starts_with("code 0");
                let result = run.fact("result");
                assert_eq!(result.rest() == "ok", good, "{policy} {command}: {result:?}");
                assert!(good || result.rest().contains("none may be restarted (slot 0: "), "{result:?}");
                run.end_with(i32::from(!good));
            }
        }
    }
}

fn codes_of_no_restart_on(bench: &Bench) {
    for policy in ["", "restart=on_failure", "restart=never"] {
        let mut run = bench.start(&format!("cluster listen=@:0 no_restart_on=0 no_restart_on=7 {policy}"));
        run.ready();
        assert_eq!(end_by(bench, &mut run, 1, "exit 7"), "code 7, own");
        assert_eq!(run.fact("result").rest(), "ok");
        run.end_with(0);
    }
}

fn error_panic_abort_and_exit_are_told_apart(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    run.ready();
    for (id, (command, log, how)) in (1..).zip(KINDS) {
        assert_eq!(end_by(bench, &mut run, id, command), how);
        run.expect(log);
        run.fact_of("ready", id + 1);
    }
    run.expect_once("worker 4 (slot 0) failed: no disk");
    run.expect_once("worker 5 (slot 0) panicked: no disk");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
}

/// Signals 1 to 64, except those below.
fn any_signal_is_reported_by_its_number(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 backoff=1,1 signals");
    let address = run.ready();
    run.expect("killed by the program");
    run.expect("delayed start number");
    let mut id = 1;
    for signal in (1..=64).filter(|signal| ![&HARMLESS[..], &STOPPING, &INTERNAL].concat().contains(signal)) {
        // Looks whether it is to leave, so SIGTERM is an ask.
        bench.ask(address, "who");
        let expected = if signal == 15 { "code 0, killed".to_owned() } else { format!("signal {signal}, killed") };
        let said = run.all("done").len();
        run.tell(&format!("kill {id} {signal}"));
        if TWICE.contains(&signal) {
            run.until("done", said + 1);
            bench.ask(address, "who");
            run.tell(&format!("kill {id} {signal}"));
        }
        // After SIGTERM the next one may be ready before this one has ended.
        let exit = run.known("exit", id);
        assert_eq!(exit.how(), expected);
        id += 1;
        run.known("ready", id);
    }
    for signal in INTERNAL {
        run.tell(&format!("kill {id} {signal}"));
        run.tell(&format!("kill {id} 9"));
        let how = run.fact_of("exit", id).how();
        assert!(how == format!("signal {signal}, killed") || how == "signal 9, killed", "{how}");
        id += 1;
        run.fact_of("ready", id);
    }
    for name in ["SIGSEGV", "SIGSYS", "SIGRTMIN", "SIGRTMIN+3", "SIGRTMIN+30"] {
        run.expect(&format!("was killed by {name}"));
    }
    run.tell("stop");
    run.end_with(0);
}

/// INT, HUP, QUIT, USR1, USR2, TTIN, TTOU by the library's table; PIPE by Rust; CHLD, CONT, URG, WINCH by default.
const HARMLESS: [i32; 12] = [2, 1, 3, 10, 12, 21, 22, 13, 17, 18, 23, 28];
/// Of the C library, which ignores them in what posix_spawn starts, so they reach a worker or not.
const INTERNAL: [i32; 2] = [32, 33];
/// STOP and TSTP.
const STOPPING: [i32; 2] = [19, 20];
/// BUS and SEGV: Rust's handler of stack overflows takes the first one, and itself out of the way.
const TWICE: [i32; 2] = [7, 11];

fn signals_of_a_terminal_do_nothing_to_a_worker(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 signals");
    let address = run.ready();
    let who = bench.ask(address, "who");
    for signal in HARMLESS {
        run.tell(&format!("kill 1 {signal}"));
        run.fact("done");
        assert_eq!(bench.ask(address, "who"), who, "signal {signal}");
    }
    for signal in STOPPING {
        run.tell(&format!("kill 1 {signal}"));
        run.tell("kill 1 18");
        run.fact("done");
        assert_eq!(bench.ask(address, "who"), who, "signal {signal}");
    }
    run.tell("stop");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
}

fn real_time_signal_from_outside(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    run.ready();
    let pid: u32 = run.all("ready")[0].get("pid");
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -37 {pid}")]).status();
    assert!(killed.unwrap().success());
    assert_eq!(run.fact("exit").how(), "signal 37, own");
    run.expect_once("was killed by SIGRTMIN+3");
    run.fact_of("ready", 2);
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
}

fn leaving_is_asked(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let address = run.ready();
    assert_eq!(bench.ask(address, "leave"), "Ok(())");
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    assert_eq!(run.fact("result").rest(), "ok");
    assert_eq!(run.all("fork").len(), 1);
    run.end_with(0);
}

fn dropped_listener_listens_again(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let address = run.ready();
    for _ in 0..20 {
        bench.connect(address).say("relisten");
        run.fact("relistens");
        assert!(bench.ask(address, "who").starts_with("1 0 "));
    }
    assert_eq!((run.all("ready").len(), run.all("listening").len()), (1, 1));
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.end_with(0);
}
