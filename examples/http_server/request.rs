//! The head of one HTTP/1 request, parsed and checked (RFC 9112). Pure.
//!
//! Whatever could be read in two ways (two lengths, a length beside a transfer encoding, a line that ends without a CR)
//! is refused: behind a proxy that reads it the other way it would be request smuggling. httparse refuses spaces before
//! a colon, folded lines, control characters, a CR without an LF, and names that are no tokens; the rest is done here.
//!
//! The verdict depends on the bytes and never on the pieces in which they come.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status as Parsed};

use crate::{body::MAX_BODY, status::Status};

#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Without the query; of a target in absolute form (`http://host/path`) only the path.
    pub(crate) path: &'a str,
    /// Bytes of the head, with the empty line.
    pub(crate) head: usize,
    pub(crate) length: Length,
    /// The client waits for "100 Continue" before it sends the body.
    pub(crate) expects_continue: bool,
    pub(crate) http_1_0: bool,
    pub(crate) keep_alive: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    /// Known, and of no use here.
    Other,
    Unknown,
}

/// Of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// 0 without a body.
    Fixed(usize),
    Chunked,
}

impl<'a> Request<'a> {
    /// `input`: at least one byte, and no empty line in front. `None`: the head is not complete. An error is the answer
    /// to give before closing, because where the next request begins is unknown.
    #[inline]
    pub(crate) fn parse(input: &'a [u8]) -> Result<Option<Request<'a>>, Status> {
        // Only ever this much, so that the verdict does not depend on how the bytes arrive.
        let window = &input[..input.len().min(MAX_HEAD)];
        if window[0] == b'\n' {
            return Err(Status::BadRequest);
        }
        let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        let head = match parsed.parse_with_uninit_headers(window, &mut room) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) => return incomplete(window),
            Err(Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
            Err(Error::Version) => return other_version(window),
            Err(_malformed) => return Err(Status::BadRequest),
        };
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Status::BadRequest);
        };
        let lines = &window[..head];
        if !ends_with_cr(lines, target.as_bytes(), " HTTP/1.1".len()) || !lines.ends_with(b"\r\n") {
            return Err(Status::BadRequest);
        }
        let http_1_0 = version == 0;
        let fields = Fields::read(parsed.headers, lines)?;
        let method = Method::of(method);
        Ok(Some(Request {
            method,
            path: path(target, method)?,
            head,
            length: fields.length(http_1_0)?,
            expects_continue: fields.expects_continue(http_1_0)?,
            http_1_0,
            keep_alive: !fields.close && (fields.keep_alive || !http_1_0),
        }))
    }

    /// Only the head of the answer is asked for.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::Head
    }
}

impl Method {
    fn of(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => Method::Other,
            _unknown => Method::Unknown,
        }
    }
}

/// The header fields that the connection depends on.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    lengths: usize,
    length: u64,
    encodings: usize,
    encoding: &'a [u8],
    close: bool,
    keep_alive: bool,
    expects: bool,
    expects_else: bool,
}

impl<'a> Fields<'a> {
    #[inline]
    fn read(headers: &[Header<'a>], head: &[u8]) -> Result<Self, Status> {
        let mut fields = Fields::default();
        for &Header { name, value } in headers {
            if !ends_with_cr(head, value, 0) {
                return Err(Status::BadRequest);
            }
            // By the length first: most fields are none of these.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {
                    fields.hosts += 1;
                    if !value.iter().fold(true, |all, &byte| all & OF_HOSTS[usize::from(byte)]) {
                        return Err(Status::BadRequest);
                    }
                }
                6 if name.eq_ignore_ascii_case("expect") => {
                    let is_known = value.eq_ignore_ascii_case(b"100-continue");
                    fields.expects |= is_known;
                    fields.expects_else |= !is_known;
                }
                10 if name.eq_ignore_ascii_case("connection") => {
                    fields.close |= items(value).any(|item| item.eq_ignore_ascii_case(b"close"));
                    fields.keep_alive |= items(value).any(|item| item.eq_ignore_ascii_case(b"keep-alive"));
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    fields.lengths += 1;
                    fields.length = number(value).ok_or(Status::BadRequest)?;
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    fields.encodings += 1;
                    fields.encoding = value;
                }
                _of_no_interest => {}
            }
        }
        Ok(fields)
    }

    fn length(&self, http_1_0: bool) -> Result<Length, Status> {
        if self.hosts != 1 && !(http_1_0 && self.hosts == 0) {
            return Err(Status::BadRequest);
        }
        match (self.encodings, self.lengths) {
            (0, 0) => Ok(Length::Fixed(0)),
            (0, 1) => match usize::try_from(self.length) {
                Ok(length) if length <= MAX_BODY => Ok(Length::Fixed(length)),
                _too_large => Err(Status::ContentTooLarge),
            },
            (1, 0) if !http_1_0 => self.chunked(),
            _twofold_or_of_1_1 => Err(Status::BadRequest),
        }
    }

    /// Without "chunked" as the last encoding the body would have no end.
    fn chunked(&self) -> Result<Length, Status> {
        let is_chunked = |item: &[u8]| item.eq_ignore_ascii_case(b"chunked");
        let chunked = items(self.encoding).filter(|item| is_chunked(item)).count();
        match items(self.encoding).next_back() {
            Some(last) if chunked == 1 && is_chunked(last) => {
                if is_chunked(self.encoding) {
                    Ok(Length::Chunked)
                } else {
                    Err(Status::NotImplemented)
                }
            }
            Some(last) if chunked == 0 && !last.is_empty() => Err(Status::NotImplemented),
            _empty_or_not_last => Err(Status::BadRequest),
        }
    }

    /// HTTP/1.0 knows no expectations.
    fn expects_continue(&self, http_1_0: bool) -> Result<bool, Status> {
        if self.expects_else && !http_1_0 {
            return Err(Status::ExpectationFailed);
        }
        Ok(self.expects && !http_1_0)
    }
}

