//! Node's own scenarios for `cluster`, as programs of this library: one case for each of its tests that has a
//! counterpart here.
//!
//! Each is a program of its own, started by the harness of the process tests: a primary with workers, often clients,
//! and what it asserts. It fails on an unexpected line of the log, too, on a process, a zombie or a descriptor that is
//! left, on a port that stays taken, and on events out of order. The comment on its function says what it asserts.
//!
//! Names are Node's, without `test-` or `test-cluster-` and with underscores. **as there**: what Node's test asserts is
//! asserted. **adapted**: so is its idea, in the way that is given. The others have no case: they wait for something
//! that the library does not have yet, or there is nothing to assert. That this table and the cases agree is checked at
//! the start.
//!
//! | identity, environment, settings | |
//! |---|---|
//! | `basic` | adapted: a worker is one by birth, and the environment is left alone; one event stream instead of two emitters |
//! | `fork_env` | adapted: a fork copies what the program has set, so a captured value takes the place of the environment |
//! | `worker_constructor` | not applicable: a `Worker` cannot be constructed by the program |
//! | `worker_init` | as there |
//! | `uncaught_exception` | adapted: a panic hook |
//! | `cwd` | adapted: the primary's own directory at the fork; a setting waits for other programs as workers |
//! | `fork_stdio` | adapted: a captured socket pair |
//! | `fork_windowshide` | not applicable: Windows |
//! | `setup_primary` | adapted: captured arguments; `silent` waits for other programs as workers |
//! | `setup_primary_argv` | not applicable: JavaScript's `process.argv` |
//! | `setup_primary_cumulative` | adapted: calls of the builder |
//! | `setup_primary_emit` | adapted: the `before_fork` hook, as settings do not change after the start |
//! | `setup_primary_multiple` | adapted: three clusters |
//! | `advanced_serialization` | not applicable: JavaScript's structured clone; messages are bytes, or JSON by serde |
//!
//! | lifecycle, flags, states | |
//! |---|---|
//! | `worker_death` | as there |
//! | `worker_exit` | as there |
//! | `worker_kill` | as there |
//! | `worker_kill_signal` | as there |
//! | `worker_isdead` | as there, by `Master::workers` |
//! | `worker_isconnected` | adapted: who can be sent to is connected |
//! | `kill_disconnect` | as there |
//! | `worker_events` | not applicable: event emitters |
//! | `worker_destroy` | adapted: `Worker::disconnect` |
//! | `call_and_destroy` | as there |
//!
//! | graceful disconnect | |
//! |---|---|
//! | `worker_disconnect` | as there |
//! | `worker_wait_server_close` | as there |
//! | `worker_no_exit` | as there |
//! | `worker_forced_exit` | adapted: a cut channel forces nobody out; the kernel sees to it that workers follow their primary |
//! | `worker_disconnect_on_error` | as there |
//! | `disconnect` | as there |
//! | `disconnect_idle_worker` | as there |
//! | `disconnect_with_no_workers` | as there |
//! | `disconnect_before_exit` | as there |
//! | `disconnect_exited_after_disconnect_race` | adapted: the channel keeps the order, so nobody waits for an acknowledgement |
//! | `disconnect_race` | as there |
//! | `disconnect_leak` | as there; a worker that has not come as far as to hear the ask is ended by SIGTERM |
//! | `disconnect_unshared_tcp` | as there |
//! | `disconnect_unshared_udp` | waits for UDP |
//! | `concurrent_disconnect` | as there |
//! | `process_disconnect` | adapted: the worker drops what holds its channel, and returns |
//! | `shared_leak` | as there |
//!
//! | kill, signals, ties to the primary | |
//! |---|---|
//! | `kill_infinite_loop` | as there |
//! | `primary_kill` | as there |
//! | `primary_error` | as there |
//! | `ipc_throw` | adapted: a panic about an error of `listen` |
//!
//! | TCP | |
//! |---|---|
//! | `listening_port` | as there |
//! | `net_listen` | adapted: a cluster without an address, and a socket of the worker's own |
//! | `bind_twice` | as there, and the second one is refused before it has a worker |
//! | `eaddrinuse` | as there, for the cluster's address |
//! | `shared_handle_bind_error` | as there |
//! | `bind_privileged_port` | as there, for the primary, which binds |
//! | `shared_handle_bind_privileged_port` | as there, for a socket of the worker's own |
//! | `eaccess` | as there |
//! | `child_index_net` | as there, with two addresses |
//! | `server_restart_rr` | as there |
//! | `server_restart_none` | as there, when the primary keeps no sockets |
//! | `net_listen_backlog` | as there, by the clients that get in |
//! | `net_listen_ipv6only_false` | as there |
//! | `net_listen_ipv6only_rr` | as there |
//! | `net_listen_ipv6only_none` | as there, when the primary keeps no sockets |
//! | `port_reuse_between_workers` | as there |
//! | `net_reuseport` | as there |
//! | `net_server_drop_connection` | adapted: the kernel has chosen the worker, so who is beyond its limit waits there |
//! | `accept_fail` | adapted: the client waits and is served, it is not closed |
//! | `net_listen_exclusive_random_ports` | adapted: sockets of the workers' own |
//! | `net_listen_shared_ports` | adapted: a socket of the worker's own is the exclusive one |
//! | `net_listen_twice` | adapted: the second `listen` is an error |
//! | `net_server_close_before_ipc_response` | adapted: the worker dies before the answer, as `listen` returns with it |
//! | `net_listen_handle_in_cluster_1` | adapted: a captured listener |
//! | `net_listen_handle_in_cluster_2` | adapted: `Listen::fd` |
//! | `listen_fd_cluster` | as there, inherited through exec |
//! | `http_server_drop_connections_in_cluster` | as there, by a service that counts |
//! | `child_process_net_reuseport` | as there, with workers as the children |
//!
//! | Unix-domain sockets | |
//! |---|---|
//! | `http_pipe` | as there |
//! | `listen_pipe_readable_writable` | as there |
//! | `net_listen_relative_path` | adapted: a relative path is the program's choice, too long an absolute one is an error |
//!
//! | UDP | |
//! |---|---|
//! | `dgram_1`, `dgram_2`, `dgram_bind_fd`, `dgram_ipv6only`, `dgram_reuse`, `dgram_reuseport`, `child_index_dgram` | wait for UDP |
//! | `dgram_bind_error`, `dgram_bind_socket_close_before_reply`, `dgram_close_during_bind`, `dgram_close_in_listening` | wait for UDP |
//! | `dgram_unref`, `dgram_exclusive_implicit_bind`, `dgram_bind_shared_ports`, `dgram_bind_shared_ports_after_port_0` | wait for UDP |
//!
//! | messages, passing of descriptors | |
//! |---|---|
//! | `message` | as there |
//! | `invalid_message` | adapted: bytes that look like the library's own, and a reply that nobody waits for |
//! | `net_send` | as there |
//! | `send_deadlock` | as there |
//! | `send_handle_twice` | as there |
//! | `send_socket_to_worker_http_server` | adapted: the worker's own loop answers |
//! | `send_handle_large_payload` | as there |
//! | `worker_handle_close` | as there |
//!
//! | secrets, bookkeeping, debugger | |
//! |---|---|
//! | `tls_ticket_cluster` | as there |
//! | `rr_handle_close`, `rr_handle_keep_loop_alive`, `rr_handle_ref_unref`, `rr_ref`, `rr_domain_listen` | not applicable: a worker has the socket itself, there is no stand-in for it |
//! | `inspect_brk`, `inspector_port`, `inspector_port_zero`, `inspector_port_clash` | not applicable: the debugger of JavaScript |
//! | `benchmark_cluster` | not applicable: `scripts/bench/run` and `scripts/chaos/run` |
//!
//! | what no test of Node's looks at | |
//! |---|---|
//! | `crash_loop` | covered |
//! | `count_under_sigkill` | covered |
//! | `busy_orphan` | covered |
//! | `the_end_is_the_last_worker` | covered |
//! | `shutdown_deadlines` | covered |
//! | `signals_to_the_primary` | covered |
//! | `descriptor_leaks` | covered |
//! | `zombies` | covered |
//! | `rolling_restart` | covered, with no failed request; under load: `scripts/chaos/run` |
//! | `balance` | covered for the kernel's choice; one by load is not there yet |
//! | `a_worker_that_hangs` | covered: it is told of, killed and replaced, and a sibling serves who waits for it |
//! | `limits_of_service` | covered for connections; by memory and age: `cargo test --test process recycling` |
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::exit,
    reason = "a test program: it prints facts, and a failure is a panic"
)]

#[path = "../process/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with tests/process, which uses all of it")]
mod harness;
mod scenarios;
mod stage;

use std::{collections::BTreeSet, env, process::ExitCode};

fn main() -> ExitCode {
    if env::var_os(harness::FIXTURE).is_some() {
        return scenarios::program(&env::args().skip(1).collect::<Vec<_>>());
    }
    let names: BTreeSet<&str> = scenarios::names().collect();
    assert_eq!(names, promised(), "the cases, and the table at the top of tests/node/main.rs");
    harness::main(&scenarios::cases(), |passed| println!("\nnode: {passed} scenarios passed"))
}

/// The scenarios of which the table says that there is a case.
fn promised() -> BTreeSet<&'static str> {
    let rows = include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("//! | `")?.split_once("` | "));
    rows.filter(|(_, how)| WITH_A_CASE.iter().any(|word| how.starts_with(word))).map(|(name, _)| name).collect()
}

const WITH_A_CASE: [&str; 3] = ["as there", "adapted", "covered"];
