//! What a scoreboard shows of workers that serve, block and are killed, and what a worker can write of it.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::harness::{Bench, Fact, Run, cases};

cases!("scoreboard":
    counts_of_a_serving_worker_arrive,
    counts_go_on_across_kill_9,
    ends_are_counted_by_cause,
    a_turn_that_lasts_is_seen,
    a_worker_that_is_to_leave_is_seen,
    doors_are_counted_by_address,
    a_worker_writes_its_own_page_only,
    a_worker_of_one_cluster_writes_nothing_of_another,
    a_row_is_used_in_a_thread,
    a_row_is_used_in_a_cluster_inside_the_worker,
    a_row_of_a_standalone_worker_is_used_in_a_forked_one,
    a_worker_reads_the_masters_scoreboard,
    a_dropped_master_leaves_its_totals,
);

/// All lines of one look.
pub(super) struct Look(Vec<Fact>);

impl Look {
    pub(super) fn at(run: &mut Run) -> Self {
        let names = ["row", "door", "slot", "total"];
        let before = names.map(|name| run.all(name).len());
        run.tell("board");
        run.fact("end_of_board");
        Look(names.into_iter().zip(before).flat_map(|(name, seen)| run.all(name).split_off(seen)).collect())
    }

    pub(super) fn all(&self, name: &str) -> Vec<&Fact> {
        self.0.iter().filter(|fact| fact.name() == name).collect()
    }

    pub(super) fn one(&self, name: &str) -> &Fact {
        let [fact] = self.all(name)[..] else { panic!("not one {name}: {:?}", self.0) };
        fact
    }
}

/// The values of these fields.
pub(super) fn values<const N: usize>(fact: &Fact, keys: [&str; N]) -> [u64; N] {
    keys.map(|key| fact.get(key))
}

pub(super) const FATE: [&str; 4] = ["accepted", "closed", "open", "abandoned"];

fn stop(mut run: Run) {
    run.tell("stop");
    run.end_with(0);
}

/// Until the worker's side of the conversation is over, too. The lines of one look are not of one moment.
pub(super) fn wait_for_closed(run: &mut Run, closed: u64) -> Look {
    while Look::at(run).one("total").get::<u64>("closed") < closed {}
    Look::at(run)
}

fn counts_of_a_serving_worker_arrive(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let address = run.ready();
    let (mut first, second) = (bench.connect(address), bench.connect(address));
    let who = first.ask("who");
    first.ask("requests 3");
    first.ask("user 0");
    first.ask("user 7");
    let look = Look::at(&mut run);
    let row = look.one("row");
    assert_eq!(who, format!("{} {} {}", row.get::<u64>("worker"), row.get::<u64>("slot"), row.get::<u64>("pid")));
    assert_eq!(values(row, ["accepted", "closed", "open", "requests"]), [1, 0, 1, 3]);
    assert_eq!(row.field("user"), Some("[1, 0, 0, 0, 0, 0, 0, 1]"));
    assert_eq!(look.one("slot").get::<u64>("accepted"), 1);
    drop((first, second));
    let look = wait_for_closed(&mut run, 2);
    assert_eq!(values(look.one("row"), ["accepted", "closed", "open", "requests"]), [2, 2, 0, 3]);
    assert_eq!(values(look.one("total"), FATE), [2, 2, 0, 0]);
    stop(run);
}

fn counts_go_on_across_kill_9(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let address = run.ready();
    run.expect("was killed by SIGKILL");
    drop(bench.connect(address));
    wait_for_closed(&mut run, 1);
    for id in 1..=3 {
        let mut client = bench.connect(address);
        client.ask("requests 10");
        client.ask("user 2");
        // It has accepted this one, and will not close it.
        run.tell(&format!("kill {id} 9"));
        run.fact_of("exit", id);
        client.closed();
        run.fact_of("ready", id + 1);
    }
    let look = Look::at(&mut run);
    assert_eq!(values(look.one("row"), ["worker", "accepted", "requests"]), [4, 0, 0]);
    let slot = look.one("slot");
    assert_eq!(values(slot, FATE), [4, 1, 0, 3]);
    assert_eq!(values(slot, ["slot", "processes", "requests", "reset"]), [0, 4, 30, 0]);
    assert_eq!(slot.field("user"), Some("[0, 0, 3, 0, 0, 0, 0, 0]"));
    assert_eq!(slot.field("processes"), look.one("total").field("processes"));
    stop(run);
}

