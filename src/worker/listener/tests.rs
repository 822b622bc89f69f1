//! A worker beside its master: a test speaks for the master, and the doors of other slots are plain sockets.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use socket2::SockRef;

use crate::{
    channel::{Buffer, Channel, Incoming},
    config::{Listen, resolve},
    id::{Slot, WorkerId},
    net::door,
    scoreboard::{Scoreboard, Seat, Seats},
    sys::{owned::Owned, queue},
    wire::{Frame, Leave},
    worker::{Listener, Worker, control::Control},
};

use super::{
    entry::Socket,
    lookout::{Borrower, Lookout, Sweep},
};

/// The other slot.
const LENDER: u32 = 2;

struct Rig {
    worker: Worker,
    master: Channel,
    buffer: Buffer,
    seat: Seat,
    board: Scoreboard,
    own: SocketAddr,
}

impl Rig {
    /// A worker of slot 0 of three, and its listener.
    fn new() -> (Self, Listener) {
        let own = listening();
        let at = own.local_addr().unwrap();
        let bind = resolve(vec![Listen::from(at)]).unwrap().remove(0).bind;
        let mut seats = Seats::new(3, 1, &[bind.address()]).unwrap();
        let seat = seats.take(Slot::ZERO, WorkerId::FIRST).unwrap();
        seat.has_pid(1);
        let (mut master, channel) = Channel::pair().unwrap();
        master.count_frames(seat.share());
        let control = Arc::new(Control::beside_its_master(channel, seat.share()).unwrap());
        let (binds, inherited) = ([Some(bind)], vec![(0, Owned::new(own))]);
        let mut worker = Worker::new(Slot::ZERO, WorkerId::FIRST, 0, &binds, inherited, control);
        master.send(&Frame::Granted { address: 0 }, &[]).unwrap();
        let listener = worker.listen().unwrap();
        let mut this = Self { worker, master, buffer: Buffer::default(), seat, board: seats.scoreboard(), own: at };
        assert!(matches!(this.heard(), Some(Frame::Listen { address: 0 })));
        // From now on the bell rings for what comes.
        assert!(!this.worker.is_draining());
        is_would_block(&listener);
        (this, listener)
    }

    /// The next that the worker says.
    fn heard(&mut self) -> Option<Frame> {
        match self.master.recv(&mut self.buffer).unwrap() {
            Incoming::Frame(frame, ..) => Some(frame),
            Incoming::Empty => None,
            other @ (Incoming::Part | Incoming::Malformed(_) | Incoming::Closed) => panic!("{other:?}"),
        }
    }

    fn lend(&mut self, loan: u32, door: &TcpListener) {
        self.say(&Frame::Lend { loan, slot: LENDER, address: 0 }, door);
    }

    fn say(&mut self, frame: &Frame, door: &TcpListener) {
        self.master.send(frame, &[door.as_fd()]).unwrap();
    }

    /// By the worker, at its own door and at those of the lender.
    fn accepted(&self) -> (u64, u64) {
        let [worker] = self.board.workers()[..] else { panic!("one worker") };
        (worker.accepted - worker.adopted, worker.adopted)
    }
}

#[test]
fn who_waits_at_a_lent_door_is_accepted_beside_those_at_the_own_one() {
    let (mut rig, listener) = Rig::new();
    let door = listening();
    let lent = [(); 2].map(|()| client(&door));
    rig.lend(1, &door);
    is_would_block(&listener);
    assert!(is_readable(&listener), "it has heard of the door in that call");
    let own = client(listener.0.socket().unwrap());
    let looks = rig.seat.looks(0).unwrap();
    let peers: Vec<_> = (0..3).map(|_| listener.accept().unwrap().1).collect();
    let expected: Vec<_> = [&own, &lent[0], &lent[1]].map(|client| client.local_addr().unwrap()).to_vec();
    assert_eq!((peers, rig.accepted()), (expected, (1, 2)));
    is_would_block(&listener);
    assert!(!is_readable(&listener));
    assert_eq!(rig.seat.looks(0).unwrap() - looks, 3, "but for the turn after its guest");
    assert_eq!(rig.seat.pulse().borrowed_looks, 3, "not before who waits at the own one");
    assert_eq!(rig.heard(), None);
}

