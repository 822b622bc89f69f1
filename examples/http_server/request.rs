//! The head of one HTTP/1 request, parsed and checked (RFC 9112). Pure.
//!
//! Whatever could be read in two ways (two lengths, a length beside a transfer encoding, a line that ends without a CR)
//! is refused: behind a proxy that reads it the other way it would be request smuggling. httparse refuses spaces before
//! a colon, folded lines, control characters, a CR without an LF, and names that are no tokens; the rest is done here.
//!
//! The verdict depends on the bytes and never on the pieces in which they come.

use std::mem::{self, MaybeUninit};

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
    pub(crate) connection: Connection,
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

/// What becomes of the connection behind the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Connection {
    /// It stays, as is usual since HTTP/1.1.
    Stays,
    /// It stays, as a client of HTTP/1.0 has asked for.
    KeptAlive,
    Closes,
}

impl<'a> Request<'a> {
    /// `input`: without empty lines in front. `None`: the head is not complete. An error is the answer to give before
    /// closing, because where the next request begins is unknown.
    #[inline]
    pub(crate) fn parse(input: &'a [u8]) -> Result<Option<Request<'a>>, Status> {
        // Only ever this much, so that the verdict does not depend on how the bytes arrive.
        let window = &input[..input.len().min(MAX_HEAD)];
        if window.first() == Some(&b'\n') {
            return Err(Status::BadRequest);
        }
        let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        let head = match parsed.parse_with_uninit_headers(window, &mut room) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) => return incomplete(window).map(|()| None),
            Err(Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
            Err(Error::Version) => return other_version(window).map(|()| None),
            Err(_malformed) => return Err(Status::BadRequest),
        };
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Status::BadRequest);
        };
        let lines = &window[..head];
        if !ends_with_cr(lines, target.as_bytes(), " HTTP/1.1".len()) || !lines.ends_with(b"\r\n") {
            return Err(Status::BadRequest);
        }
        let mut fields = Fields::none();
        fields.read(parsed.headers, lines, version == 0)?;
        let method = Method::of(method);
        Ok(Some(Request {
            method,
            path: path(target, method)?,
            head,
            length: fields.length,
            expects_continue: fields.expects_continue && fields.length != Length::Fixed(0),
            connection: fields.connection(version == 0),
        }))
    }

    /// Only the head of the answer is asked for.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::Head
    }
}

