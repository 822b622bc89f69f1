use std::time::Instant;

use crate::{
    client::{Asked, Client, Cut, End},
    failure::Failure,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// One that is connected and has so many requests on their way.
fn asking(count: usize) -> Client {
    let (mut client, now) = (Client::new(100), Instant::now());
    (0..count).for_each(|_| client.ask(Asked { wanted: now, begun: now }));
    client.established();
    client.sent();
    client
}

/// How many answers it saw in these bytes.
fn receive(client: &mut Client, bytes: &[u8]) -> Result<usize, End> {
    let mut count = 0;
    client.received(bytes, &mut |_asked, _answer, _body| count += 1).map(|()| count)
}

fn cut(client: &mut Client, how: Cut) -> (End, usize) {
    let mut count = 0;
    let end = client.cut(how, &mut |_asked, _answer, _body| count += 1);
    (end, count)
}

fn failed(failure: Failure) -> (End, usize) {
    (End::Failed(failure), 0)
}

#[test]
fn without_a_byte_of_an_answer() {
    assert_eq!(cut(&mut asking(1), Cut::Eof), failed(Failure::EofBeforeAnswer));
    assert_eq!(cut(&mut asking(1), Cut::Reset), failed(Failure::ResetAfterRequest));
    let mut unsent = Client::new(0);
    unsent.ask(Asked { wanted: Instant::now(), begun: Instant::now() });
    unsent.established();
    assert_eq!(cut(&mut unsent, Cut::Reset), failed(Failure::ResetBeforeRequest));
}

#[test]
fn inside_an_answer() {
    for (how, failure) in [(Cut::Eof, Failure::EofInsideAnswer), (Cut::Reset, Failure::ResetInsideAnswer)] {
        for length in 1..OK.len() {
            let mut client = asking(1);
            assert_eq!(receive(&mut client, &OK[..length]), Ok(0));
            assert_eq!(cut(&mut client, how), failed(failure), "after {length} bytes");
        }
        // An earlier answer makes no difference.
        let mut client = asking(2);
        assert_eq!(receive(&mut client, &[OK, b"H"].concat()), Ok(1));
        assert_eq!(cut(&mut client, how), failed(failure));
    }
}

#[test]
fn between_answers() {
    for (how, failure) in [(Cut::Eof, Failure::EofOnReuse), (Cut::Reset, Failure::ResetOnReuse)] {
        let mut client = asking(2);
        assert_eq!(receive(&mut client, OK), Ok(1));
        assert_eq!(client.unanswered(), 1);
        assert_eq!(cut(&mut client, how), failed(failure));
    }
}

#[test]
fn while_nothing_is_asked() {
    for asked in [0, 1] {
        let client = || {
            let mut client = asking(asked);
            assert_eq!(receive(&mut client, if asked == 0 { b"" } else { OK }), Ok(asked));
            client
        };
        assert_eq!(cut(&mut client(), Cut::Eof), (End::WhileIdle, 0));
        assert_eq!(cut(&mut client(), Cut::Reset), failed(Failure::ResetWhileIdle));
        assert_eq!(receive(&mut client(), b"HTTP/1.1 408 "), Err(End::Failed(Failure::MalformedAnswer)));
    }
}

/// What comes behind the last answer is nobody's, and how the connection ends does not matter.
#[test]
fn after_the_last_answer() {
    for how in [Cut::Eof, Cut::Reset] {
        let mut client = asking(1);
        assert_eq!(receive(&mut client, &[LAST, b"more"].concat()), Ok(1));
        assert!(client.is_parting());
        assert_eq!(cut(&mut client, how), (End::InOrder, 0));
        assert_eq!(client.timed_out(), End::InOrder);
    }
    // Those behind it are lost: the server said that it would answer no more.
    let mut client = asking(2);
    assert_eq!(receive(&mut client, LAST), Ok(1));
    assert_eq!(cut(&mut client, Cut::Eof), failed(Failure::EofOnReuse));
    assert_eq!(client.timed_out(), End::Failed(Failure::EofOnReuse));
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    let endless = b"HTTP/1.1 200 OK\r\n\r\nok";
    let mut client = asking(1);
    assert_eq!(receive(&mut client, endless), Ok(0));
    assert_eq!(cut(&mut client, Cut::Eof), (End::InOrder, 1));
    let mut client = asking(1);
    assert_eq!(receive(&mut client, endless), Ok(0));
    assert_eq!(cut(&mut client, Cut::Reset), failed(Failure::ResetInsideAnswer));
}

#[test]
fn too_late() {
    assert_eq!(Client::new(0).timed_out(), End::Failed(Failure::ConnectTimeout));
    assert_eq!(asking(1).timed_out(), End::Failed(Failure::AnswerTimeout));
}

#[test]
fn no_http() {
    assert_eq!(receive(&mut asking(1), b"220 mail\r\n"), Err(End::Failed(Failure::MalformedAnswer)));
}

/// One that only listens hears anything.
#[test]
fn a_listener_judges_nothing() {
    let mut client = Client::listening();
    client.established();
    assert_eq!(receive(&mut client, b"tick\n"), Ok(0));
    assert_eq!(cut(&mut client, Cut::Eof), (End::WhileIdle, 0));
}

#[test]
fn each_kind_has_a_place_a_name_and_a_text_of_its_own() {
    for (place, failure) in Failure::ALL.into_iter().enumerate() {
        assert_eq!(failure.index(), place);
        let same = |other: &&Failure| other.name() == failure.name() || other.text() == failure.text();
        assert_eq!(Failure::ALL.iter().filter(same).count(), 1, "{failure:?}");
    }
}
