//! Threads.
use super::{
    mailbox::{Letter, Mailbox},
    table::Key,
    turn::Job,
};
use crate::error::{Error, Kind, Result};
use std::sync::{Arc, Mutex, mpsc};
pub(super) struct Pool(mpsc::SyncSender<(Key, Job)>);
impl Pool {
    pub(super) fn start(threads: usize, queue: usize, outbox: Mailbox) -> Result<Self> {
        let (sender, receiver) = mpsc::sync_channel::<(Key, Job)>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let (receiver, outbox) = (Arc::clone(&receiver), outbox.clone());
            std::thread::spawn(move || {
                loop {
                    let Ok(Ok((key, job))) = receiver.lock().map(|receiver| receiver.recv()) else { return };
                    let _ = outbox.send(key, Letter::Done(Ok(job())));
                }
            });
        }
        Ok(Self(sender))
    }
    pub(super) fn submit(&self, key: Key, job: Job) -> Result<()> {
        self.0.try_send((key, job)).map_err(|_| Error::new(Kind::WouldBlock, "spawn: the queue is full"))
    }
}
