//! The master in a mio loop of the program's own, beside a listener that the program serves itself.

use std::{io, process::ExitCode};

use mio_cluster::{
    Cluster, Worker,
    mio::{Events, Interest, Poll, Token, net::TcpListener},
};

use crate::{Attempt, serve::print};

pub(crate) fn run(cluster: Cluster, work: impl FnOnce(Worker) -> io::Result<()> + 'static) -> Attempt<ExitCode> {
    let mut master = cluster.signals(true).start(work)?;
    let mut own = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut master, MASTER, Interest::READABLE)?;
    poll.registry().register(&mut own, OWN, Interest::READABLE)?;
    let mut events = Events::with_capacity(16);
    while !master.is_finished() {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                MASTER => master.dispatch()?,
                _own => while own.accept().is_ok() {},
            }
        }
        while let Some(event) = master.next_event() {
            print(&event);
        }
    }
    Ok(ExitCode::SUCCESS)
}

const MASTER: Token = Token(0);
const OWN: Token = Token(1);
