//! The program's messages: shared packets, refusals, descriptors.

use super::*;
use crate::event::Message;

#[test]
fn small_messages_share_a_packet_and_keep_their_order() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let start = 1 << 40;
    let batch = |texts: &[&str]| {
        let mut batch = Batch::default();
        assert!(texts.iter().all(|text| batch.push(text.as_bytes())));
        match Assembler::default().push(batch.packet(), Descriptors::Arrived(0)) {
            Ok(Progress::Frame(frame, 0)) => frame,
            other => panic!("{other:?}"),
        }
    };
    worker.post(start, b"1").unwrap();
    assert_eq!(next(&mut master, &mut worker), Some(batch(&["1"])), "the first leaves at once");
    worker.post(start + 1, b"2").unwrap();
    worker.post(start + 2, b"3").unwrap();
    assert_eq!(next(&mut master, &mut worker), None);
    worker.send_due(worker.due().expect("something is held")).unwrap();
    assert_eq!(next(&mut master, &mut worker), Some(batch(&["2", "3"])));
    assert_eq!(worker.due(), None);

    worker.post(start + 3, b"4").unwrap();
    worker.send(&Frame::Ready, &[]).unwrap();
    assert_eq!(next(&mut master, &mut worker), Some(batch(&["4"])), "whatever else is sent goes behind it");
    assert_eq!(next(&mut master, &mut worker), Some(Frame::Ready));
}

#[test]
fn while_the_socket_is_full_batches_grow_instead_of_their_number() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let (mut sent, mut now) = (0_u32, 0);
    while worker.post(now, &sent.to_le_bytes()).is_ok() {
        sent += 1;
        now += if worker.is_stuck() { 1 } else { 1 << 40 };
    }
    let (mut received, mut packets) = (0_u32, 0);
    while let Some(Frame::Batch(messages)) = next(&mut master, &mut worker) {
        packets += 1;
        for message in messages {
            assert_eq!(message, received.to_le_bytes());
            received += 1;
        }
    }
    worker.send_due(u64::MAX).unwrap();
    while let Some(Frame::Batch(messages)) = next(&mut master, &mut worker) {
        received += messages.count() as u32;
    }
    assert_eq!(received, sent);
    assert!(sent > 1000 * packets, "{sent} messages in {packets} packets");
}

#[test]
fn messages_come_back_when_they_are_refused() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let (reader, writer) = pipe();
    let mut say = |message| worker.say(format_args!("sending"), 0, Purpose::Plain, message);
    let error = say(Message::from(vec![0; MESSAGE_MAX + 1])).unwrap_err();
    assert!(error.is_invalid_config() && format!("{error:#}").contains("exceeds the limit of 16777216"), "{error:#}");
    assert_eq!(error.into_message().unwrap().bytes.len(), MESSAGE_MAX + 1);

    let many = (0..254).fold(Message::from("many"), |message, _| message.with_fd(writer.try_clone().unwrap()));
    let error = say(many).unwrap_err();
    assert!(error.to_string().contains("254 descriptors are more than the 253"), "{error}");
    let mut message = error.into_message().unwrap();
    message.fds.pop();
    say(message).unwrap();
    drop(writer);
    let Ok(Incoming::Frame(Frame::Message { bytes, .. }, fds, 253)) = master.recv(&mut Buffer::default()) else {
        panic!("no message")
    };
    assert_eq!((&bytes[..], fds.len()), (&b"many"[..], 253));
    assert!(is_open(&reader));
    drop(fds);
    assert!(ends(&reader));

    let (_reader, writer) = pipe();
    let mut queued = 0;
    let error = loop {
        match say(Message::from("no room").with_fd(writer.try_clone().unwrap())) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_would_block() && error.to_string().contains("try again after `Writable`"), "{error}");
    assert_eq!(error.into_message().unwrap().fds.len(), 1, "the descriptor is not lost");
    drop(master);
    let error = say(Message::from("nobody").with_fd(writer)).unwrap_err();
    assert!(error.is_gone() && queued > 0, "{error}");
    assert_eq!(error.into_message().unwrap().fds.len(), 1);
}

#[test]
fn descriptors_of_a_message_in_parts_arrive_with_its_end_or_not_at_all() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let (reader, writer) = pipe();
    let message = plain(vec![3; 2 * PACKET_MAX]);
    worker.send(&message, &[writer.as_fd()]).unwrap();
    let mut buffer = Buffer::default();
    let last = loop {
        let incoming = master.recv(&mut buffer).unwrap();
        if !matches!(incoming, Incoming::Part) {
            break incoming;
        }
    };
    assert!(matches!(&last, Incoming::Frame(frame, fds, 1) if *frame == message && fds.len() == 1));
    drop(last);

    // The same, but something else comes in between.
    let packets: Vec<Vec<u8>> = message.encode(1).unwrap().collect();
    rights::send(worker.as_fd(), &packets[0], &[writer.as_fd()]).unwrap();
    drop(writer);
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Part)));
    assert!(is_open(&reader), "held");
    rights::send(worker.as_fd(), &packet(&Frame::Ready), &[]).unwrap();
    assert!(matches!(master.recv(&mut buffer), Ok(Incoming::Malformed(Malformed::Interrupted(_)))));
    assert!(ends(&reader), "closed along with the message");
}

/// A program without a loop, which nobody tells that there is room.
#[test]
fn what_is_queued_leaves_with_the_next_message() {
    let (mut master, mut worker) = Channel::pair().unwrap();
    let mut now = 1 << 40;
    let mut post = |worker: &mut Channel| {
        now += 1 << 40;
        worker.post(now, &[0; Batch::MESSAGE_MAX])
    };
    let mut sent = 0;
    while post(&mut worker).is_ok() {
        sent += 1;
    }
    let mut received = 0;
    let mut read = |master: &mut Channel| {
        while let Incoming::Frame(Frame::Batch(messages), ..) = master.recv(&mut Buffer::default()).unwrap() {
            received += messages.count();
        }
        received
    };
    assert!(read(&mut master) < sent);
    while read(&mut master) < sent {
        post(&mut worker).expect("there is room again");
        sent += 1;
    }
}