/// A worker that always has clients of its own must not let the others wait for ever.
#[test]
fn those_at_lent_doors_take_turns_with_those_at_the_own_one() {
    let (mut rig, listener) = Rig::new();
    let door = listening();
    rig.lend(1, &door);
    is_would_block(&listener);
    let _own = [(); 5].map(|()| client(listener.0.socket().unwrap()));
    let lent = [(); 2].map(|()| client(&door).local_addr().unwrap());
    let order: Vec<_> = (0..7).map(|_| lent.contains(&listener.accept().unwrap().1)).collect();
    assert_eq!(order, [false, true, false, true, false, false, false]);
    is_would_block(&listener);
}

/// Each of them is the first in its turn.
#[test]
fn several_lent_doors_take_turns() {
    let (mut rig, listener) = Rig::new();
    let doors = [listening(), listening(), listening()];
    let clients: Vec<_> = doors.iter().map(|door| [(); 2].map(|()| client(door))).collect();
    (1..).zip(&doors).for_each(|(loan, door)| rig.lend(loan, door));
    is_would_block(&listener);
    let order: Vec<_> = (0..6).map(|_| place_of(&listener.accept().unwrap().1, &clients)).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    is_would_block(&listener);
}

/// mio's `Poll` is edge-triggered: whoever waits when `accept` says that nobody does must make it turn once more.
#[test]
fn an_edge_triggered_loop_accepts_all_in_turns_of_64() {
    let (mut rig, mut listener) = Rig::new();
    let doors = [listening(), listening()];
    let _clients: Vec<_> = (0..150).map(|number| client(&doors[number % 2])).collect();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    let mut turns = Vec::new();
    (1..).zip(&doors).for_each(|(loan, door)| rig.lend(loan, door));
    while turns.iter().sum::<usize>() < 150 {
        rig.worker.poll(&mut poll, &mut events, Some(LONG)).unwrap();
        assert!(!events.is_empty(), "stuck after {turns:?}");
        let mut turn = 0;
        while listener.accept().is_ok() {
            turn += 1;
        }
        turns.push(turn);
    }
    turns.retain(|turn| *turn > 0);
    assert_eq!((turns, rig.accepted()), (vec![64, 64, 22], (0, 150)));
    rig.worker.poll(&mut poll, &mut events, Some(Duration::ZERO)).unwrap();
    is_would_block(&listener);
    assert!(!is_readable(&listener), "the bell has fallen silent");
}

#[test]
fn a_door_is_declined_where_nobody_could_accept() {
    let (mut rig, listener) = Rig::new();
    let (door, blocking) = (listening(), listening());
    blocking.set_nonblocking(false).unwrap();
    rig.say(&Frame::Lend { loan: 1, slot: LENDER, address: 1 }, &door);
    rig.say(&Frame::Lend { loan: 2, slot: 3, address: 0 }, &door);
    rig.say(&Frame::Lend { loan: 3, slot: u32::MAX, address: 0 }, &door);
    rig.lend(4, &blocking);
    is_would_block(&listener);
    let lost_on_its_way = vec![];
    rig.worker.control.hear_lent(&mut rig.worker.control.link(), 5, LENDER, 0, lost_on_its_way);
    for loan in 1..=5 {
        assert_eq!(rig.heard(), Some(Frame::Returned { loan }));
    }
    drop(listener);
    rig.lend(6, &door);
    rig.worker.dispatch().unwrap();
    assert_eq!(rig.heard(), Some(Frame::Closed { address: 0 }));
    assert_eq!(rig.heard(), Some(Frame::Returned { loan: 6 }));
    assert_eq!(rig.heard(), None);
}

