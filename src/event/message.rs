//! What programs on both sides of the channel send each other.

use std::{fmt, os::fd::OwnedFd};

use crate::{error::Error, id::RequestId};

/// Bytes, and descriptors if need be, for a worker or for the master.
///
/// Made from bytes or text; sent by [`Master::send`](crate::Master::send), [`Worker::send`](crate::Worker::send) and
/// their like. What the bytes mean is the program's affair; the feature `json` adds `Message::json` and `parse`. Order,
/// bounds, and what happens when somebody does not listen: [`docs::messages`](crate::docs::messages).
///
/// **Limits**: 16 MiB and 253 descriptors (the kernel's SCM_MAX_FD). Larger data travels as a file: its descriptor is a
/// few bytes.
///
/// **Descriptors** are duplicates at the receiver: files, pipes, accepted connections. The sender's own are closed once
/// the message is sent. A receiver that does not take them out of `fds` closes them with the message.
///
/// ```no_run
/// use std::{fs::File, io::Read};
/// use mio_cluster::{Cluster, Event, WorkerEvent};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mio_cluster::Message;
///
/// let mut master = Cluster::new().workers(1).start(|mut worker| -> std::io::Result<()> {
///     while !worker.is_draining() {
///         worker.dispatch()?; // a real one sleeps in a `Poll` in between
///         while let Some(event) = worker.next_event() {
///             if let WorkerEvent::Message(mut message) = event {
///                 let mut text = String::new();
///                 File::from(message.fds.remove(0)).read_to_string(&mut text)?;
///                 worker.send(format!("{} bytes", text.len()))?;
///             }
///         }
///     }
///     Ok(())
/// })?;
/// while let Some(event) = master.wait(None)? {
///     match event {
///         Event::Ready(worker) => {
///             let file = File::open("/etc/hostname")?;
///             master.send(worker.id, Message::from("count this").with_fd(file))?;
///         }
///         Event::Message { worker, message } => {
///             println!("{worker} says {}", String::from_utf8_lossy(&message.bytes));
///             break;
///         }
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Message {
    /// The content.
    pub bytes: Vec<u8>,
    /// Descriptors that travel along, in the order of the sender.
    pub fds: Vec<OwnedFd>,
    request: Option<RequestId>,
    lost_fds: usize,
}

impl Message {
    /// As it came over the channel, `announced` descriptors were sent with it. They arrive all or none.
    pub(crate) fn received(bytes: Vec<u8>, fds: Vec<OwnedFd>, announced: usize, request: Option<RequestId>) -> Self {
        let lost_fds = if fds.len() < announced { announced } else { 0 };
        let fds = if lost_fds > 0 { Vec::new() } else { fds };
        Self { bytes, fds, request, lost_fds }
    }

    /// **Errors**: no descriptor is left for the copies.
    pub(crate) fn duplicate(&self) -> crate::error::Result<Self> {
        let fds = self.fds.iter().map(OwnedFd::try_clone).collect::<std::io::Result<_>>();
        let fds = fds.map_err(|error| Error::system("duplicating the descriptors of a message", error))?;
        Ok(Self { bytes: self.bytes.clone(), fds, request: self.request, lost_fds: self.lost_fds })
    }

    /// What it takes of its receiver, in bytes, while the program has not taken it.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.fds.len() * FD_WEIGHT
    }

    /// One descriptor more.
    pub fn with_fd(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.fds.push(fd.into());
        self
    }

    /// The sender waits for a reply: hand this to [`Worker::reply`](crate::Worker::reply).
    pub fn wants_reply(&self) -> Option<RequestId> {
        self.request
    }

    /// How many descriptors were sent along and did not arrive, because this process could not open so many more
    /// (`ulimit -n`): then `fds` is empty. Ask the sender to send it again.
    pub fn lost_fds(&self) -> usize {
        self.lost_fds
    }
}

#[cfg(feature = "json")]
impl Message {
    /// A message that says `value` in JSON. Feature `json`.
    ///
    /// JSON describes itself: as long as fields are added and not renamed, a worker of a newer version and a master of an
    /// older one understand each other. Mark new fields with `#[serde(default)]`.
    ///
    /// **Errors**: the value has no form in JSON, such as a map whose keys are no text.
    ///
    /// ```
    /// use mio_cluster::Message;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, PartialEq, Debug)]
    /// struct Load {
    ///     sessions: u32,
    ///     #[serde(default)] // of a later version
    ///     backlog: u32,
    /// }
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// let message = Message::json(&Load { sessions: 7, backlog: 1 })?;
    /// assert_eq!(message.parse::<Load>()?.sessions, 7);
    /// assert_eq!(Message::from(r#"{"sessions":3}"#).parse::<Load>()?, Load { sessions: 3, backlog: 0 });
    ///
    /// let error = Message::from(r#"{"sessions":"many"}"#).parse::<Load>().unwrap_err();
    /// assert!(format!("{error:#}").contains("line 1 column 18"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> crate::error::Result<Self> {
        let bytes = serde_json::to_vec(value);
        let type_name = std::any::type_name::<T>();
        let bytes = bytes.map_err(|error| {
            Error::new(crate::error::Kind::System, format!("writing {type_name} as JSON")).because(error)
        })?;
        Ok(bytes.into())
    }

    /// The value that the message says in JSON, see [`Message::json`]. Feature `json`.
    ///
    /// **Errors**: it is no JSON, or says something else; the text shows its beginning, the source the place.
    pub fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> crate::error::Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let beginning = &self.bytes[..self.bytes.len().min(SHOWN)];
            let text = format!(
                "reading a message of {} bytes as {}: {:?}",
                self.bytes.len(),
                std::any::type_name::<T>(),
                String::from_utf8_lossy(beginning)
            );
            Error::new(crate::error::Kind::System, text).because(error)
        })
    }
}

/// Bytes of a message that cannot be read, in the error's text.
#[cfg(feature = "json")]
const SHOWN: usize = 80;

/// The weight of messages that the program has not taken, beyond which no more are read, in bytes: many small ones, and a
/// few of the largest.
pub(crate) const LADEN: usize = 4 * 1024 * 1024;

/// A descriptor counts as so many bytes: 64 of them may wait, for a process has only 1024 by default.
const FD_WEIGHT: usize = LADEN / 64;

impl Error {
    /// The message that could not be sent, descriptors included, so that it can be sent again: when there is
    /// [room](crate::Event::Writable), or to somebody else.
    ///
    /// ```no_run
    /// use mio_cluster::{Error, Master, Message, WorkerId};
    ///
    /// /// Hands a connection to the first of them that takes it.
    /// fn hand_over(master: &mut Master, workers: &[WorkerId], mut message: Message) -> Result<(), Error> {
    ///     for worker in workers {
    ///         match master.send(*worker, message) {
    ///             Ok(()) => return Ok(()),
    ///             Err(error) if error.is_would_block() || error.is_gone() => {
    ///                 message = error.into_message().expect("send gives back what it does not take");
    ///             }
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn into_message(self) -> Option<Message> {
        self.into_returned()?.downcast().ok().map(|message| *message)
    }

    pub(crate) fn with_message(self, message: Message) -> Self {
        self.returning(Box::new(message))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, fds: Vec::new(), request: None, lost_fds: 0 }
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for Message {
    /// Not the content: it may be long, or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, fds, request, lost_fds } = self;
        let (bytes, fds) = (bytes.len(), fds.len());
        f.debug_struct("Message")
            .field("bytes", &bytes)
            .field("fds", &fds)
            .field("request", request)
            .field("lost_fds", lost_fds)
            .finish()
    }
}
