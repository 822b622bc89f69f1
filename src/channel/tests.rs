mod messages;

use super::*;
use crate::wire::{MESSAGE_MAX, Purpose};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pipe2,
};
use std::{
    fs::File,
    io::{Read, Write},
};

#[test]
fn frames_and_descriptors_cross_in_both_directions() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let (reader, writer) = pipe();
    let mut buffer = Buffer::default();
    worker.send(&Frame::hello(3, 42), &[]).unwrap();
    worker.send(&Frame::Listen { address: 7 }, &[writer.as_fd()]).unwrap();
    drop(writer);
    master.send(&Frame::Granted { address: 7 }, &[]).unwrap();

    assert_eq!(frame(master.recv(&mut buffer)), Frame::hello(3, 42));
    let Ok(Incoming::Frame(Frame::Listen { address: 7 }, mut fds, 1)) = master.recv(&mut buffer) else {
        panic!("no frame")
    };
    File::from(fds.pop().unwrap()).write_all(b"through").unwrap();
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), fds.len()), ("through", 0));
    assert_eq!(frame(worker.recv(&mut buffer)), Frame::Granted { address: 7 });
    assert!(matches!(worker.recv(&mut buffer), Ok(Incoming::Empty)));
}

#[test]
fn a_large_message_and_what_follows_it_wait_for_a_slow_reader() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let (reader, writer) = pipe();
    let message = plain((0..MESSAGE_MAX - 8).map(|i| (i / 7) as u8).collect());
    worker.send(&message, &[]).unwrap();
    worker.send(&Frame::Leaving, &[]).unwrap();
    assert!(worker.wants_write() && worker.is_stuck());
    let refused = worker.send(&Frame::Listen { address: 1 }, &[writer.as_fd()]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::WouldBlock, "descriptors are never queued");

    assert!(matches!(master.recv(&mut Buffer::default()), Ok(Incoming::Part)));
    assert_eq!(next(&mut master, &mut worker), Some(message));
    assert_eq!(next(&mut master, &mut worker), Some(Frame::Leaving));
    assert!(worker.has_room_again() && !worker.has_room_again(), "said once");
    assert!(!worker.wants_write());
    worker.send(&Frame::Listen { address: 1 }, &[writer.as_fd()]).unwrap();
    drop(writer);
    assert!(is_open(&reader), "it is on its way");
    assert_eq!(next(&mut master, &mut worker), Some(Frame::Listen { address: 1 }));
    assert!(ends(&reader));
}

#[test]
fn a_message_above_the_cap_is_refused_and_leaves_the_channel_usable() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let error = worker.send(&plain(vec![0; MESSAGE_MAX + 1]), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(next(&mut master, &mut worker), None);
    worker.send(&Frame::Ready, &[]).unwrap();
    assert_eq!(next(&mut master, &mut worker), Some(Frame::Ready));
}

#[test]
fn a_full_queue_refuses_whole_frames() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let message = plain(vec![1; MESSAGE_MAX]);
    let taken = fill(&mut worker, &message);
    assert_eq!(taken, 2, "two of the largest fit, by their bytes");
    let small = plain(vec![2]);
    let taken_small = fill(&mut worker, &small);
    assert!(taken_small > 100, "then small ones, by their number");
    worker.send(&Frame::Ready, &[]).expect("there is a reserve for what is not the program's");
    let now = 0;
    assert_eq!(worker.post(now, b"x").unwrap_err().kind(), ErrorKind::WouldBlock);

    for _ in 0..taken {
        assert!(next(&mut master, &mut worker).as_ref() == Some(&message));
        assert!(!worker.has_room_again(), "not before the queue is empty");
    }
    for _ in 0..taken_small {
        assert_eq!(next(&mut master, &mut worker), Some(small.clone()));
    }
    assert_eq!(next(&mut master, &mut worker), Some(Frame::Ready));
    assert!(worker.has_room_again());
    worker.send(&Frame::Leaving, &[]).unwrap();
    assert_eq!(next(&mut master, &mut worker), Some(Frame::Leaving));
}

