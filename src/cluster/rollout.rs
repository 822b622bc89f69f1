//! What a rolling restart does by itself.

use std::time::Duration;

use super::Cluster;
use crate::config::Rollout;

impl Cluster {
    /// How SIGHUP replaces the workers, where the master owns the [`signals`](Self::signals); default
    /// [`Rollout::new`]. By [`Master::rollout`](crate::Master::rollout) the program does it itself.
    pub fn rollout(mut self, plan: Rollout) -> Self {
        self.settings.rollout = plan;
        self
    }

    /// Called in the master when a rollout is asked for, by SIGHUP or [`Master::rollout`](crate::Master::rollout), before
    /// any worker is touched: reads the configuration anew, for one. With `Err`, or a panic, the rollout ends as
    /// [`Aborted`](crate::RolloutResult::Aborted) with that text, and everybody serves on as before.
    ///
    /// The worker function runs in a copy of the master, made at its fork, so it finds what the hook has changed, if
    /// both have the same `Rc` of it. Replacements after a crash find it, too: change nothing before all of the new is
    /// known to be good.
    ///
    /// ```no_run
    /// use std::{cell::RefCell, fs, rc::Rc};
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let greeting = Rc::new(RefCell::new(fs::read_to_string("greeting.txt")?));
    /// let read_again = Rc::clone(&greeting);
    /// Cluster::new()
    ///     .listen("127.0.0.1:8000")
    ///     .on_reload(move || {
    ///         *read_again.borrow_mut() = fs::read_to_string("greeting.txt").map_err(|error| format!("greeting.txt: {error}"))?;
    ///         Ok(())
    ///     })
    ///     .run(move |mut worker| {
    ///         let greeting = greeting.take();
    ///         // … serve it …
    /// #       drop(greeting);
    ///         worker.listen().map(drop)
    ///     })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_reload(mut self, hook: impl FnMut() -> std::result::Result<(), String> + 'static) -> Self {
        self.on_reload = Some(Box::new(hook));
        self
    }

    /// How many workers may finish their long-lived connections while a successor serves in their place; default: as
    /// many as there are workers, so one generation. A rollout that would make them more waits until some have ended.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use mio_cluster::Cluster;
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// // Games of up to an hour go on in old workers, of which there is memory for four.
    /// let cluster = Cluster::new().listen("127.0.0.1:8000").max_lingering(4).linger_timeout(Duration::from_secs(3600));
    /// cluster.run(|mut worker| worker.listen().map(drop))
    /// # }
    /// ```
    pub fn max_lingering(mut self, workers: usize) -> Self {
        self.settings.max_lingering = Some(workers);
        self
    }

    /// How long they may take for that, instead of [`drain_timeout`](Self::drain_timeout): their slot is served by a
    /// successor, so nobody waits for them. Default: the same.
    pub fn linger_timeout(mut self, within: Duration) -> Self {
        self.settings.linger_timeout = Some(within);
        self
    }
}
