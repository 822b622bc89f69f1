//! What the program may ask of the supervisor while the cluster runs.

use std::time::Instant;

use super::{Action, Course, Supervisor, Why, post::PostState};
use crate::{
    error::{Error, Kind, Result},
    event::Cause,
    id::{Signal, WorkerId},
};

impl Supervisor {
    /// One worker more, in the lowest free slot and not before the slot's back-off has passed.
    ///
    /// **Errors**: the cluster stops; no slot is free.
    pub(crate) fn handle_fork(&mut self, now: Instant) -> Result<WorkerId> {
        if !matches!(self.course, Course::Running) {
            return Err(Error::new(Kind::Gone, "fork: the cluster is stopping, no worker is forked any more"));
        }
        self.look_again(now);
        let free = self.posts.iter().position(|post| matches!(post.state, PostState::Vacant | PostState::Retired(_)));
        let Some(index) = free else {
            let slots = self.posts.len();
            return Err(Error::new(
                Kind::WouldBlock,
                format!("fork: all {slots} slots are taken, raise max_workers({slots})"),
            ));
        };
        let id = self.take_id();
        // One worker more is wanted, though the slots in between may be on their way out.
        if !self.settings.manual && index >= self.target {
            self.target += 1;
        }
        let delay = self.posts[index].pace.remaining(now);
        self.schedule(now, index, id, delay);
        self.handle_timeout(now);
        Ok(id)
    }

    /// One worker is to leave and not to be replaced; it is not told twice.
    ///
    /// **Errors**: no such worker.
    pub(crate) fn handle_drain(&mut self, now: Instant, id: WorkerId) -> Result<()> {
        let index = self.stir(now, id).ok_or_else(|| gone("disconnect", id))?;
        self.let_go(now, index, id, Cause::Asked);
        if let Some(process) = self.process_mut(id) {
            process.dismiss(Cause::Asked);
        }
        Ok(())
    }

    /// The program sends a signal. If the worker dies of it, the cause is `Killed` and the restart rules apply.
    ///
    /// **Errors**: no such worker.
    pub(crate) fn handle_kill(&mut self, now: Instant, id: WorkerId, signal: Signal) -> Result<()> {
        self.stir(now, id).ok_or_else(|| gone("kill", id))?;
        if let Some(process) = self.process_mut(id) {
            process.sent(signal);
        }
        self.actions.push_back(Action::Signal { id, signal, why: Why::Program });
        Ok(())
    }
}

fn gone(step: &str, id: WorkerId) -> Error {
    Error::new(Kind::Gone, format!("{step}: there is no worker {id} (any more)"))
}