#[test]
fn the_end_waits_until_everything_was_read() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let message = plain(vec![4; MESSAGE_MAX]);
    worker.send(&message, &[]).unwrap();
    worker.post(0, b"the last").unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = Buffer::default();
        let mut frames = Vec::new();
        loop {
            match master.recv(&mut buffer).unwrap() {
                Incoming::Frame(frame, ..) => frames.push(frame),
                Incoming::Part => {}
                Incoming::Empty => drop(poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)),
                Incoming::Closed => return frames,
                Incoming::Malformed(malformed) => panic!("{malformed}"),
            }
        }
    });
    assert_eq!(worker.finish(Duration::from_secs(60)).unwrap(), 0);
    drop(worker);
    let frames = reader.join().unwrap();
    assert!(matches!(&frames[1], Frame::Batch(messages) if messages.clone().eq([b"the last".to_vec()])));
    assert!(frames[0] == message);
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let (master, mut worker) = Channel::pair().unwrap();
    worker.send(&plain(vec![4; MESSAGE_MAX]), &[]).unwrap();
    let waiting = worker.finish(Duration::from_millis(1)).unwrap();
    assert!(waiting > 200, "{waiting} packets");
    drop(master);
    assert!(worker.finish(Duration::from_secs(3600)).is_err(), "nobody is left");
}

/// 278 with the usual buffer of 208 KiB, where each counts 768 bytes.
#[test]
fn a_stopped_peer_takes_some_hundred_small_packets() {
    let (_master, mut worker) = Channel::pair().unwrap();
    let buffer = socket::getsockopt(&worker, sockopt::SndBuf).unwrap();
    let taken = (0..).take_while(|_| worker.send(&Frame::Ready, &[]).is_ok() && !worker.is_stuck()).count();
    assert!((buffer / 1024..=buffer / 256).contains(&taken), "{taken} packets in {buffer} bytes");
}

#[test]
fn a_dead_peer_is_heard_out() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let mut buffer = Buffer::default();
    // What the worker never reads makes the kernel say ECONNRESET first.
    master.send(&Frame::ReopenLogs, &[]).unwrap();
    worker.send(&Frame::Ready, &[]).unwrap();
    worker.send(&Frame::Leaving, &[]).unwrap();
    drop(worker);

    assert_eq!(frame(master.recv(&mut buffer)), Frame::Ready);
    assert_eq!(master.send(&Frame::ReopenLogs, &[]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(frame(master.recv(&mut buffer)), Frame::Leaving);
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Closed)));
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Closed)));
}

#[test]
fn the_queue_for_a_dead_peer_is_dropped_with_its_descriptors() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let (reader, writer) = pipe();
    master.send(&plain(vec![9; 9]), &[writer.as_fd()]).unwrap();
    drop(writer);
    fill(&mut master, &plain(vec![0; MESSAGE_MAX]));
    worker.send(&Frame::Ready, &[]).unwrap();
    drop(worker);

    assert_eq!(master.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(!master.wants_write() && master.flush().is_ok());
    assert_eq!(master.send(&Frame::ReopenLogs, &[]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(ends(&reader));
    assert_eq!(frame(master.recv(&mut Buffer::default())), Frame::Ready);
}

#[test]
fn an_empty_packet_is_malformed_and_not_the_end() {
    let (mut master, worker) = Channel::pair().unwrap();
    let mut buffer = Buffer::default();
    rights::send(worker.as_fd(), &[], &[]).unwrap();
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Malformed(Malformed::Empty))));
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Empty)));

    rights::send(worker.as_fd(), &[], &[]).unwrap();
    rights::send(worker.as_fd(), &packet(&Frame::Leaving), &[]).unwrap();
    drop(worker);
    assert_eq!(frame(master.recv(&mut buffer)), Frame::Leaving);
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Closed)));
}

#[test]
fn a_peer_that_shuts_down_its_end_has_closed() {
    let (mut master, worker) = Channel::pair().unwrap();
    socket::shutdown(worker.as_fd().as_raw_fd(), Shutdown::Write).unwrap();
    assert!(matches!(master.recv(&mut Buffer::default()), Ok(Incoming::Closed)));
}

#[test]
fn an_oversized_packet_is_malformed() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let mut buffer = Buffer::default();
    for size in [PACKET_MAX + 1, 2 * PACKET_MAX] {
        rights::send(worker.as_fd(), &vec![0; size], &[]).unwrap();
        assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Malformed(Malformed::PacketTooLarge))));
    }
    worker.send(&Frame::Ready, &[]).unwrap();
    assert_eq!(frame(master.recv(&mut buffer)), Frame::Ready);
}

