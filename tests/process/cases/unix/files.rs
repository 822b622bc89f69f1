//! The file of a Unix socket: its rights, who may have it, and what becomes of it.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
};

use nix::sys::signal::Signal;

use super::{Folder, stop};
use crate::{
    cases::ports::one_wins,
    harness::{Bench, cases},
};

cases!("unix_files":
    mode_bits_are_exact,
    umask_decides_without_them,
    file_is_removed_at_the_end,
    file_of_somebody_else_stays,
    file_left_behind_is_replaced,
    second_start_is_refused,
    one_of_simultaneous_starts_has_it,
    what_is_no_socket_stays,
    path_too_long_is_bad_usage,
    directory_that_is_missing_is_named,
    abstract_name,
);

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn mode_bits_are_exact(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    for (asked, umask) in [("660", "077"), ("600", "000"), ("777", "777")] {
        let mut run = bench.start(&format!("cluster mode=run listen=unix:{path},mode={asked} umask={umask}"));
        run.fact("all_ready");
        assert_eq!(format!("{:o}", mode(&path)), asked);
        stop(run);
    }
}

fn umask_decides_without_them(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path} umask=027"));
    run.fact("all_ready");
    assert_eq!(mode(&path), 0o750);
    stop(run);
}

fn file_is_removed_at_the_end(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let scripts = [
        "cluster mode=run stop_when_ready",
        "cluster mode=run restart=never worker=returns no_restart_on=0",
        "cluster mode=run worker=fails",
    ];
    for script in scripts {
        let mut run = bench.start(&format!("{script} listen=unix:{path}"));
        if script.contains("fails") {
            run.expect("no disk");
        }
        if !script.contains("stop") {
            run.expect("exited with code");
        }
        run.end();
        assert!(!Path::new(&path).exists(), "{script}");
    }
}

fn file_of_somebody_else_stays(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    run.fact("all_ready");
    fs::rename(&path, folder.0.join("moved")).unwrap();
    fs::write(&path, "mine").unwrap();
    bench.connect_unix(folder.0.join("moved").to_str().unwrap()).ask("who");
    stop(run);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

fn file_left_behind_is_replaced(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut killed = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    killed.fact("all_ready");
    killed.dies_by(Signal::SIGKILL);
    killed.end();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    run.fact("all_ready");
    assert_eq!(run.logged("was left behind, nobody listens; it is replaced"), 1);
    bench.connect_unix(&path).ask("who");
    stop(run);
}

fn second_start_is_refused(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    run.fact("all_ready");
    for _ in 0..2 {
        let mut second = bench.start(&format!("cluster mode=run listen=unix:{path}"));
        let result = second.outcome();
        let text = result.rest();
        assert!(text.starts_with("address_in_use") && text.contains(&format!("unix:{path}")), "{text}");
        assert!(text.contains("another copy of this one") && text.contains("another path"), "{text}");
        second.end_with(1);
    }
    bench.connect_unix(&path).ask("who");
    stop(run);
}

fn one_of_simultaneous_starts_has_it(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    // Which all of them would replace.
    drop(UnixListener::bind(&path).unwrap());
    let runs = (0..10).map(|_| bench.start(&format!("cluster mode=run listen=unix:{path}")));
    one_wins(runs, || bench.connect_unix(&path).ask("who"));
}

fn what_is_no_socket_stays(bench: &Bench) {
    let folder = Folder::new(bench);
    let path = folder.socket();
    let refused = |what: &str| {
        let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
        let result = run.outcome();
        assert!(result.rest().contains(&format!("there is {what}, which stays")), "{result:?}");
        run.end_with(1);
    };
    fs::create_dir(&path).unwrap();
    refused("a directory");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    refused("a file");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

fn path_too_long_is_bad_usage(bench: &Bench) {
    let path = format!("/tmp/{}", "x".repeat(103));
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{path}"));
    let result = run.outcome();
    let text = result.rest();
    assert!(text.starts_with("invalid_config") && text.contains(&path), "{text}");
    assert!(text.contains("108 bytes long, and the kernel takes 107"), "{text}");
    run.end_with(2);
}

fn directory_that_is_missing_is_named(bench: &Bench) {
    let folder = Folder::new(bench);
    let missing = folder.0.join("missing");
    let mut run = bench.start(&format!("cluster mode=run listen=unix:{}/socket", missing.display()));
    let result = run.outcome();
    assert!(result.rest().contains(&format!("there is no directory {}", missing.display())), "{result:?}");
    run.end_with(1);

    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let mut run = bench.start(&format!("cluster mode=run unprivileged listen=unix:{}", folder.socket()));
    let result = run.outcome();
    if nix::unistd::Uid::effective().is_root() {
        let text = result.rest();
        assert!(text.starts_with("permission_denied") && text.contains("create files in it"), "{text}");
        run.end_with(1);
    } else {
        stop(run);
    }
}

fn abstract_name(bench: &Bench) {
    let name = format!("@mio-cluster-{}", bench.ip());
    let script = format!("cluster mode=run listen=unix:{name} workers=2");
    let mut run = bench.start_as_it_is(&script);
    run.fact("all_ready");
    assert_eq!(run.first("listening").get::<String>("address"), format!("unix:{name}"));
    bench.connect_unix(&name).ask("who");
    let mut second = bench.start_as_it_is(&script);
    assert!(second.outcome().rest().starts_with("address_in_use"));
    second.end_with(1);
    stop(run);
}
