//! More and fewer workers while the cluster runs.
//!
//! The slots from the first one on are filled, up to the number that is asked for. Those above it are left for good, as
//! by `disconnect`: nobody who waits behind one of their doors is reset.

use std::time::Instant;

use super::{
    Course, Supervisor,
    post::{PostState, Role},
    steps::How,
};
use crate::{
    error::{Error, Kind, Result},
    event::Cause,
};

impl Supervisor {
    /// How many workers are wanted.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// **Errors**: the cluster is stopping, or manual; no such number of workers is possible.
    pub(crate) fn handle_scale(&mut self, now: Instant, workers: usize) -> Result<()> {
        let most = self.posts.len();
        let invalid = |text: String| Err(Error::new(Kind::InvalidConfig, text));
        if !matches!(self.course, Course::Running) {
            return Err(Error::new(Kind::Gone, "scale: the cluster is stopping"));
        }
        if self.settings.manual {
            return invalid("scale: the cluster is manual(), use fork() and disconnect()".to_owned());
        }
        if workers == 0 {
            return invalid("scale(0): 0 workers serve nobody, give 1 or more, or stop by shutdown()".to_owned());
        }
        if workers > most {
            return invalid(format!("scale({workers}): there are {most} slots, raise max_workers({most})"));
        }
        self.look_again(now);
        self.target = workers;
        (0..workers).for_each(|index| self.fill(now, index));
        (workers..most).for_each(|index| self.vacate(now, index));
        self.announce_all_ready();
        self.handle_timeout(now);
        Ok(())
    }

    /// A slot whose worker is not to be restarted stays as it is.
    fn fill(&mut self, now: Instant, index: usize) {
        self.posts[index].is_dismissed = false;
        self.stay(now, index, Cause::Scaled);
        if matches!(self.posts[index].state, PostState::Vacant) {
            let id = self.take_id();
            let delay = self.posts[index].pace.remaining(now);
            self.schedule(now, index, id, delay);
        }
    }

    fn vacate(&mut self, now: Instant, index: usize) {
        let post = &mut self.posts[index];
        post.is_dismissed = true;
        match post.state {
            PostState::Vacant | PostState::Retired(_) => {}
            PostState::Due { .. } => self.is_left_empty(now, index),
            PostState::Spawning { id } => {
                if self.withdraw(id) {
                    self.is_left_empty(now, index);
                }
                self.abandon_doors(now, index);
            }
            PostState::Live(ref process) => {
                let id = process.worker.id;
                self.let_go(now, index, id, Cause::Scaled);
                self.process_mut(id).into_iter().for_each(|process| process.dismiss(Cause::Scaled));
            }
        }
    }

    fn is_left_empty(&mut self, now: Instant, index: usize) {
        let post = &mut self.posts[index];
        (post.state, post.last) = (PostState::Vacant, None);
        post.left();
        self.abandon_doors(now, index);
    }

    /// What was just forked may have lost its purpose meanwhile.
    pub(super) fn is_wanted(&mut self, now: Instant, index: usize, role: Role) {
        match role {
            Role::Successor if !self.has_step(index, How::Succession) => self.discard_successor(now, index),
            Role::Holder if self.posts[index].is_dismissed => self.vacate(now, index),
            Role::Successor | Role::Holder | Role::Former => {}
        }
    }
}
