use super::{frame::Kind, *};
use crate::{config::Bind, event::Endpoint, id::RequestId};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

const NONE: Descriptors = Descriptors::Arrived(0);

proptest! {
    // The minimal input is printed; a file of old failures would tell less than a test with a name.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_comes_back_as_it_was(frames in vec(frame(), 1..8)) {
        let mut assembler = Assembler::default();
        for frame in &frames {
            prop_assert_eq!(&deliver(&mut assembler, frame), frame);
        }
    }

    #[test]
    fn any_bytes_give_a_frame_or_an_error(packets in vec((raw_packet(), descriptors()), 0..16)) {
        let mut assembler = Assembler::default();
        for (packet, descriptors) in &packets {
            if let Err(malformed) = assembler.push(packet, *descriptors) {
                prop_assert!(!malformed.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_message_comes_back_however_it_was_split(bytes in vec(any::<u8>(), 1..2000), cuts in vec(any::<Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).filter(|&cut| cut > 0).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut assembler = Assembler::default();
        let mut start = 0;
        for &end in &cuts {
            prop_assert_eq!(assembler.push(&part(MORE, &bytes[start..end]), NONE), Ok(Progress::Part));
            start = end;
        }
        let frame = assembler.push(&part(0, &bytes[start..]), NONE);
        prop_assert_eq!(frame, Ok(Progress::Frame(plain(&bytes), 0)));
    }

    #[test]
    fn a_message_never_comes_back_changed(sizes in vec(1_usize..4, 2..6), at in any::<Index>(), junk in raw_packet(), odd in descriptors()) {
        // A part is part of the message, and a last one its end.
        prop_assume!(![Kind::Message, Kind::Request, Kind::Reply].map(|kind| kind as u8).contains(junk.first().unwrap_or(&0)));
        let last = sizes.len() - 1;
        let at = 1 + at.index(last);
        let mut assembler = Assembler::default();
        for (i, size) in sizes.iter().enumerate() {
            if i == at {
                prop_assert!(assembler.push(&junk, odd).is_err());
            }
            let result = assembler.push(&part(if i == last { 0 } else { MORE }, &vec![i as u8; *size]), NONE);
            prop_assert_eq!(result, Ok(if i < at { Progress::Part } else { Progress::Skipped }));
        }
        prop_assert_eq!(deliver(&mut assembler, &Frame::Ready), Frame::Ready);
    }
}

#[test]
fn packets_are_counted_and_measured_before_they_are_written() {
    for (length, packets) in [(0, 1), (1, 1), (BODY_MAX, 1), (BODY_MAX + 1, 2), (MESSAGE_MAX, 257)] {
        let frame = plain(&vec![7; length]);
        let encoded = frame.encode(0).unwrap();
        assert_eq!((encoded.len(), encoded.bytes()), (packets, length + packets * HEADER));
        let written: Vec<_> = encoded.collect();
        assert_eq!(written.len(), packets);
        assert!(written.iter().all(|packet| packet.len() <= PACKET_MAX));
        assert_eq!(deliver(&mut Assembler::default(), &frame), frame);
    }
}

#[test]
fn a_message_above_the_cap_is_refused_by_both_sides() {
    let frame = plain(&vec![0; MESSAGE_MAX + 1]);
    assert_eq!(frame.encode(0).unwrap_err(), TooLarge(MESSAGE_MAX + 1));

    let mut assembler = Assembler::default();
    let full = part(MORE, &[0; BODY_MAX]);
    for _ in 0..MESSAGE_MAX / BODY_MAX {
        assert_eq!(assembler.push(&full, NONE), Ok(Progress::Part));
    }
    assert_eq!(assembler.push(&full, NONE), Err(Malformed::MessageTooLarge));
    assert_eq!(assembler.push(&full, NONE), Ok(Progress::Skipped), "the rest is skipped in silence");
    assert_eq!(assembler.push(&part(0, b"tail"), NONE), Ok(Progress::Skipped));
    assert_eq!(assembler.push(&part(0, b"new"), NONE), Ok(Progress::Frame(plain(b"new"), 0)));
}

#[test]
fn each_fault_has_its_name() {
    let packet = |kind: u8, body: &[u8]| [&[kind, 0, 0, 0, 0, 0, 0, 0], body].concat();
    for (bytes, malformed) in [
        (vec![], Malformed::Empty),
        (vec![0; PACKET_MAX + 1], Malformed::PacketTooLarge),
        (vec![4, 0, 0], Malformed::ShortHeader(3)),
        (packet(0, &[]), Malformed::UnknownKind(0)),
        (packet(77, &[]), Malformed::UnknownKind(77)),
        (vec![4, 2, 0, 0, 0, 0, 0, 0], Malformed::UnknownFlags(2)),
        (vec![4, 0, 1, 0, 0, 0, 0, 0], Malformed::Descriptors { kind: Kind::Ready, announced: 1, found: NONE }),
        (vec![10, 0, 0, 1, 0, 0, 0, 0], Malformed::Descriptors { kind: Kind::Message, announced: 256, found: NONE }),
        (vec![4, 0, 0, 0, 9, 0, 0, 0], Malformed::WrongToken(Kind::Ready)),
        (vec![10, 0, 0, 0, 9, 0, 0, 0], Malformed::WrongToken(Kind::Message)),
        (packet(12, b"a request without a token"), Malformed::WrongToken(Kind::Request)),
        (packet(13, b"a reply to nothing"), Malformed::WrongToken(Kind::Reply)),
        (packet(14, &[]), Malformed::WrongBatch),
        (packet(14, &[1, 0, 0, 0]), Malformed::WrongBatch),
        (packet(14, &[1, 0, 0, 0, b'a', 0, 0]), Malformed::WrongBatch),
        (packet(14, &[255, 255, 255, 255, b'a']), Malformed::WrongBatch),
        (vec![4, MORE, 0, 0, 0, 0, 0, 0], Malformed::CannotBeSplit(Kind::Ready)),
        (packet(4, &[1]), Malformed::WrongLength { kind: Kind::Ready, body: 1 }),
        (packet(1, &[1; 9]), Malformed::WrongLength { kind: Kind::Hello, body: 9 }),
        (packet(7, &[1, 0]), Malformed::WrongLength { kind: Kind::Refused, body: 2 }),
        (packet(7, &[1, 0, 2]), Malformed::NotYesOrNo(2)),
        (packet(7, &[1, 0, 1, 0xFF]), Malformed::NotUtf8),
        (part(MORE, &[]), Malformed::EmptyPart),
        (packet(2, &[0, 0]), Malformed::Descriptors { kind: Kind::Listen, announced: 0, found: NONE }),
        (packet(17, &[0; 10]), Malformed::Descriptors { kind: Kind::Lend, announced: 0, found: NONE }),
        (packet(18, &[0; 5]), Malformed::WrongLength { kind: Kind::TakeBack, body: 5 }),
        (packet(19, &[0; 3]), Malformed::WrongLength { kind: Kind::Returned, body: 3 }),
        (packet(22, &[]), Malformed::UnknownKind(22)),
    ] {
        assert_eq!(Assembler::default().push(&bytes, NONE), Err(malformed));
    }
    assert_eq!(Malformed::UnknownKind(77).to_string(), "unknown kind 77");
}

#[test]
fn lost_descriptors_are_an_error_only_where_none_belong() {
    let mut assembler = Assembler::default();
    let packet = |frame: &Frame, announced| frame.encode(announced).unwrap().next().unwrap();
    for frame in [Frame::Listen { address: 3 }, Frame::Lend { loan: 1, slot: 2, address: 3 }, plain(b"with")] {
        let found = assembler.push(&packet(&frame, 1), Descriptors::Lost);
        assert_eq!(found, Ok(Progress::Frame(frame, 1)));
    }
    let none_belong = Malformed::Descriptors { kind: Kind::Ready, announced: 0, found: Descriptors::Lost };
    assert_eq!(assembler.push(&packet(&Frame::Ready, 0), Descriptors::Lost), Err(none_belong));
}

#[test]
fn descriptors_come_with_the_first_part_and_as_announced() {
    let mut assembler = Assembler::default();
    let frame = plain(&vec![1; BODY_MAX + 1]);
    let packets: Vec<Vec<u8>> = frame.encode(3).unwrap().collect();
    assert_eq!(assembler.push(&packets[0], Descriptors::Arrived(3)), Ok(Progress::Part));
    assert_eq!(assembler.push(&packets[1], NONE), Ok(Progress::Frame(frame, 3)));

    for found in [NONE, Descriptors::Arrived(2), Descriptors::Arrived(4)] {
        let error = Malformed::Descriptors { kind: Kind::Message, announced: 3, found };
        assert_eq!(assembler.push(&packets[0], found), Err(error));
        assert_eq!(assembler.push(&packets[1], NONE), Ok(Progress::Skipped));
    }
    assert_eq!(assembler.push(&packets[0], Descriptors::Arrived(3)), Ok(Progress::Part));
    assert!(assembler.push(&packets[1], Descriptors::Arrived(1)).is_err(), "a later part brings none");
}

#[test]
fn parts_of_two_messages_are_not_mixed() {
    let mut assembler = Assembler::default();
    let id = RequestId::from_raw(5).unwrap();
    let request = Frame::Message { purpose: Purpose::Request(id), bytes: vec![1; BODY_MAX + 1] };
    let packets: Vec<Vec<u8>> = request.encode(0).unwrap().collect();
    assert_eq!(assembler.push(&packets[0], NONE), Ok(Progress::Part));
    assert_eq!(assembler.push(&part(0, b"plain"), NONE), Err(Malformed::Interrupted(Kind::Message)));
    assert_eq!(deliver(&mut assembler, &request), request);
}

#[test]
fn batches_take_what_fits_and_refuse_what_does_not() {
    let mut batch = Batch::default();
    assert!(batch.is_empty() && batch.packet().is_empty());
    assert!(!batch.push(&[0; Batch::MESSAGE_MAX + 1]), "that one travels alone");
    let mut messages = Vec::new();
    while batch.push(&vec![messages.len() as u8; messages.len()]) {
        messages.push(vec![messages.len() as u8; messages.len()]);
    }
    assert!(messages.len() > 200 && batch.packet().len() <= PACKET_MAX, "{}", messages.len());
    let expected = Ok(Progress::Frame(bundle(&messages), 0));
    assert_eq!(Assembler::default().push(batch.packet(), NONE), expected);
    batch.clear();
    assert!(batch.push(b"") && batch.push(b"next"));
    let expected = Ok(Progress::Frame(bundle(&[vec![], b"next".to_vec()]), 0));
    assert_eq!(Assembler::default().push(&batch.take(), NONE), expected);
    assert!(batch.is_empty());
}

#[test]
fn another_frame_inside_a_message_ends_it() {
    let mut assembler = Assembler::default();
    let ready = Frame::Ready.encode(0).unwrap().next().unwrap();
    assert_eq!(assembler.push(&part(MORE, b"a"), NONE), Ok(Progress::Part));
    assert_eq!(assembler.push(&ready, NONE), Err(Malformed::Interrupted(Kind::Ready)));
    assert_eq!(assembler.push(&ready, NONE), Ok(Progress::Frame(Frame::Ready, 0)));
    assert_eq!(assembler.push(&part(0, b"b"), NONE), Ok(Progress::Skipped));
    assert_eq!(assembler.push(&part(0, b"c"), NONE), Ok(Progress::Frame(plain(b"c"), 0)));
}

#[test]
fn a_lend_says_all_it_says_within_its_length() {
    let one = Descriptors::Arrived(1);
    let packet = Frame::Lend { loan: 1, slot: 2, address: 3 }.encode(1).unwrap().next().unwrap();
    assert_eq!(packet, [17, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0]);
    for body in [9, 11] {
        let packet = [&packet[..HEADER], &vec![0; body]].concat();
        let wrong = Malformed::WrongLength { kind: Kind::Lend, body };
        assert_eq!(Assembler::default().push(&packet, one), Err(wrong));
    }
}

#[test]
fn a_hello_of_a_later_version_is_understood() {
    let mut packet = Frame::Hello { major: 9, minor: 1, layout: 2, pid: 3 }.encode(0).unwrap().next().unwrap();
    packet.extend(b"what version 9 has to add");
    let hello = Frame::Hello { major: 9, minor: 1, layout: 2, pid: 3 };
    assert_eq!(Assembler::default().push(&packet, NONE), Ok(Progress::Frame(hello, 0)));
}

#[test]
fn a_reason_is_cut_between_characters_and_a_deadline_rounded_up() {
    let long = Frame::Refused { address: 0, lost: false, reason: "ä".repeat(PACKET_MAX) };
    let Frame::Refused { reason, .. } = deliver(&mut Assembler::default(), &long) else { panic!("another frame") };
    assert_eq!(reason, "ä".repeat((BODY_MAX - 3) / 2));

    for (sent, received) in
        [(Duration::from_micros(1), Duration::from_millis(1)), (Duration::MAX, Duration::from_millis(u64::MAX))]
    {
        assert_eq!(
            deliver(&mut Assembler::default(), &Frame::Drain { within: sent, leave: Leave::Shut }),
            Frame::Drain { within: received, leave: Leave::Shut }
        );
    }
}

/// Sends all packets of `frame` and returns what came out behind the last.
fn deliver(assembler: &mut Assembler, frame: &Frame) -> Frame {
    let descriptors = *frame.kind().descriptors().start();
    let mut packets = frame.encode(descriptors).unwrap();
    let mut found = Descriptors::Arrived(descriptors);
    loop {
        let packet = packets.next().expect("the last packet completes a frame");
        if let Progress::Frame(frame, announced) = assembler.push(&packet, found).unwrap() {
            assert_eq!((packets.len(), announced), (0, descriptors));
            return frame;
        }
        found = NONE;
    }
}

fn bundle(messages: &[Vec<u8>]) -> Frame {
    let with_length = |message: &Vec<u8>| [&(message.len() as u32).to_le_bytes(), &message[..]].concat();
    let bundle = Bundle::new(&messages.iter().flat_map(with_length).collect::<Vec<u8>>()).unwrap();
    assert!(bundle.clone().eq(messages.iter().cloned()), "it gives back what it was made of");
    Frame::Batch(bundle)
}

fn plain(bytes: &[u8]) -> Frame {
    Frame::Message { purpose: Purpose::Plain, bytes: bytes.to_vec() }
}

fn part(flags: u8, body: &[u8]) -> Vec<u8> {
    [&[Kind::Message as u8, flags, 0, 0, 0, 0, 0, 0], body].concat()
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        any::<(u16, u16, u16, u32)>().prop_map(|(major, minor, layout, pid)| Frame::Hello {
            major,
            minor,
            layout,
            pid
        }),
        any::<u16>().prop_map(|address| Frame::Listen { address }),
        any::<u16>().prop_map(|address| Frame::Opened { address }),
        any::<u16>().prop_map(|address| Frame::Closed { address }),
        any::<u16>().prop_map(|address| Frame::Granted { address }),
        any::<(u16, bool, String)>().prop_map(|(address, lost, reason)| Frame::Refused { address, lost, reason }),
        (any::<u64>(), any::<bool>()).prop_map(|(ms, shut)| Frame::Drain {
            within: Duration::from_millis(ms),
            leave: if shut { Leave::Shut } else { Leave::HandOver }
        }),
        Just(Frame::Ready),
        Just(Frame::Leaving),
        Just(Frame::ReopenLogs),
        (purpose(), vec(any::<u8>(), 0..300)).prop_map(|(purpose, bytes)| Frame::Message { purpose, bytes }),
        vec(vec(any::<u8>(), 0..30), 1..9).prop_map(|messages| bundle(&messages)),
        (any::<u16>(), bind()).prop_map(|(address, bind)| Frame::AddressAdded { address, bind }),
        any::<(u16, String)>().prop_map(|(address, name)| Frame::AddressRemoved { address, name }),
        any::<(u32, u32, u16)>().prop_map(|(loan, slot, address)| Frame::Lend { loan, slot, address }),
        any::<u32>().prop_map(|loan| Frame::TakeBack { loan }),
        any::<u32>().prop_map(|loan| Frame::Returned { loan }),
    ]
}

fn purpose() -> impl Strategy<Value = Purpose> {
    let id = || any::<u32>().prop_filter_map("0 is none", RequestId::from_raw);
    prop_oneof![Just(Purpose::Plain), id().prop_map(Purpose::Request), id().prop_map(Purpose::Reply)]
}

/// Mostly packets that get past the first checks.
fn raw_packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => vec(any::<u8>(), 0..64),
        4 => (0_u8..21, 0_u8..3, 0_u8..2, 0_u8..2, vec(any::<u8>(), 0..32))
            .prop_map(|(kind, flags, descriptors, token, body)| [&[kind, flags, descriptors, 0, token, 0, 0, 0], &body[..]].concat()),
    ]
}

fn descriptors() -> impl Strategy<Value = Descriptors> {
    prop_oneof![4 => Just(NONE), 2 => Just(Descriptors::Arrived(1)), 1 => Just(Descriptors::Lost)]
}

fn bind() -> impl Strategy<Value = Bind> {
    let at = prop_oneof![
        any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddr::from((Ipv4Addr::from(ip), port)).into()),
        any::<(u128, u16, u32)>().prop_map(|(ip, port, scope)| {
            Endpoint::Ip(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }),
        vec(any::<u8>(), 0..108).prop_map(|name| Endpoint::unix(&name)),
    ];
    (any::<String>(), at, any::<(bool, bool, bool)>(), any::<(i32, i32)>()).prop_map(|(name, at, flags, numbers)| {
        let ((shared, nodelay, v6_only), (backlog, defer_accept)) = (flags, numbers);
        Bind { name: name.into(), at, shared, backlog, nodelay, defer_accept, v6_only, mode: None }
    })
}
