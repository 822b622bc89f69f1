use std::time::{Duration, Instant};

use crate::{
    failure::Failure,
    plan::{Expect, trimmed},
    report::Report,
    tally::Tally,
};

fn some() -> Tally {
    let mut tally = Tally::new();
    tally.load.started = 10;
    tally.load.established = 9;
    tally.load.closed = 5;
    tally.load.kept = 3;
    tally.load.begun = 100;
    tally.load.ok = 90;
    tally.load.lost = 3;
    tally.load.fail(Failure::Refused);
    tally.load.fail(Failure::AnswerTimeout);
    tally.load.fail(Failure::WrongBody);
    tally.idle.started = 2;
    tally.idle.fail(Failure::ResetWhileIdle);
    [1, 1000, 123_456_789, u64::MAX].iter().for_each(|time| tally.latency.saturating_record(*time));
    tally.connect.saturating_record(77);
    tally.count_body(b"a \"b\"", 3);
    tally.lasted = 2_000_000_000;
    tally.shortest_life = 500_000_000;
    tally
}

fn report(tally: &Tally, max_errors: Option<u64>) -> Report<'_> {
    Report {
        target: "http://a/",
        workers: 2,
        has_load: true,
        has_idle: true,
        counts_bodies: true,
        max_errors,
        complete: true,
        tally,
    }
}

#[test]
fn nothing_changes_on_the_way_to_the_master() {
    let there = Tally::decode(&some().encode()).unwrap();
    assert_eq!(report(&there, None).json(), report(&some(), None).json());
    assert_eq!(there.latency, some().latency);
}

#[test]
fn other_bytes_are_no_counts() {
    let bytes = some().encode();
    assert!(Tally::decode(b"").is_none());
    assert!((0..bytes.len()).all(|length| Tally::decode(&bytes[..length]).is_none_or(|tally| tally.bodies.is_empty())));
}

#[test]
fn what_is_told_in_parts_adds_up() {
    let mut sum = Tally::new();
    (0..3).for_each(|_| sum.merge(some()));
    assert_eq!((sum.load.started, sum.load.kept, sum.load.ok, sum.load.failed(Failure::Refused)), (30, 9, 270, 3));
    assert_eq!((sum.latency.len(), sum.connect.len(), sum.bodies[&b"a \"b\""[..]]), (12, 3, 9));
    assert_eq!((sum.lasted, sum.shortest_life), (2_000_000_000, 500_000_000));
    let mut told = some();
    told.clear();
    sum.merge(told);
    assert_eq!((sum.load.started, sum.latency.len(), sum.bodies.len()), (30, 12, 1));
}

/// They failed by not even being sent, and they have waited longest.
#[test]
fn what_was_due_and_never_sent_is_a_failure() {
    let mut tally = some();
    let (answers, now) = (tally.latency.len(), Instant::now());
    tally.give_up(now, now + Duration::from_secs(60));
    assert_eq!((tally.load.unsent, tally.load.errors(), tally.load.failed_connections()), (1, 4, 2));
    assert!(!report(&tally, Some(4)).passed() && report(&tally, Some(5)).passed());
    assert_eq!((tally.latency.len(), tally.latency.count_between(59_000_000_000, 61_000_000_000)), (answers + 1, 1));
}

/// What was begun is in one of the counts.
#[test]
fn what_is_missing_is_open() {
    let book = some().load;
    assert_eq!((book.errors(), book.wrong(), book.failed_connections()), (3, 1, 2));
    assert_eq!((book.open_connections(), book.open_requests()), (10 - 5 - 2, 100 - 90 - 1 - 3));
}

#[test]
fn too_many_bodies_are_only_counted() {
    let mut tally = Tally::new();
    (0..2000).for_each(|number: u32| tally.count_body(number.to_string().as_bytes(), 1));
    assert_eq!((tally.bodies.len(), tally.bodies.values().sum::<u64>()), (1001, 2000));
}

#[test]
fn errors_are_allowed_up_to_a_limit() {
    let tally = some();
    assert_eq!(report(&tally, None).errors(), 4);
    assert!(report(&tally, None).passed());
    assert!(report(&tally, Some(4)).passed());
    assert!(!report(&tally, Some(3)).passed());
    assert!(!Report { complete: false, ..report(&tally, None) }.passed());
}

#[test]
fn reports_have_each_kind() {
    let (tally, mut empty) = (some(), Tally::new());
    let (json, text) = (report(&tally, None).json(), report(&tally, None).to_string());
    for failure in Failure::ALL {
        let count = tally.load.failed(failure);
        assert!(json.contains(&format!("\"{}\":{count}", failure.name())), "{json}");
        assert_eq!(text.contains(failure.text()), count + tally.idle.failed(failure) > 0, "{text}");
    }
    assert!(
        json.starts_with("{\"event\":\"report\",\"target\":\"http://a/\",\"workers\":2,\"seconds\":2.000,"),
        "{json}"
    );
    assert!(json.ends_with("\"shortest_life_seconds\":0.500},\"bodies\":{\"a \\\"b\\\"\":3}}"), "{json}");
    assert!(text.ends_with("\n4 failed"));
    // Nothing at all is no reason to print strange numbers.
    empty.clear();
    assert!(!report(&empty, None).json().contains("NaN") && !report(&empty, None).to_string().contains("NaN"));
}

#[test]
fn right_answers() {
    let any = Expect::default();
    assert!(any.accepts_status(200) && any.accepts_status(299) && !any.accepts_status(300) && any.accepts_body(b"x"));
    let these = Expect { status: Some(404), bodies: vec!["a".to_owned(), "b".to_owned()] };
    assert!(these.accepts_status(404) && !these.accepts_status(200));
    assert!(these.accepts_body(b"a") && these.accepts_body(b"b\n"));
    assert!(!these.accepts_body(b"") && !these.accepts_body(b"ab") && !these.accepts_body(b"a\n\n"));
    assert_eq!(trimmed(b"a\n"), b"a");
}
