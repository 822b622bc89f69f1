//! Typed messages (feature `json`): between versions, and of the wrong shape.

use std::collections::HashMap;

use mio_cluster::Message;
use serde::{Deserialize, Serialize};

/// As an older master knows it.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Old {
    sessions: u32,
}

/// As a newer worker does: with a field more, and a kind more.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct New {
    sessions: u32,
    #[serde(default)]
    backlog: u32,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Kind {
    Load(Old),
    Bye,
}

#[test]
fn versions_understand_each_other() {
    let new = Message::json(&New { sessions: 7, backlog: 3 }).unwrap();
    assert_eq!(new.parse::<Old>().unwrap(), Old { sessions: 7 }, "an unknown field is skipped");
    let old = Message::json(&Old { sessions: 7 }).unwrap();
    assert_eq!(old.parse::<New>().unwrap(), New { sessions: 7, backlog: 0 }, "a missing one has its default");
    assert_eq!(old.bytes, br#"{"sessions":7}"#);
}

#[test]
fn values_of_many_kinds_come_back() {
    for kind in [Kind::Load(Old { sessions: 1 }), Kind::Bye] {
        assert_eq!(Message::json(&kind).unwrap().parse::<Kind>().unwrap(), kind);
    }
    let text = Message::json("\u{0} \" ä \u{1F980}").unwrap();
    assert_eq!(text.parse::<&str>().map_err(drop), Err(()), "it has escapes, so it cannot be borrowed");
    assert_eq!(text.parse::<String>().unwrap(), "\u{0} \" ä \u{1F980}");
    assert_eq!(Message::json("plain").unwrap().parse::<&str>().unwrap(), "plain", "without a copy");
}

#[test]
fn the_wrong_shape_is_an_error_that_shows_it() {
    for (bytes, says) in [
        (&b""[..], "EOF while parsing"),
        (br#"{"sessions":"many"}"#, "invalid type: string \"many\", expected u32"),
        (br#"{"sessions":-1}"#, "invalid value: integer `-1`, expected u32"),
        (br#"{"sessions":4294967296}"#, "invalid value: integer `4294967296`, expected u32"),
        (br#"{"sessions":1"#, "EOF while parsing an object"),
        (br#"{"sessions":1}{"sessions":2}"#, "trailing characters"),
        (br#"{}"#, "missing field `sessions`"),
        (b"\xff\xfe", "expected value"),
        (b"{\"\xff\":1}", "invalid unicode"),
    ] {
        let error = Message::from(bytes).parse::<Old>().unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains(says) && text.contains(&format!("a message of {} bytes as json::Old", bytes.len())),
            "{text}"
        );
    }
    let unknown = Message::from(r#"{"Restart":{}}"#).parse::<Kind>().unwrap_err();
    assert!(format!("{unknown:#}").contains("unknown variant `Restart`, expected `Load` or `Bye`"), "{unknown:#}");
}

/// A worker that was taken over must not be able to end the master by what it sends.
#[test]
fn nesting_without_end_is_refused() {
    let deep = "[".repeat(1_000_000);
    let error = Message::from(deep).parse::<Vec<Nested>>().unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("recursion limit exceeded") && text.len() < 500, "{text}");
}

#[derive(Deserialize, Debug)]
struct Nested(#[allow(dead_code, reason = "only its depth counts")] Vec<Nested>);

#[test]
fn what_has_no_form_in_json_is_an_error() {
    let error = Message::json(&HashMap::from([(vec![1], 2)])).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("as JSON: key must be a string"), "{text}");
}
