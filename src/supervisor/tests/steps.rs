//! The steps of one worker as the program sees them: Fork < Online < Listening* < Ready < Disconnect < Exit.

use super::{
    by_hand::{ByHand, exited, id, policy},
    rig::Input,
};
use crate::{config::Restart, event::Event};

/// What was told of worker 1 after its `Fork`.
#[track_caller]
fn told(inputs: &[Input]) -> Vec<&'static str> {
    let mut cluster = ByHand::start(policy(2, Restart::Always));
    cluster.events();
    for input in inputs {
        cluster.feed(*input);
    }
    let events = cluster.events();
    events.iter().filter_map(name).collect()
}

fn name(event: &Event) -> Option<&'static str> {
    match event {
        Event::Online(_) => Some("online"),
        Event::Listening { .. } => Some("listening"),
        Event::Ready(_) => Some("ready"),
        Event::Message { .. } => Some("message"),
        Event::Disconnect(_) => Some("disconnect"),
        Event::Exit { .. } => Some("exit"),
        Event::Fork(_) | Event::ForkFailed { .. } | Event::AllReady { .. } => None,
        Event::Reply { .. } | Event::Writable(_) | Event::Backoff { .. } | Event::Stopping(_) => None,
        Event::Stranger { .. } | Event::RolloutStarted(_) | Event::RolloutEnded { .. } => None,
        Event::Hung { .. } | Event::Recovered { .. } => None,
    }
}

const ONE: u64 = 1;

#[test]
fn skipped_steps_are_taken_in_order() {
    assert_eq!(told(&[Input::Listening(id(ONE), 0)]), ["online", "listening", "ready"]);
    assert_eq!(told(&[Input::Ready(id(ONE)), Input::Online(id(ONE))]), ["online", "ready"]);
    assert_eq!(told(&[Input::Online(id(ONE)), Input::Exited(id(ONE), exited(1))]), ["online", "disconnect", "exit"]);
}

#[test]
fn messages_come_while_the_channel_is_open() {
    let said = Input::Said(id(ONE));
    assert_eq!(told(&[said, Input::Online(id(ONE)), said]), ["online", "message", "message"]);
    assert_eq!(told(&[Input::ChannelClosed(id(ONE)), said]), ["disconnect"]);
}

#[test]
fn every_step_is_taken_once() {
    let listening = Input::Listening(id(ONE), 0);
    assert_eq!(told(&[listening, listening, Input::Ready(id(ONE)), listening]), ["online", "listening", "ready"]);
    let closed = Input::ChannelClosed(id(ONE));
    assert_eq!(told(&[closed, closed, Input::Exited(id(ONE), exited(0)), closed]), ["disconnect", "exit"]);
}

#[test]
fn a_worker_that_says_ready_before_it_listens_is_ready_first() {
    assert_eq!(told(&[Input::Ready(id(ONE)), Input::Listening(id(ONE), 0)]), ["online", "ready", "listening"]);
}

#[test]
fn a_worker_that_is_to_leave_takes_no_further_steps() {
    for leave in [Input::Drain(id(ONE)), Input::Leaving(id(ONE))] {
        for late in [Input::Online(id(ONE)), Input::Listening(id(ONE), 0), Input::Ready(id(ONE))] {
            assert_eq!(told(&[leave, late]), Vec::<&str>::new(), "{late:?} after {leave:?}");
        }
    }
}

#[test]
fn nothing_follows_the_end_of_the_channel_but_the_exit() {
    for late in [Input::Online(id(ONE)), Input::Listening(id(ONE), 0), Input::Ready(id(ONE)), Input::Leaving(id(ONE))] {
        let told = told(&[Input::ChannelClosed(id(ONE)), late, Input::Exited(id(ONE), exited(0))]);
        assert_eq!(told, ["disconnect", "exit"], "{late:?}");
    }
}
