//! Values for connections, from other threads.
use super::table::Key;
use crate::error::{Error, Kind, Result};
use std::{
    any::Any,
    fmt,
    sync::{Arc, mpsc},
};
/// A sender.
#[derive(Clone)]
pub struct Mailbox {
    sender: mpsc::Sender<(Key, Letter)>,
    waker: Arc<mio::Waker>,
}
/// A value.
pub struct Posted(Box<dyn Any + Send>);
pub(super) enum Letter {
    Value(Posted),
    Done(std::result::Result<Posted, String>),
}
pub(super) struct Inbox(mpsc::Receiver<(Key, Letter)>);
impl Mailbox {
    pub(super) fn new(waker: mio::Waker) -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel();
        (Self { sender, waker: Arc::new(waker) }, Inbox(receiver))
    }
    /// Posts.
    pub fn post<T: Any + Send>(&self, to: Key, value: T) -> Result<()> {
        self.send(to, Letter::Value(Posted::new(value)))
    }
    pub(super) fn send(&self, to: Key, letter: Letter) -> Result<()> {
        self.sender.send((to, letter)).map_err(|_| Error::new(Kind::Gone, "post: the loop has ended"))?;
        self.waker.wake().map_err(|error| Error::system("waking the loop", error))
    }
}
impl Inbox {
    pub(super) fn next(&mut self) -> Option<(Key, Letter)> {
        self.0.try_recv().ok()
    }
}
impl Posted {
    pub(super) fn new<T: Any + Send>(value: T) -> Self {
        Self(Box::new(value))
    }
    /// Whether.
    pub fn is<T: Any>(&self) -> bool {
        self.0.is::<T>()
    }
    /// The value.
    pub fn downcast<T: Any>(self) -> std::result::Result<T, Posted> {
        self.0.downcast().map(|value| *value).map_err(Posted)
    }
}
impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}
impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Posted")
    }
}