impl Method {
    #[inline]
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
struct Fields {
    has_host: bool,
    has_length: bool,
    length: Length,
    expects_continue: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    #[inline]
    fn read(&mut self, headers: &[Header<'_>], head: &[u8], http_1_0: bool) -> Result<(), Status> {
        for &Header { name, value } in headers {
            if !ends_with_cr(head, value, 0) {
                return Err(Status::BadRequest);
            }
            // By the length first: most fields are none of these.
            match name.len() {
                4 if is(name, "Host") => self.host(value)?,
                6 if is(name, "Expect") => self.expect(value, http_1_0)?,
                10 if is(name, "Connection") => self.options(value),
                14 if is(name, "Content-Length") => self.body(fixed(value))?,
                17 if is(name, "Transfer-Encoding") => self.body(encoded(value, http_1_0))?,
                _of_no_interest => {}
            }
        }
        if self.has_host || http_1_0 { Ok(()) } else { Err(Status::BadRequest) }
    }

    fn none() -> Self {
        Self {
            has_host: false,
            has_length: false,
            length: Length::Fixed(0),
            expects_continue: false,
            close: false,
            keep_alive: false,
        }
    }

    #[inline]
    fn host(&mut self, value: &[u8]) -> Result<(), Status> {
        let is_valid = value.iter().fold(true, |valid, &byte| valid & OF_HOSTS[usize::from(byte)]);
        if mem::replace(&mut self.has_host, true) || !is_valid { Err(Status::BadRequest) } else { Ok(()) }
    }

    /// HTTP/1.0 knows no expectations.
    #[cold]
    fn expect(&mut self, value: &[u8], http_1_0: bool) -> Result<(), Status> {
        self.expects_continue = !http_1_0;
        let is_known = http_1_0 || value.eq_ignore_ascii_case(b"100-continue");
        if is_known { Ok(()) } else { Err(Status::ExpectationFailed) }
    }

    #[inline(never)]
    fn options(&mut self, value: &[u8]) {
        for item in items(value) {
            self.close |= item.eq_ignore_ascii_case(b"close");
            self.keep_alive |= item.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Two of them, of whichever kind, could be read in two ways.
    #[inline(never)]
    fn body(&mut self, length: Result<Length, Status>) -> Result<(), Status> {
        if mem::replace(&mut self.has_length, true) {
            return Err(Status::BadRequest);
        }
        self.length = length?;
        Ok(())
    }

    fn connection(&self, http_1_0: bool) -> Connection {
        match (http_1_0, self.keep_alive) {
            _ if self.close => Connection::Closes,
            (false, _) => Connection::Stays,
            (true, true) => Connection::KeptAlive,
            (true, false) => Connection::Closes,
        }
    }
}

/// In the usual spelling or another one.
#[inline]
fn is(name: &str, usual: &str) -> bool {
    name == usual || name.eq_ignore_ascii_case(usual)
}

#[inline(never)]
fn fixed(value: &[u8]) -> Result<Length, Status> {
    let length = number(value).ok_or(Status::BadRequest)?;
    match usize::try_from(length) {
        Ok(length) if length <= MAX_BODY => Ok(Length::Fixed(length)),
        _too_large => Err(Status::ContentTooLarge),
    }
}

/// Without "chunked" as the last encoding the body would have no end; others are unknown here.
#[inline(never)]
fn encoded(value: &[u8], http_1_0: bool) -> Result<Length, Status> {
    let is_chunked = |item: &[u8]| item.eq_ignore_ascii_case(b"chunked");
    let last = items(value).next_back().unwrap_or_default();
    match items(value).filter(|item| is_chunked(item)).count() {
        _ if http_1_0 || last.is_empty() => Err(Status::BadRequest),
        0 => Err(Status::NotImplemented),
        1 if is_chunked(value) => Ok(Length::Chunked),
        1 if is_chunked(last) => Err(Status::NotImplemented),
        _not_last_or_twice => Err(Status::BadRequest),
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
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let (first, rest) = digits.split_first()?;
    rest.iter().try_fold(digit(first)?, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?))
}

fn items(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

#[inline]
fn path(target: &str, method: Method) -> Result<&str, Status> {
    let path = if target.starts_with('/') { target } else { path_of_other_form(target, method)? };
    match path.bytes().position(|byte| byte == b'?') {
        Some(0) => Ok("/"),
        Some(query) => Ok(&path[..query]),
        None => Ok(path),
    }
}

#[cold]
fn path_of_other_form(target: &str, method: Method) -> Result<&str, Status> {
    let Some(authority) = without_scheme(target) else {
        // `OPTIONS *` and `CONNECT host:port`.
        return if method == Method::Other { Ok(target) } else { Err(Status::BadRequest) };
    };
    match authority.find(['/', '?']) {
        Some(0) => Err(Status::BadRequest),
        Some(end) => Ok(&authority[end..]),
        None if authority.is_empty() => Err(Status::BadRequest),
        None => Ok("/"),
    }
}

fn without_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let begin = target.get(..scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    })
}

#[inline(never)]
fn incomplete(window: &[u8]) -> Result<(), Status> {
    match window.contains(&b'\n') {
        _ if window.len() < MAX_HEAD => Ok(()),
        true => Err(Status::HeadTooLarge),
        false => Err(Status::UriTooLong),
    }
}

/// Neither 1.0 nor 1.1.
#[cold]
fn other_version(window: &[u8]) -> Result<(), Status> {
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