#[test]
fn a_door_that_is_taken_back_is_not_looked_at() {
    let (mut rig, listener) = Rig::new();
    let door = listening();
    rig.lend(1, &door);
    rig.lend(2, &listening());
    is_would_block(&listener);
    rig.master.send(&Frame::TakeBack { loan: 1 }, &[]).unwrap();
    rig.master.send(&Frame::TakeBack { loan: 9 }, &[]).unwrap();
    is_would_block(&listener);
    let _waits = client(&door);
    assert!(!is_readable(&listener));
    is_would_block(&listener);
    assert_eq!((door.accept().is_ok(), rig.heard()), (true, None), "who has taken it back knows");
}

/// Whoever else has it has shut it; it stays readable for ever.
#[test]
fn a_door_that_is_shut_goes_back() {
    let (mut rig, listener) = Rig::new();
    let (door, other) = (listening(), listening());
    rig.lend(1, &door);
    rig.lend(2, &other);
    is_would_block(&listener);
    door::shut(&door).unwrap();
    assert!(is_readable(&listener));
    let _waits = client(&other);
    assert!(listener.accept().is_ok(), "the other one is still there");
    is_would_block(&listener);
    assert!(!is_readable(&listener));
    assert_eq!((rig.heard(), rig.heard()), (Some(Frame::Returned { loan: 1 }), None));
}

#[test]
fn a_worker_that_leaves_looks_into_lent_queues_once_more() {
    let (mut rig, listener) = Rig::new();
    let door = listening();
    rig.lend(1, &door);
    is_would_block(&listener);
    let _clients: Vec<_> = (0..3).map(|_| client(&door)).collect();
    let drain = Frame::Drain { within: LONG, leave: Leave::HandOver };
    rig.master.send(&drain, &[]).unwrap();
    rig.worker.dispatch().unwrap();
    assert!(rig.worker.is_draining());
    rig.lend(2, &listening());
    (0..3).for_each(|_| drop(listener.accept().unwrap()));
    is_would_block(&listener);
    assert!(listener.is_shut());
    rig.worker.dispatch().unwrap();
    let said: Vec<_> = std::iter::from_fn(|| rig.heard()).collect();
    let expected = [Frame::Returned { loan: 1 }, Frame::Closed { address: 0 }, Frame::Returned { loan: 2 }];
    assert_eq!(said, expected);
}

/// The own door is shut by the master, at a stop for one: those at lent doors are accepted all the same.
#[test]
fn a_listener_whose_own_door_is_shut_empties_the_lent_ones() {
    let (mut rig, listener) = Rig::new();
    let door = listening();
    rig.lend(1, &door);
    is_would_block(&listener);
    let _clients: Vec<_> = (0..2).map(|_| client(&door)).collect();
    door::shut(listener.0.socket().unwrap()).unwrap();
    (0..2).for_each(|_| drop(listener.accept().unwrap()));
    is_would_block(&listener);
    assert!(listener.is_shut());
    assert_eq!(rig.heard(), Some(Frame::Returned { loan: 1 }));
    assert_eq!(rig.heard(), Some(Frame::Closed { address: 0 }));
}

#[test]
fn a_listener_that_is_gone_gives_back_what_was_lent() {
    let (mut rig, listener) = Rig::new();
    rig.lend(1, &listening());
    is_would_block(&listener);
    drop(listener);
    assert_eq!(rig.heard(), Some(Frame::Returned { loan: 1 }));
    assert_eq!(rig.heard(), Some(Frame::Closed { address: 0 }));

    let (mut rig, listener) = Rig::new();
    rig.lend(1, &listening());
    is_would_block(&listener);
    let _bare = listener.into_std().unwrap();
    assert_eq!(rig.heard(), Some(Frame::Returned { loan: 1 }));
    rig.lend(2, &listening());
    rig.worker.dispatch().unwrap();
    assert_eq!((rig.heard(), rig.heard()), (Some(Frame::Returned { loan: 2 }), None));
}

