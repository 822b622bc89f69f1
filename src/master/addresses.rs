//! Addresses added and removed while the cluster runs.
//!
//! A worker is told in the order of the changes. One whose channel is full is told when there is room; what it was not
//! told of before it is gone again, it never hears of.

use std::{io, os::fd::BorrowedFd, time::Instant};

use super::{Master, TARGET};
use crate::{
    config::{Listen, resolve_beside},
    error::{Error, Kind, Result},
    event::Address,
    id::WorkerId,
    wire::Frame,
};

/// What a worker has yet to hear, by the place of the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    Added(usize),
    Removed(usize),
}

impl Master {
    /// Adds an address while the cluster runs, and tells all workers:
    /// [`WorkerEvent::AddressAdded`](crate::WorkerEvent::AddressAdded) with its name. In
    /// [`Worker::serve`](crate::Worker::serve) they listen at once; a loop of the program's own calls
    /// [`Worker::listen_on`](crate::Worker::listen_on), or [`Worker::unix_on`](crate::Worker::unix_on), and
    /// [`Event::Listening`](crate::Event::Listening) says for each worker that it does. Workers that are forked later
    /// have it from birth. Those that live are as ready as they were.
    ///
    /// The address is claimed when this returns, with its real port. At one that all workers share ([`Listen`]) clients
    /// can connect from then on, and wait.
    ///
    /// **Errors**, which leave everything as it was: as those of the builder, and of the claim
    /// ([`is_address_in_use`](Error::is_address_in_use)); another address of the cluster overlaps or has the same name;
    /// the cluster is stopping ([`is_gone`](Error::is_gone)); there is no room for more: 64 in the whole life of a
    /// cluster, or as many as it began with if that is more.
    ///
    /// ```no_run
    /// use mio_cluster::{Cluster, Event, Listen};
    ///
    /// # fn main() -> Result<(), mio_cluster::Error> {
    /// # fn serve(_worker: mio_cluster::Worker) {}
    /// let mut master = Cluster::new().listen("127.0.0.1:8000").workers(2).start(serve)?;
    /// let admin = master.add_address(Listen::from("127.0.0.1:0").name("admin"))?;
    /// println!("administered at {admin}");
    /// while let Some(event) = master.wait(None)? {
    ///     if let Event::Ready(_) = event {
    ///         // Once is enough: a second time there is no such address.
    ///         let _ = master.remove_address("admin");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn add_address(&mut self, at: impl Into<Listen>) -> Result<Address> {
        self.check_process()?;
        self.supervisor.may_grow("add_address")?;
        let (place, room) = (self.ports.next_place(), self.seats.room_for_addresses());
        if place >= room {
            let text =
                format!("add_address: a cluster has room for {room} addresses in its life, removed ones included");
            return Err(Error::new(Kind::InvalidConfig, text));
        }
        let wanted = resolve_beside(at.into(), self.ports.binds().iter().flatten());
        let wanted = wanted.map_err(|problem| Error::new(Kind::InvalidConfig, format!("add_address: {problem}")))?;
        let place = self.ports.add(wanted)?;
        let address = self.ports.address_at(place);
        log::info!(target: TARGET, "the address {address} ({:?}) is added", address.name());
        self.seats.add_address(address.clone());
        self.supervisor.handle_address_added(address.clone());
        self.tell_all_of(News::Added(place));
        self.act_at_once(Instant::now())?;
        Ok(address)
    }

    /// Removes the address with this name while the cluster runs, and tells all workers:
    /// [`WorkerEvent::AddressRemoved`](crate::WorkerEvent::AddressRemoved). Their listeners there accept whoever waits,
    /// then say `WouldBlock` for ever; [`Worker::serve`](crate::Worker::serve) does that by itself. Connections go on.
    ///
    /// The claim is given back at once, and later clients are refused from this call on. A port is free for others when
    /// the workers have left it: they shut their sockets when nobody waits, and what is still open after a second the
    /// master shuts, which resets whoever waits there (without [`keep_listeners`](crate::Cluster::keep_listeners) it
    /// has nothing to shut, and clients come until the workers hear of it). The file of a Unix socket is removed. A
    /// socket that the cluster was [given](Listen::fd) is closed, not shut.
    ///
    /// **Errors**: there is no address of this name, or no longer (the error lists those that there are).
    pub fn remove_address(&mut self, name: &str) -> Result<()> {
        self.check_process()?;
        let Some(place) = self.ports.place_called(name) else {
            let names: Vec<String> = self.ports.addresses().iter().map(|at| format!("{:?}", at.name())).collect();
            let text =
                format!("remove_address({name:?}): there is no address of that name, only: {}", names.join(", "));
            return Err(Error::new(Kind::InvalidConfig, text));
        };
        let now = Instant::now();
        log::info!(target: TARGET, "the address {} ({name:?}) is removed", self.ports.address_at(place));
        self.ports.remove(place);
        self.custody.refuse_newcomers(|at| at == place);
        self.seats.remove_address(place);
        self.supervisor.handle_address_removed(now, place);
        self.tell_all_of(News::Removed(place));
        self.act_at_once(now)
    }

    fn tell_all_of(&mut self, news: News) {
        let ids: Vec<WorkerId> = self.crew.keys().copied().collect();
        for id in ids {
            if let Some(child) = self.crew.get_mut(&id) {
                child.news.push_back(news);
            }
            self.flush(id);
        }
    }

    /// As far as there is room; the rest follows when there is.
    pub(super) fn tell_addresses(&mut self, id: WorkerId) {
        let Some(child) = self.crew.get_mut(&id) else { return };
        while let Some(news) = child.news.front().copied().filter(|_| !child.is_stuck()) {
            let sent = match news {
                News::Added(place) => match self.ports.bind(place) {
                    Some(bind) => {
                        let frame = Frame::AddressAdded { address: number(place), bind: bind.clone() };
                        let socket: Vec<BorrowedFd<'_>> = self.ports.socket(place).into_iter().collect();
                        child.send(&frame, &socket)
                    }
                    // Removed meanwhile: what it never had it need not give back.
                    None => {
                        child.news.retain(|news| *news != News::Removed(place));
                        Ok(())
                    }
                },
                News::Removed(place) => {
                    let name = self.ports.address_at(place).name().to_owned();
                    child.send(&Frame::AddressRemoved { address: number(place), name }, &[])
                }
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => log::debug!(target: TARGET, "telling worker {id} of an address: {error}"),
                Ok(()) => {}
            }
            child.news.pop_front();
        }
    }
}

/// There are far fewer than that.
fn number(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}
