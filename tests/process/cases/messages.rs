//! Messages between master and workers: order, room, descriptors, requests. The fixture checks what arrives.

use crate::harness::{Bench, Run, cases};

cases!("messages":
    both_ways_in_order,
    everybody_at_once_without_a_deadlock,
    last_words_arrive_however_a_worker_ends,
    nothing_is_held_without_a_loop,
    what_is_held_is_sent_by_a_loop_that_sleeps,
    a_worker_that_never_reads,
    a_master_that_takes_nothing,
    a_full_channel_is_asked_to_drain,
    a_stopped_worker_with_a_full_channel_is_killed,
    a_full_channel_does_not_cut_a_drain_short,
    a_channel_full_to_the_brim_is_asked_to_drain,
    what_a_listener_has_read_wakes_who_watches_later,
    nothing_is_held_by_a_thread_that_is_busy,
    nothing_is_held_when_the_listener_has_gone,
    a_loop_with_more_to_read_sleeps,
    replies_find_their_requests,
    late_and_double_replies_are_dropped,
    nobody_there,
    descriptors_are_passed_on,
    lost_descriptors_are_counted_in_the_master,
    lost_descriptors_are_counted_in_the_worker,
    a_flood_of_descriptors_is_bounded,
    descriptors_on_their_way_are_limited,
    descriptors_on_their_way_are_not_inherited,
);

fn both_ways_in_order(bench: &Bench) {
    done(bench.start("messages scenario=both_ways workers=3"));
}

fn everybody_at_once_without_a_deadlock(bench: &Bench) {
    done(bench.start("messages scenario=everybody_at_once workers=2"));
}

fn last_words_arrive_however_a_worker_ends(bench: &Bench) {
    let mut run = bench.start("messages scenario=last_words");
    run.expect("failed: no disk");
    run.expect_panic("no disk");
    run.expect("panicked: no disk");
    run.expect("exited with code");
    run.expect("killed by the program");
    done(run);
}

fn nothing_is_held_without_a_loop(bench: &Bench) {
    let mut run = bench.start("messages scenario=without_a_loop");
    run.expect_once("stopping at once: 1 worker killed");
    run.fact("done");
    run.end_with(0);
}

fn what_is_held_is_sent_by_a_loop_that_sleeps(bench: &Bench) {
    done(bench.start("messages scenario=bursts"));
}

fn a_worker_that_never_reads(bench: &Bench) {
    done(bench.start("messages scenario=a_worker_that_never_reads workers=2"));
}

fn a_master_that_takes_nothing(bench: &Bench) {
    done(bench.start("messages scenario=a_master_that_takes_nothing"));
}

/// By a signal, for it would never read that it is to leave; but it has all the time to finish.
fn a_full_channel_is_asked_to_drain(bench: &Bench) {
    done(bench.start("messages scenario=stop_of_a_full_channel listen=@:0"));
}

fn a_full_channel_does_not_cut_a_drain_short(bench: &Bench) {
    let mut run = bench.start("messages scenario=full_and_told_by_somebody_else");
    run.fact("stopping");
    run.tell("go on");
    done(run);
}

fn a_channel_full_to_the_brim_is_asked_to_drain(bench: &Bench) {
    done(bench.start("messages scenario=full_to_the_brim"));
}

fn what_a_listener_has_read_wakes_who_watches_later(bench: &Bench) {
    done(bench.start("messages scenario=read_by_a_listener listen=@:0"));
}

fn nothing_is_held_by_a_thread_that_is_busy(bench: &Bench) {
    done(bench.start("messages scenario=held_by_a_busy_thread listen=@:0"));
}

fn nothing_is_held_when_the_listener_has_gone(bench: &Bench) {
    done(bench.start("messages scenario=held_after_the_listener listen=@:0"));
}

fn a_loop_with_more_to_read_sleeps(bench: &Bench) {
    done(bench.start("messages scenario=sleeps_with_more_to_read listen=@:0"));
}

fn a_stopped_worker_with_a_full_channel_is_killed(bench: &Bench) {
    let mut run = bench.start("messages scenario=stop_of_a_stopped_worker drain_timeout=1 terminate_timeout=1");
    run.expect_once("it gets SIGTERM");
    run.expect_once("it gets SIGKILL");
    assert_eq!(run.fact("ended").rest(), "was killed by SIGKILL, Asked");
    done(run);
}

fn replies_find_their_requests(bench: &Bench) {
    done(bench.start("messages scenario=replies workers=2"));
}

fn late_and_double_replies_are_dropped(bench: &Bench) {
    let mut run = bench.start("messages scenario=late_and_double_replies");
    run.fact("done");
    run.end_with(0);
    // Two after the first, one after the time.
    assert_eq!(run.logged("for which nobody waits (any more)"), 3);
}

fn nobody_there(bench: &Bench) {
    let mut run = bench.start("messages scenario=nobody_there");
    run.expect("killed by the program");
    done(run);
}

fn descriptors_are_passed_on(bench: &Bench) {
    done(bench.start("messages scenario=passed_on workers=2"));
}

fn lost_descriptors_are_counted_in_the_master(bench: &Bench) {
    let mut run = bench.start("messages scenario=lost_in_the_master");
    run.expect_once("100 descriptors that worker 1 has sent did not arrive");
    done(run);
}

fn lost_descriptors_are_counted_in_the_worker(bench: &Bench) {
    let mut run = bench.start("messages scenario=lost_in_the_worker");
    run.expect_once("100 descriptors of a message did not arrive");
    done(run);
}

fn a_flood_of_descriptors_is_bounded(bench: &Bench) {
    done(bench.start("messages scenario=flood"));
    done(bench.start("messages scenario=flood unprivileged"));
}

fn descriptors_on_their_way_are_limited(bench: &Bench) {
    done(bench.start("messages scenario=too_many_in_flight unprivileged"));
}

fn descriptors_on_their_way_are_not_inherited(bench: &Bench) {
    done(bench.start("messages scenario=not_inherited"));
}

fn done(mut run: Run) {
    run.fact("done");
    run.end_with(0);
}