#[test]
fn the_end_of_an_address_ends_what_was_lent_there() {
    let (mut rig, listener) = Rig::new();
    rig.lend(1, &listening());
    is_would_block(&listener);
    rig.master.send(&Frame::AddressRemoved { address: 0, name: "a".to_owned() }, &[]).unwrap();
    is_would_block(&listener);
    assert!(listener.is_shut());
    assert_eq!(rig.heard(), Some(Frame::Returned { loan: 1 }));
    assert_eq!(rig.heard(), Some(Frame::Closed { address: 0 }));
}

#[test]
fn threads_that_wait_accept_at_lent_doors() {
    let (mut rig, listener) = Rig::new();
    let door = listening();
    let at = door.local_addr().unwrap();
    thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| listener.accept_blocking().unwrap().unwrap().1));
        rig.lend(1, &door);
        let clients = [(); 3].map(|()| TcpStream::connect(at).unwrap());
        let mut peers = threads.map(|thread| thread.join().unwrap());
        peers.sort();
        let mut expected = clients.map(|client| client.local_addr().unwrap());
        expected.sort();
        assert_eq!(peers, expected);
    });
    assert_eq!(rig.accepted(), (0, 3));
}

/// Whoever waits at a lent door must not make the loop spin.
#[test]
fn a_pause_is_one_of_all_doors() {
    let (rig, listener) = Rig::new();
    let lookout = Lookout::<mio::net::TcpListener>::new(&rig.worker.control, true).unwrap();
    let own = Owned::register(mio::net::TcpListener::from_std(listening()), AsFd::as_fd);
    lookout.watch(&own).unwrap();
    let doors = [listening(), listening(), listening()];
    let _clients = [(); 3].map(|()| client(&doors[0]));
    let lend = |place: usize| lookout.lend(place as u32, Slot::ZERO, doors[place].try_clone().unwrap().into());
    assert!(lend(0) && is_readable(&lookout));
    let shortage = || io::Error::from_raw_os_error(libc::EMFILE);
    assert!(matches!(lookout.sweep(|_| Err::<(), _>(shortage())), Sweep::Short(_)));
    let at = rig.own.into();
    lookout.begin_pause(&own, &rig.seat, &at, &shortage()).unwrap();
    assert!(lend(1) && lend(2) && !is_readable(&lookout), "also of those that come meanwhile");
    lookout.take_back(2);
    lookout.end_pause(&own, &rig.seat).unwrap();
    assert!(is_readable(&lookout));
    (0..3).for_each(|_| assert!(matches!(lookout.sweep(Socket::accept), Sweep::Guest(_, Slot::ZERO))));
    assert!(matches!(lookout.sweep(Socket::accept), Sweep::Nobody));
    assert!(!is_readable(&lookout) && !rig.seat.pulse().paused);
    assert_eq!(lookout.end_loans(), [0, 1]);
    drop(listener);
}

fn listening() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// It waits there when this returns; until then the kernel may still be about to put it into the queue.
fn client(door: impl AsFd) -> TcpStream {
    let waiting = || queue::waiting(&door).unwrap();
    let (before, at) = (waiting(), SockRef::from(&door).local_addr().unwrap());
    let client = TcpStream::connect(at.as_socket().unwrap()).unwrap();
    while waiting() == before {
        thread::yield_now();
    }
    client
}

fn place_of(peer: &SocketAddr, clients: &[[TcpStream; 2]]) -> usize {
    clients.iter().position(|two| two.iter().any(|client| client.local_addr().unwrap() == *peer)).unwrap()
}

fn is_would_block(listener: &Listener) {
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn is_readable(fd: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
}

/// Never waited for.
const LONG: Duration = Duration::from_secs(60);
