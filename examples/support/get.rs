//! Just enough HTTP/1 for the small examples: GET, keep-alive and pipelining; `http_server` is the whole of it.

use mio_cluster::Io;

/// Answers the request at the beginning of `input` with what `page` makes of its path, `None` being 404. Returns how
/// many bytes it has taken: 0 if the head is not complete.
pub(crate) fn answer(io: &mut Io<'_>, input: &[u8], page: impl FnOnce(&mut Io<'_>, &str) -> Option<String>) -> usize {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return 0,
        Err(_) => return refuse(io, input, "400 Bad Request"),
    };
    if request.method != Some("GET") {
        // Its body would be taken for the next request.
        return refuse(io, input, "405 Method Not Allowed");
    }
    io.requests(1);
    let said_close = request
        .headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close"));
    let last = said_close || request.version == Some(0) || io.is_draining();
    match page(io, request.path.unwrap_or("/")) {
        Some(body) => write(io, "200 OK", &body, last),
        None => write(io, "404 Not Found", "", last),
    }
    length
}

fn refuse(io: &mut Io<'_>, input: &[u8], status: &str) -> usize {
    write(io, status, "", true);
    input.len()
}

fn write(io: &mut Io<'_>, status: &str, body: &str, last: bool) {
    let close = if last { "Connection: close\r\n" } else { "" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{close}\r\n", body.len());
    io.write(head.as_bytes());
    io.write(body.as_bytes());
    if last {
        io.close();
    }
}
