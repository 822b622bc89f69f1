//! When a rollout is over: no newcomer meets the old generation any more, and nobody else does, but where it lingers.

use std::time::{Duration, Instant};

use crate::{
    config::{Rollout, Settings},
    event::{Event, ExitStatus, RolloutResult},
    id::WorkerId,
    supervisor::{Action, Supervisor},
};

#[test]
fn a_rollout_is_done_when_the_old_worker_has_ended() {
    let (mut supervisor, now, old) = with_former();
    supervisor.handle_timeout(now);
    assert_eq!(ends(&mut supervisor), 0);

    supervisor.handle_closed(now, old, 0);
    supervisor.handle_timeout(now);
    assert_eq!(ends(&mut supervisor), 0);
    supervisor.handle_exited(now, old, ExitStatus::from_wait_status(0));
    supervisor.handle_timeout(now);
    assert_eq!(ends(&mut supervisor), 1);
}

#[test]
fn or_when_it_lingers_and_has_left_its_door() {
    let (mut supervisor, now, old) = with_former();
    let later = now + Duration::from_secs(2);
    supervisor.handle_timeout(later);
    assert_eq!(ends(&mut supervisor), 0);
    supervisor.handle_channel_closed(later, old);
    supervisor.handle_timeout(later);
    assert_eq!(ends(&mut supervisor), 1);
}

/// One worker that was just asked to leave its slot to another one.
fn with_former() -> (Supervisor, Instant, WorkerId) {
    let now = Instant::now();
    let mut supervisor = Supervisor::new(Settings::with_workers(1), 1, vec![super::rig::address(0)], 7);
    supervisor.handle_start(now);
    let old = forked(&mut supervisor, now);
    supervisor.handle_listening(now, old, 0);
    supervisor.handle_rollout(now, Rollout::new().settle(Duration::ZERO));
    let new = forked(&mut supervisor, now);
    supervisor.handle_listening(now, new, 0);
    supervisor.handle_timeout(now);
    let asked = actions(&mut supervisor).any(|action| matches!(action, Action::Ask { id, .. } if id == old));
    assert!(asked);
    (supervisor, now, old)
}

/// The worker that is wanted.
fn forked(supervisor: &mut Supervisor, now: Instant) -> WorkerId {
    let wanted =
        actions(supervisor).find_map(|action| if let Action::Spawn { id, .. } = action { Some(id) } else { None });
    let id = wanted.expect("one is wanted");
    supervisor.handle_spawned(now, id, 100);
    id
}

fn ends(supervisor: &mut Supervisor) -> usize {
    let is_end = |action: &Action| matches!(action, Action::Emit(Event::RolloutEnded { result, .. }) if matches!(result, RolloutResult::Done));
    actions(supervisor).filter(is_end).count()
}

fn actions(supervisor: &mut Supervisor) -> impl Iterator<Item = Action> + '_ {
    std::iter::from_fn(|| supervisor.poll_action())
}
