//! The head of one HTTP/1 request, parsed and checked (RFC 9112). Pure.
//!
//! Whatever could be read in two ways (two lengths, a length and a transfer encoding) is refused: behind a proxy that
//! reads it the other way it would be request smuggling.

use httparse::{EMPTY_HEADER, Error, Header, Status as Parsed};

use crate::status::Status;

#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Without the query; of a target in absolute form (`http://host/path`) only the path.
    pub(crate) path: &'a str,
    /// Bytes of the head, with the empty line.
    pub(crate) head: usize,
    /// Bytes of the body behind it.
    pub(crate) body: u64,
    pub(crate) http_1_0: bool,
    pub(crate) keep_alive: bool,
}

impl<'a> Request<'a> {
    /// `None`: the head is not complete. An error is the answer to give before closing, because where the next request
    /// begins is unknown.
    pub(crate) fn parse(input: &'a [u8]) -> Result<Option<Request<'a>>, Status> {
        let mut headers = [EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut headers);
        // Only ever this much, so that the answer does not depend on how the bytes arrive.
        let window = &input[..input.len().min(MAX_HEAD)];
        let head = match parsed.parse(window) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) if window.len() == MAX_HEAD => return Err(Status::HeadTooLarge),
            Ok(Parsed::Partial) => return Ok(None),
            Err(Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
            Err(_malformed) => return Err(Status::BadRequest),
        };
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Status::BadRequest);
        };
        let fields = Fields::read(parsed.headers)?;
        let http_1_0 = version == 0;
        fields.check(http_1_0)?;
        let body = fields.length.unwrap_or(0);
        let keep_alive = fields.keeps_alive(http_1_0, body);
        Ok(Some(Request { method, path: path(target), head, body, http_1_0, keep_alive }))
    }
}

/// The header fields that the connection depends on.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    transfer_encoding: bool,
    close: bool,
    keep_alive: bool,
    expect: bool,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Fields, Status> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                fields.hosts += 1;
            } else if is("content-length") {
                let length = number(header.value).ok_or(Status::BadRequest)?;
                if fields.length.replace(length).is_some_and(|other| other != length) {
                    return Err(Status::BadRequest);
                }
            } else if is("transfer-encoding") {
                fields.transfer_encoding = true;
            } else if is("connection") {
                fields.close |= lists(header.value, "close");
                fields.keep_alive |= lists(header.value, "keep-alive");
            } else if is("expect") {
                fields.expect = true;
            }
        }
        Ok(fields)
    }

    fn check(&self, http_1_0: bool) -> Result<(), Status> {
        match (self.transfer_encoding, self.length) {
            (true, Some(_)) => return Err(Status::BadRequest),
            (true, None) => return Err(Status::NotImplemented),
            (false, _) => {}
        }
        let host_is_clear = self.hosts == 1 || (http_1_0 && self.hosts == 0);
        if host_is_clear { Ok(()) } else { Err(Status::BadRequest) }
    }

    fn keeps_alive(&self, http_1_0: bool, body: u64) -> bool {
        // A client that waits for "100 Continue" may or may not send its body after the final answer.
        let body_may_be_missing = self.expect && body > 0;
        !self.close && !body_may_be_missing && (self.keep_alive || !http_1_0)
    }
}

/// Digits only: `str::parse` would take a sign, too.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn lists(value: &[u8], token: &str) -> bool {
    value.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn path(target: &str) -> &str {
    let path = match target.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http://") => {
            target[7..].find('/').map_or("/", |at| &target[7 + at..])
        }
        _origin_form => target,
    };
    path.split_once('?').map_or(path, |(path, _query)| path)
}

/// Larger than what browsers and proxies send, small enough to hold for every connection.
const MAX_HEAD: usize = 16 << 10;

/// httparse needs the room beforehand; Apache's limit is 100, ordinary clients send 20.
const MAX_FIELDS: usize = 64;