#[test]
fn stray_descriptors_are_closed() {
    let (mut master, worker) = Channel::pair().unwrap();
    let mut buffer = Buffer::default();
    for (bytes, copies) in
        [(packet(&Frame::Ready), 1), (packet(&Frame::Listen { address: 0 }), 2), (vec![], 1), (vec![77; 9], 3)]
    {
        let (reader, writer) = pipe();
        rights::send(worker.as_fd(), &bytes, &vec![writer.as_fd(); copies]).unwrap();
        drop(writer);
        assert!(is_open(&reader));
        assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Malformed(_))));
        assert!(ends(&reader));
    }
}

#[test]
fn a_lost_descriptor_is_told_from_a_bad_packet() {
    let (mut master, _worker) = Channel::pair().unwrap();
    let (reader, writer) = pipe();
    let lost = |fds| Received { fds, lost_fds: true };
    let incoming = master.interpret(&packet(&Frame::Listen { address: 5 }), lost(vec![writer]));
    assert!(matches!(incoming, Incoming::Frame(Frame::Listen { address: 5 }, fds, 1) if fds.is_empty()));
    assert!(ends(&reader), "those that did arrive are closed");
    let incoming = master.interpret(&packet(&Frame::Ready), lost(vec![]));
    assert!(matches!(incoming, Incoming::Malformed(Malformed::Descriptors { .. })));
}

#[test]
fn a_small_default_buffer_is_enlarged() {
    let (one, other) = rights::pair().unwrap();
    socket::setsockopt(&one, sockopt::SndBuf, &0).unwrap();
    let (mut worker, mut master) = Channel::pair_of(one, other).unwrap();
    let message = plain(vec![5; PACKET_MAX - 8]);
    worker.send(&message, &[]).unwrap();
    assert!(!worker.wants_write());
    assert_eq!(frame(master.recv(&mut Buffer::default())), message);
}

fn frame(incoming: Result<Incoming>) -> Frame {
    match incoming {
        Ok(Incoming::Frame(frame, ..)) => frame,
        other => panic!("{other:?} instead of a frame"),
    }
}

/// The next frame for `reader`, for which the writer flushes whenever there is room. None: nothing is left.
fn next(reader: &mut Channel, writer: &mut Channel) -> Option<Frame> {
    let mut buffer = Buffer::default();
    loop {
        match reader.recv(&mut buffer).unwrap() {
            Incoming::Frame(frame, ..) => return Some(frame),
            Incoming::Part => {}
            Incoming::Empty if writer.is_stuck() => writer.flush().unwrap(),
            Incoming::Empty => return None,
            other @ (Incoming::Malformed(_) | Incoming::Closed) => panic!("{other:?}"),
        }
    }
}

/// How many of `frame` the channel takes.
fn fill(channel: &mut Channel, frame: &Frame) -> usize {
    let mut taken = 0;
    loop {
        match channel.send(frame, &[]) {
            Ok(()) => taken += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return taken;
            }
        }
    }
}

fn packet(frame: &Frame) -> Vec<u8> {
    frame.encode(*frame.kind().descriptors().start()).unwrap().next().unwrap()
}

fn plain(bytes: Vec<u8>) -> Frame {
    Frame::Message { purpose: Purpose::Plain, bytes }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe2(OFlag::O_CLOEXEC).unwrap()
}

/// Somebody can write into the pipe.
fn is_open(reader: &OwnedFd) -> bool {
    !hangs_up_within(reader, PollTimeout::ZERO)
}

/// Every write end is closed, if need be as soon as a child that another test has just forked has called exec.
fn ends(reader: &OwnedFd) -> bool {
    hangs_up_within(reader, PollTimeout::from(10_000_u16))
}

fn hangs_up_within(reader: &OwnedFd, timeout: PollTimeout) -> bool {
    let mut reader = [PollFd::new(reader.as_fd(), PollFlags::empty())];
    poll(&mut reader, timeout).unwrap();
    reader[0].revents().unwrap().contains(PollFlags::POLLHUP)
}
