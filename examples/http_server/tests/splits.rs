//! Any sequence of requests, and any bytes, in any pieces: the answers are those to the whole.

use proptest::prelude::*;

use super::Client;

proptest! {
    #[test]
    fn requests_are_answered_however_they_are_split(
        requests in prop::collection::vec(request(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        same_in_pieces(&requests.concat(), &cuts);
    }

    #[test]
    fn garbage_is_answered_however_it_is_split(
        garbage in prop::collection::vec(piece(), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        same_in_pieces(&garbage.concat(), &cuts);
    }
}

fn same_in_pieces(bytes: &[u8], cuts: &[prop::sample::Index]) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    let pieces: Vec<&[u8]> = begins.zip(ends).map(|(begin, end)| &bytes[begin..end]).collect();
    let without_continue = |(answers, next): (String, _)| (answers.replace("HTTP/1.1 100 Continue\r\n\r\n", ""), next);
    assert_eq!(without_continue(Client::told(&pieces)), without_continue(Client::told(&[bytes])));
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let target =
        prop::sample::select(vec!["/", "/pid", "/cluster?x", "/bytes/70000", "/nothing", "http://a/", "/echo"]);
    let method = prop::sample::select(vec!["GET", "GET", "HEAD", "POST", "PUT", "BREW"]);
    let fields = prop::sample::subsequence(
        vec!["Expect: 100-continue\r\n", "X: y\r\n", "Connection: keep-alive\r\n", "Accept:\r\n"],
        0..=4,
    );
    let version = prop::sample::select(vec!["1.1", "1.1", "1.0"]);
    let body = (prop::collection::vec(any::<u8>(), 0..300), prop::option::of(1..50_usize));
    (method, target, version, fields, body).prop_map(|(method, target, version, fields, (content, chunked))| {
        let (framing, body) = match chunked {
            Some(size) if version == "1.1" => ("Transfer-Encoding: chunked\r\n".to_owned(), chunks(&content, size)),
            _whole => (format!("Content-Length: {}\r\n", content.len()), content),
        };
        let fields = fields.concat();
        let head = format!("{method} {target} HTTP/{version}\r\nHost: a\r\n{fields}{framing}\r\n");
        [head.as_bytes(), &body].concat()
    })
}

fn chunks(content: &[u8], size: usize) -> Vec<u8> {
    let chunk = |chunk: &[u8]| [format!("{:x};e\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    content.chunks(size).flat_map(chunk).chain(*b"0\r\nTrailer: x\r\n\r\n").collect()
}

/// Of what looks like a request more or less.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "GET ",
        "POST ",
        "/",
        "/echo",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/2.0",
        "\r\n",
        "\n",
        "\r",
        " ",
        ":",
        ",",
        "Host: a\r\n",
        "Content-Length: ",
        "Transfer-Encoding: ",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "chunked\r\n",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        ";x",
        "X: y\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..5),
        1 => (0..3000_u32).prop_map(|number| number.to_string().into_bytes()),
    ]
}
