//! What the programs of the scenarios are made of: a primary whose events are kept, workers, clients, and what they
//! share by the fork.

mod clients;
mod lent;
mod workers;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    ops::{Deref, DerefMut},
    path::Path,
};

use mio_cluster::{Cause, Cluster, Event, ExitStatus, Master, Message, Worker, WorkerExit, WorkerId, WorkerRef};

use self::lent::line_of;
pub(crate) use self::{
    clients::{Client, ask, ask_all},
    lent::{Gate, Lent, pipe},
    workers::{Ear, Lines, idle, idlers, serve, serve_patiently, serve_patiently_on},
};

/// Where a scenario takes place: an IP address of its own, and what else the harness names.
pub(crate) struct Place(pub(crate) Ipv4Addr, pub(crate) Option<SocketAddr>);

impl Place {
    /// Any port of it.
    pub(crate) fn any(&self) -> SocketAddr {
        (self.0, 0).into()
    }
}

/// The master of a scenario. What happened is kept, so the order in which a scenario asks does not matter.
pub(crate) struct Primary {
    master: Master,
    seen: Vec<Event>,
    /// From whom, and what.
    messages: VecDeque<(WorkerRef, Message)>,
}

/// How a worker ended.
pub(crate) struct Exit {
    pub(crate) worker: WorkerRef,
    pub(crate) status: ExitStatus,
    pub(crate) cause: Cause,
}

impl Primary {
    pub(crate) fn start<R: WorkerExit>(cluster: Cluster, worker: impl FnOnce(Worker) -> R + 'static) -> Self {
        Self { master: cluster.start(worker).unwrap(), seen: Vec::new(), messages: VecDeque::new() }
    }

    /// Forks by hand, and waits for the event.
    pub(crate) fn fork(&mut self) -> u64 {
        let id = self.master_fork().as_u64();
        self.forked(id);
        id
    }

    /// Forks by hand; nothing has been heard of the worker yet.
    pub(crate) fn master_fork(&mut self) -> WorkerId {
        self.master.fork().unwrap()
    }

    pub(crate) fn forked(&mut self, id: u64) -> WorkerRef {
        self.find("fork", |event| if let Event::Fork(worker) = event { of(*worker, id) } else { None })
    }

    pub(crate) fn id(&mut self, id: u64) -> WorkerId {
        self.forked(id).id
    }

    pub(crate) fn online(&mut self, id: u64) -> WorkerRef {
        self.find("online", |event| if let Event::Online(worker) = event { of(*worker, id) } else { None })
    }

    pub(crate) fn listening(&mut self, id: u64) -> SocketAddr {
        self.find("listening", |event| {
            let Event::Listening { worker, address } = event else { return None };
            of(*worker, id).and(address.socket_addr())
        })
    }

    pub(crate) fn ready(&mut self, id: u64) -> WorkerRef {
        self.find("ready", |event| if let Event::Ready(worker) = event { of(*worker, id) } else { None })
    }

    /// Waits for all workers of the start; where they listen.
    pub(crate) fn all_ready(&mut self) -> Vec<SocketAddr> {
        self.find("all_ready", |event| {
            let Event::AllReady { addresses, .. } = event else { return None };
            Some(addresses.iter().filter_map(|at| at.socket_addr()).collect())
        })
    }

    pub(crate) fn disconnected(&mut self, id: u64) -> WorkerRef {
        self.find("disconnect", |event| if let Event::Disconnect(worker) = event { of(*worker, id) } else { None })
    }

    pub(crate) fn exit(&mut self, id: u64) -> Exit {
        self.find("exit", |event| {
            let Event::Exit { worker, status, cause, .. } = event else { return None };
            of(*worker, id).map(|worker| Exit { worker, status: *status, cause: *cause })
        })
    }

    /// The next message of whichever worker.
    pub(crate) fn message(&mut self) -> (WorkerRef, Message) {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            let event = self.master.wait(None).unwrap().expect("a message, and the cluster has not ended");
            self.keep(event);
        }
    }

    /// The same as text.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(self.message().1.bytes).unwrap()
    }

    /// What has become of each request so far, as text.
    pub(crate) fn replies(&self) -> Vec<String> {
        let replies = self.seen.iter().filter_map(|event| {
            let Event::Reply { result, .. } = event else { return None };
            let text = |message: &Message| String::from_utf8_lossy(&message.bytes).into_owned();
            Some(result.as_ref().map_or_else(ToString::to_string, text))
        });
        replies.collect()
    }

    /// Everything so far about one worker, by the names of the events.
    pub(crate) fn events_of(&self, id: u64) -> Vec<String> {
        let lines = self.seen.iter().map(Event::to_json);
        let of_worker = lines.filter(|line| line.contains(&format!(r#","id":{id},"#)));
        of_worker.map(|line| line.split('"').nth(3).unwrap().to_owned()).collect()
    }

    /// The events of this name so far.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.seen.iter().filter(|event| event.to_json().starts_with(&format!(r#"{{"event":"{name}""#))).count()
    }

    /// The workers that live, and what they are doing.
    pub(crate) fn live(&self) -> String {
        let live = self.master.workers().filter(|worker| Path::new(&format!("/proc/{}", worker.pid)).exists());
        live.map(|worker| format!("{}:{:?}", worker.id, worker.state)).collect::<Vec<_>>().join(" ")
    }

    /// Whatever is due now, without waiting.
    pub(crate) fn look(&mut self) {
        self.master.dispatch().unwrap();
        while let Some(event) = self.master.next_event() {
            self.keep(event);
        }
    }

    pub(crate) fn stop(self) {
        let mut this = self;
        this.master.shutdown(mio_cluster::Shutdown::Drain);
        this.end();
    }

    /// Waits for the end of the cluster, which has to be a good one.
    pub(crate) fn end(mut self) {
        while let Some(event) = self.master.wait(None).unwrap() {
            self.keep(event);
        }
        assert!(self.master.is_finished());
        println!("result ok");
    }

    /// Looks through what has happened, and then waits for more.
    pub(crate) fn find<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut looked_at = 0;
        loop {
            if let Some(found) = self.seen[looked_at..].iter().find_map(&wanted) {
                return found;
            }
            looked_at = self.seen.len();
            match self.master.wait(None).unwrap() {
                Some(event) => self.keep(event),
                None => panic!("no {what}, and the cluster has ended"),
            }
        }
    }

    fn keep(&mut self, event: Event) {
        println!("{}", event.to_json());
        if let Event::Message { worker, message } = event {
            self.messages.push_back((worker, message));
        } else {
            self.seen.push(event);
        }
    }
}

impl Deref for Primary {
    type Target = Master;

    fn deref(&self) -> &Master {
        &self.master
    }
}

impl DerefMut for Primary {
    fn deref_mut(&mut self) -> &mut Master {
        &mut self.master
    }
}

fn of(worker: WorkerRef, id: u64) -> Option<WorkerRef> {
    (worker.id.as_u64() == id).then_some(worker)
}

pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