/// Of the line that ends `beyond` bytes behind `part` of `head`, and with spaces in between: httparse lets a line end
/// with an LF alone.
fn ends_with_cr(head: &[u8], part: &[u8], beyond: usize) -> bool {
    let mut end = part.as_ptr().addr() - head.as_ptr().addr() + part.len() + beyond;
    while let b' ' | b'\t' = head[end] {
        end += 1;
    }
    head[end] == b'\r'
}

/// Digits only: `str::parse` would take a sign, too.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn items(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn path(target: &str, method: Method) -> Result<&str, Status> {
    let path = if target.starts_with('/') {
        target
    } else if let Some(authority) = without_scheme(target) {
        match authority.find(['/', '?']) {
            Some(0) => return Err(Status::BadRequest),
            Some(end) => &authority[end..],
            None if authority.is_empty() => return Err(Status::BadRequest),
            None => "/",
        }
    } else if method == Method::Other {
        // `OPTIONS *` and `CONNECT host:port`.
        target
    } else {
        return Err(Status::BadRequest);
    };
    match path.bytes().position(|byte| byte == b'?') {
        Some(0) => Ok("/"),
        Some(query) => Ok(&path[..query]),
        None => Ok(path),
    }
}

fn without_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let begin = target.get(..scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    })
}

fn incomplete<'a>(window: &[u8]) -> Result<Option<Request<'a>>, Status> {
    match window.contains(&b'\n') {
        _ if window.len() < MAX_HEAD => Ok(None),
        true => Err(Status::HeadTooLarge),
        false => Err(Status::UriTooLong),
    }
}

/// Neither 1.0 nor 1.1.
fn other_version<'a>(window: &[u8]) -> Result<Option<Request<'a>>, Status> {
    let version = window.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default();
    let compared = version.len().min("HTTP/".len());
    let is_http = version[..compared] == b"HTTP/"[..compared];
    match version.get("HTTP/".len()..).unwrap_or_default() {
        _ if !is_http => Err(Status::BadRequest),
        [] | [b'1'] | [b'1', b'.'] => incomplete(window),
        [b'1', b'.', minor, ..] if minor.is_ascii_digit() => Err(Status::VersionNotSupported),
        [b'1', ..] => Err(Status::BadRequest),
        [major, ..] if major.is_ascii_digit() => Err(Status::VersionNotSupported),
        _malformed => Err(Status::BadRequest),
    }
}

/// What a host and a port consist of (RFC 3986, 3.2.2 and 3.2.3).
static OF_HOSTS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let other = b"-._~!$&'()*+,;=:%[]";
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        let mut at = 0;
        while at < other.len() {
            table[byte] |= other[at] == byte as u8;
            at += 1;
        }
        byte += 1;
    }
    table
};

/// Larger than what browsers and proxies send, small enough to hold for every connection.
const MAX_HEAD: usize = 16 << 10;

/// httparse needs the room beforehand; Apache's limit is 100, ordinary clients send 20.
const MAX_FIELDS: usize = 64;
