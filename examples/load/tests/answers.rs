use crate::answer::{Answer, Malformed, Reader};

/// All answers in these bytes, however they are cut into pieces, with their bodies.
fn answers(bytes: &[u8]) -> Result<Vec<(u16, String, bool)>, Malformed> {
    let whole = read(bytes.chunks(bytes.len().max(1)));
    for size in [1, 2, 3, 7] {
        assert_eq!(read(bytes.chunks(size)), whole, "in pieces of {size}");
    }
    whole
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(u16, String, bool)>, Malformed> {
    let (mut reader, mut answers) = (Reader::keeping(100), Vec::new());
    let seen = |reader: &Reader, answer: Answer| {
        (answer.status, String::from_utf8_lossy(reader.body()).into_owned(), answer.last)
    };
    for mut piece in pieces {
        while !piece.is_empty() {
            if let Some(answer) = reader.read(&mut piece)? {
                answers.push(seen(&reader, answer));
            }
        }
    }
    if let Some(answer) = reader.end() {
        answers.push(seen(&reader, answer));
    }
    assert!(!reader.is_inside(), "unless the caller expects half an answer");
    Ok(answers)
}

fn answer(status: u16, body: &str, last: bool) -> (u16, String, bool) {
    (status, body.to_owned(), last)
}

#[test]
fn answers_follow_each_other() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
        HTTP/1.1 404 Not Found\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(answers(bytes), Ok(vec![answer(200, "hello", false), answer(404, "", true)]));
}

#[test]
fn chunks_are_put_together() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n02\r\nlo\r\n0\r\nX: y\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(answers(bytes), Ok(vec![answer(200, "hello", false), answer(200, "", false)]));
}

#[test]
fn an_answer_without_a_length_lasts_to_the_end() {
    assert_eq!(answers(b"HTTP/1.0 200 OK\r\n\r\nhello"), Ok(vec![answer(200, "hello", true)]));
    assert_eq!(answers(b"HTTP/1.1 200 OK\r\n\r\nhello"), Ok(vec![answer(200, "hello", false)]));
}

#[test]
fn the_status_says_whether_there_is_a_body() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n\
        Content-Length: 9\r\n\r\n";
    assert_eq!(answers(bytes), Ok(vec![answer(204, "", false), answer(304, "", false)]));
}

#[test]
fn keep_alive_counts_in_http_1_0() {
    let bytes = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na\
        HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nb";
    assert_eq!(answers(bytes), Ok(vec![answer(200, "a", false), answer(200, "b", true)]));
}

#[test]
fn so_much_of_a_body_is_kept() {
    let body = "x".repeat(1000);
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{body}");
    assert_eq!(answers(bytes.as_bytes()), Ok(vec![answer(200, &body[..100], false)]));
}

#[test]
fn what_can_be_understood_in_two_ways_is_malformed() {
    for head in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: +1",
        "Content-Length: 99999999999999999999",
        "Content-Length:",
        "Transfer-Encoding: gzip",
    ] {
        assert_eq!(answers(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n1").as_bytes()), Err(Malformed), "{head}");
    }
    for chunks in ["\r\n", "-1\r\n", "g\r\n", "1\r\nab\r\n", "1\nab", &format!("{}\r\n", "0".repeat(9000))] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(answers(bytes.as_bytes()), Err(Malformed), "{chunks}");
    }
    assert_eq!(answers(b"SSH-2.0-OpenSSH\r\n"), Err(Malformed));
    assert_eq!(answers(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)).as_bytes()), Err(Malformed));
}