fn ends_are_counted_by_cause(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2");
    let at = run.ready();
    let warnings = ["exited with code 0", "exited with code 7", "was killed by SIGABRT", "was killed by SIGKILL"];
    warnings.iter().for_each(|text| run.expect(text));
    for (id, last_words) in [(1, "exit 0"), (3, "exit 7"), (4, "exit 7"), (5, "abort")] {
        bench.client_of(at, id).say(last_words);
        run.fact_of("ready", id.max(2) + 1);
    }
    run.signal_to(run.all("ready").last().unwrap().get("pid"), Signal::SIGKILL);
    run.fact_of("ready", 7);
    run.tell("kill 7 9");
    run.fact_of("ready", 8);
    run.tell("disconnect 8");
    run.fact_of("exit", 8);
    let look = Look::at(&mut run);
    // Asked, recycled, clean, failed, signalled, hung, not ready, killed, unknown.
    let [first, second] = look.all("slot")[..] else { panic!("two slots") };
    assert_eq!(first.field("ends"), Some("[1, 0, 1, 2, 2, 0, 0, 1, 0]"));
    assert_eq!(second.field("ends"), Some("[0, 0, 0, 0, 0, 0, 0, 0, 0]"));
    assert_eq!(look.one("total").field("ends"), first.field("ends"));
    stop(run);
}

/// The fixture blocks while it talks to a client.
fn a_turn_that_lasts_is_seen(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let address = run.ready();
    let mut client = bench.connect(address);
    client.ask("who");
    let [first, second] = [(); 2].map(|()| Look::at(&mut run).one("row").clone());
    assert!(first.get::<u64>("busy_ns") > 0 && second.get::<u64>("busy_ns") > first.get::<u64>("busy_ns"));
    assert!(first.get::<u64>("turns") > 0 && second.get::<u64>("turns") == first.get::<u64>("turns"));
    drop(client);
    // It ends when it waits again, or the watchdog ends the case.
    while Look::at(&mut run).one("row").field("busy_ns") != Some("null") {}
    stop(run);
}

fn a_worker_that_is_to_leave_is_seen(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let mut client = bench.connect(run.ready());
    client.ask("who");
    assert_eq!(Look::at(&mut run).one("row").field("draining"), Some("false"));
    run.tell("stop");
    run.fact("stopping");
    assert_eq!(Look::at(&mut run).one("row").field("draining"), Some("true"));
    client.ask("who");
    drop(client);
    run.end_with(0);
}

fn doors_are_counted_by_address(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0,a listen=@:0,b worker=both");
    let addresses = run.ready_at();
    // It listens on both, and serves a.
    bench.ask(addresses[0], "who");
    let look = wait_for_closed(&mut run, 1);
    let doors: Vec<(SocketAddr, u64, String)> =
        look.all("door").iter().map(|door| (door.get("address"), door.get("accepted"), door.get("ready"))).collect();
    assert_eq!(doors, [(addresses[0], 1, "true".to_owned()), (addresses[1], 0, "true".to_owned())]);
    run.expect("was killed by SIGKILL");
    run.tell("kill 1 9");
    run.fact_of("ready", 2);
    bench.ask(addresses[0], "who");
    wait_for_closed(&mut run, 2);
    assert_eq!(Look::at(&mut run).all("door")[0].get::<u64>("accepted"), 2);
    stop(run);
}

