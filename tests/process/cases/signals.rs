//! The signals of a master that owns them, and of one that does not.

use nix::sys::signal::Signal;

use crate::harness::{Bench, cases};

cases!("signals":
    later_versions_are_named,
    usr1_has_the_workers_reopen_their_logs,
    ignored_signals_stay_ignored,
    start_touches_no_signal,
    start_takes_them_if_asked_to,
    mask_is_given_back_by_run,
);

fn later_versions_are_named(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0");
    let address = run.ready();
    let text = "SIGUSR2 ignored: an upgrade of the binary is not available in this version";
    run.signal(Signal::SIGUSR2);
    run.log(text);
    assert_eq!(run.logged(text), 1);
    assert!(bench.ask(address, "who").starts_with("1 "));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
}

fn usr1_has_the_workers_reopen_their_logs(bench: &Bench) {
    let mut run = bench.start("cluster mode=run worker=idle workers=2");
    run.fact("all_ready");
    for _ in 0..3 {
        run.signal(Signal::SIGUSR1);
        for _ in 0..2 {
            assert_eq!(run.fact("heard").rest(), "ReopenLogs");
        }
    }
    run.signal(Signal::SIGTERM);
    for _ in 0..2 {
        assert_eq!(run.fact("heard").rest(), "Drain { within: 30s }");
    }
    run.end_with(0);
}

/// nohup, and the background jobs of simple shells.
fn ignored_signals_stay_ignored(bench: &Bench) {
    let mut run = bench.start_by(&["env", "--ignore-signal=INT,HUP,QUIT"], "cluster mode=run listen=@:0");
    let address = run.ready();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        run.signal_group(signal);
    }
    assert!(bench.ask(address, "who").starts_with("1 "));
    run.signal(Signal::SIGTERM);
    run.end_with(0);
    assert_eq!(run.logged("received SIG"), 1, "SIGTERM");
    assert_eq!(run.logged("ignored since the start (nohup, or & in a script), and still: SIGINT, SIGQUIT, SIGHUP"), 1);
    assert_eq!(run.all("stopping").len(), 1);
}

/// The program's own disposition acts, here the default one; the workers follow their master.
fn start_touches_no_signal(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    run.ready();
    run.dies_by(Signal::SIGTERM);
    let status = run.end();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

/// `signals(true)`: TERM drains. Dropping the master gives them back, the mask included, which the harness compares.
fn start_takes_them_if_asked_to(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 signals");
    run.ready();
    run.signal_group(Signal::SIGTERM);
    assert_eq!(run.fact("exit").how(), "code 0, asked");
    run.end_with(0);
    let mut run = bench.start("cluster listen=@:0 signals");
    run.ready();
    run.tell("drop");
    run.fact("dropped");
    run.tell("quit");
    run.end_with(0);
}

/// The harness compares the mask before and after in every case; here the cluster is stopped by the program.
fn mask_is_given_back_by_run(bench: &Bench) {
    let mut run = bench.start("cluster mode=run listen=@:0 stop_when_ready");
    run.end_with(0);
    assert!(run.all("before")[0].rest().contains("SigBlk:\t0000000000000000"), "{:?}", run.all("before"));
}
