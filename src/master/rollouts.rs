//! Rolling restarts and the number of workers, by the program's word and by signals.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{Master, TARGET};
use crate::{
    config::Rollout,
    error::{Error, Kind, Result},
    id::{RolloutId, Signal},
    last_words::panic_text,
};

/// What a rollout begins with.
pub(super) struct Reload {
    hook: Option<OnReload>,
    /// What SIGHUP does.
    plan: Rollout,
}

/// The program's hook, called before a rollout touches any worker.
pub(crate) type OnReload = Box<dyn FnMut() -> std::result::Result<(), String>>;

impl Reload {
    pub(super) fn new(hook: Option<OnReload>, plan: Rollout) -> Self {
        Self { hook, plan }
    }

    fn read(&mut self) -> std::result::Result<(), String> {
        let Some(hook) = &mut self.hook else { return Ok(()) };
        catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|panic| {
            let text = format!("it panicked: {}", panic_text(&*panic));
            // Its destructor could panic in turn.
            std::mem::forget(panic);
            Err(text)
        })
    }
}

impl Master {
    /// Replaces all workers that there are now, slot by slot, each by a successor that is ready before it leaves (see
    /// [`Rollout`]). Returns at once; the result is [`Event::RolloutEnded`](crate::Event::RolloutEnded).
    ///
    /// First of all the hook of [`Cluster::on_reload`](crate::Cluster::on_reload) is called; if it fails, the rollout
    /// ends with its text and no worker is touched. Successors that fail, or are not ready in time, abort the rollout:
    /// workers that were not replaced before serve on, and so do those that have replaced others.
    ///
    /// A rollout that is under way is superseded by this one when its current steps are over. A slot whose worker ends
    /// meanwhile is new without a step of its own; one that waits out a back-off is tried at once, last.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mio_cluster::{Cluster, Event, Rollout, RolloutResult};
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// let mut master = Cluster::new().listen("127.0.0.1:8000").start(|mut worker| worker.listen().map(drop))?;
    /// let rollout = master.rollout(Rollout::new().surge(2))?;
    /// while let Some(event) = master.wait(None)? {
    ///     match event {
    ///         Event::RolloutEnded { id, result } if id == rollout => println!("{result}"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Errors**: the cluster is stopping ([`is_gone`](Error::is_gone)); the plan allows no step, or has more canaries
    /// than there are workers ([`is_invalid_config`](Error::is_invalid_config)).
    pub fn rollout(&mut self, plan: Rollout) -> Result<RolloutId> {
        let id = self.begin_rollout(Instant::now(), plan)?;
        // The hook takes its time.
        self.act_at_once(Instant::now())?;
        Ok(id)
    }

    /// Fills the slots up to this number of workers, or has those above it leave: they take no new connections, finish
    /// those that they have accepted, and whoever waits behind their sockets is served. Returns at once; the events tell
    /// the rest, with [`Cause::Scaled`](crate::Cause::Scaled) for those that leave. A slot that was left by
    /// [`disconnect`](Self::disconnect) is filled again, one whose worker is not to be restarted is not.
    ///
    /// ```no_run
    /// use mio_cluster::{Master, Result};
    ///
    /// fn for_the_night(master: &mut Master) -> Result<()> {
    ///     master.scale(1)
    /// }
    /// ```
    ///
    /// SIGTTIN and SIGTTOU do it by one, where the master [owns](crate::Cluster::signals) the signals.
    ///
    /// **Errors**: 0, or more than [`max_workers`](crate::Cluster::max_workers); the cluster is
    /// [`manual`](crate::Cluster::manual); it is stopping ([`is_gone`](Error::is_gone)).
    pub fn scale(&mut self, workers: usize) -> Result<()> {
        self.check_process()?;
        let now = Instant::now();
        self.scale_to(now, workers)?;
        self.act_at_once(now)
    }

    pub(super) fn roll_by_signal(&mut self, now: Instant, signal: Signal) {
        let plan = self.reload.plan.for_workers(self.supervisor.rolled());
        if let Err(error) = self.begin_rollout(now, plan) {
            log::warn!(target: TARGET, "{signal} ignored: {error:#}");
        }
    }

    pub(super) fn scale_by_signal(&mut self, now: Instant, signal: Signal, workers: usize) {
        log::info!(target: TARGET, "received {signal}");
        if let Err(error) = self.scale_to(now, workers) {
            log::warn!(target: TARGET, "{signal} ignored: {error:#}");
        }
    }

    fn begin_rollout(&mut self, now: Instant, plan: Rollout) -> Result<RolloutId> {
        self.check_process()?;
        self.supervisor.may_roll(&plan)?;
        Ok(match self.reload.read() {
            Ok(()) => self.supervisor.handle_rollout(now, plan),
            Err(why) => self.supervisor.handle_reload_failed(Error::new(Kind::System, format!("on_reload: {why}"))),
        })
    }

    fn scale_to(&mut self, now: Instant, workers: usize) -> Result<()> {
        let before = self.supervisor.target();
        self.supervisor.handle_scale(now, workers)?;
        if before != workers {
            log::info!(target: TARGET, "the number of workers goes from {before} to {workers}");
        }
        Ok(())
    }
}