/// The roster is a page, then come 64 seats, and for each of 64 addresses a page with the doors of 64 slots.
fn a_worker_writes_its_own_page_only(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=3");
    let address = run.ready();
    let mut seen = [None, None, None];
    while seen.contains(&None) {
        let mut client = bench.connect(address);
        let slot: usize = client.ask("who").split(' ').nth(1).unwrap().parse().unwrap();
        seen[slot] = Some(client.ask("rights"));
    }
    assert_eq!(seen.map(Option::unwrap), ["r2 w1 r191 w64", "r3 w1 r190 w64", "r4 w1 r189 w64"]);
    stop(run);
}

fn a_worker_of_one_cluster_writes_nothing_of_another(bench: &Bench) {
    let mut run = bench.start("two_masters listen=@:0");
    assert_eq!(run.first("first_rights").rest(), "r2 w1 r191 w64");
    let second = run.first("second_rights");
    let mut boards: Vec<&str> = second.rest().split(" | ").collect();
    boards.sort_unstable();
    assert_eq!(boards, ["r2 w1 r191 w64", "r258"]);
    run.end_with(0);
}

fn a_row_is_used_in_a_thread(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=counts_in_a_thread");
    run.ready();
    let look = Look::at(&mut run);
    assert_eq!(values(look.one("row"), ["accepted", "closed", "requests"]), [1, 1, 5]);
    assert_eq!(look.one("row").field("user"), Some("[0, 0, 0, 7, 0, 0, 0, 0]"));
    stop(run);
}

/// What a worker may write, the processes that it forks may, too: whatever they carry over the fork works. The others'
/// seats are closed to them as well.
fn a_row_is_used_in_a_cluster_inside_the_worker(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 worker=nested_with_a_row");
    run.expect("exited with code 0");
    run.ready();
    let rights = run.first("rights");
    let mut boards: Vec<&str> = rights.rest().split(" | ").collect();
    boards.sort_unstable();
    assert_eq!(boards, ["r1 w1 r11 w4", "r2 w1 r191 w64"]);
    let look = Look::at(&mut run);
    assert_eq!(look.one("row").get::<u64>("requests"), 2);
    assert_eq!(look.one("row").field("user"), Some("[3, 0, 0, 0, 0, 0, 0, 0]"));
    stop(run);
}

fn a_row_of_a_standalone_worker_is_used_in_a_forked_one(bench: &Bench) {
    let mut run = bench.start("standalone_row");
    run.expect("exited with code 0");
    assert_eq!(run.fact("counted").rest(), "3");
    run.end_with(0);
}

/// One that was forked after the master has handed its scoreboard to the program.
fn a_worker_reads_the_masters_scoreboard(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0 workers=2");
    let address = run.ready();
    run.expect("was killed by SIGKILL");
    for id in 1..=2 {
        run.tell(&format!("kill {id} 9"));
        run.fact_of("ready", id + 2);
    }
    let mut client = bench.connect(address);
    let answer = client.ask("total");
    let me = client.ask("who");
    // Worker 3 knows nothing of the end of worker 2, which came later.
    let processes = if me.starts_with('3') { 3 } else { 4 };
    assert_eq!(answer, format!("{processes} 1 [3 4]"), "{me}");
    drop(client);
    stop(run);
}

fn a_dropped_master_leaves_its_totals(bench: &Bench) {
    let mut run = bench.start("cluster listen=@:0");
    let address = run.ready();
    let mut client = bench.connect(address);
    client.ask("who");
    let waiting = bench.connect(address);
    run.tell("drop");
    run.fact("dropped");
    client.closed();
    waiting.closed();
    let look = Look::at(&mut run);
    assert!(look.all("row").is_empty());
    assert_eq!(values(look.one("total"), FATE), [1, 0, 0, 1]);
    assert_eq!(values(look.one("total"), ["processes", "reset"]), [1, 1]);
    run.tell("quit");
    run.end_with(0);
}
