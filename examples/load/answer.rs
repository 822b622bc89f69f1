//! The answers that come on one connection, from pieces of any size. Strict: what two readers could understand in two
//! ways is malformed.

use httparse::{EMPTY_HEADER, Header, Response, Status};

pub(crate) struct Reader {
    phase: Phase,
    /// Of a head, or of a line between chunks, what has come if it is not complete.
    partial: Vec<u8>,
    /// The first bytes of the body, at most so many as are kept.
    body: Vec<u8>,
    kept: usize,
    status: u16,
    last: bool,
}

/// A whole answer. Its body is [`Reader::body`] until the next one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The server closes the connection.
    pub(crate) last: bool,
}

/// Why these bytes are no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// The body is what comes until the connection ends.
    Rest,
}

impl Reader {
    /// Keeps so many bytes of each body.
    pub(crate) fn keeping(kept: usize) -> Self {
        Self { phase: Phase::Head, partial: Vec::new(), body: Vec::new(), kept, status: 0, last: false }
    }

    /// Whether an answer has begun that is not whole.
    pub(crate) fn is_inside(&self) -> bool {
        self.phase != Phase::Head || !self.partial.is_empty()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes from `input` what belongs to the current answer, and returns it when it is whole. `None`: all of `input`
    /// is taken, and more has to come.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Answer>, Malformed> {
        loop {
            match self.phase {
                Phase::Head => match self.head(input)? {
                    Some(phase) => self.phase = phase,
                    None => return Ok(None),
                },
                Phase::Length(left) => match self.content(input, left) {
                    0 => return Ok(Some(self.whole())),
                    left => {
                        self.phase = Phase::Length(left);
                        return Ok(None);
                    }
                },
                Phase::Rest => {
                    let _endless = self.content(input, u64::MAX);
                    return Ok(None);
                }
                Phase::Chunk(left) => match self.content(input, left) {
                    0 => self.phase = Phase::ChunkEnd,
                    left => {
                        self.phase = Phase::Chunk(left);
                        return Ok(None);
                    }
                },
                Phase::ChunkSize | Phase::ChunkEnd | Phase::Trailer => {
                    if !self.line(input)? {
                        return Ok(None);
                    }
                    if self.between_chunks()? {
                        return Ok(Some(self.whole()));
                    }
                }
            }
        }
    }

    /// The server has closed in order: an answer without a length is whole by that.
    pub(crate) fn end(&mut self) -> Option<Answer> {
        (self.phase == Phase::Rest).then(|| self.whole())
    }

    fn whole(&mut self) -> Answer {
        self.phase = Phase::Head;
        Answer { status: self.status, last: self.last }
    }

    /// How the body comes, if the head is complete.
    fn head(&mut self, input: &mut &[u8]) -> Result<Option<Phase>, Malformed> {
        if self.partial.is_empty() {
            return self.complete_head(input);
        }
        // A head that comes in small pieces is not parsed with each of them.
        if !input.contains(&b'\n') && self.partial.len() + input.len() <= LONGEST_HEAD {
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        let before = self.partial.len();
        let mut head = std::mem::take(&mut self.partial);
        head.extend_from_slice(input);
        let mut rest = head.as_slice();
        let phase = self.complete_head(&mut rest)?;
        let taken = head.len() - rest.len();
        *input = &input[taken.saturating_sub(before)..];
        Ok(phase)
    }

    fn complete_head(&mut self, input: &mut &[u8]) -> Result<Option<Phase>, Malformed> {
        loop {
            if input.is_empty() {
                return Ok(None);
            }
            let mut headers = [EMPTY_HEADER; MOST_HEADERS];
            let mut response = Response::new(&mut headers);
            match response.parse(input) {
                Ok(Status::Complete(length)) => {
                    let (status, version) = (response.code.unwrap_or(0), response.version.unwrap_or(0));
                    let head = Head::of(response.headers, version)?;
                    *input = &input[length..];
                    if (100..200).contains(&status) && status != SWITCHING {
                        continue;
                    }
                    (self.status, self.last) = (status, head.last);
                    self.body.clear();
                    return Ok(Some(head.body(status)));
                }
                Ok(Status::Partial) if input.len() <= LONGEST_HEAD => {
                    self.partial.extend_from_slice(input);
                    *input = &[];
                    return Ok(None);
                }
                Ok(Status::Partial) | Err(_) => return Err(Malformed),
            }
        }
    }

    /// Takes up to `left` bytes of a body; how many are left then.
    fn content(&mut self, input: &mut &[u8], left: u64) -> u64 {
        let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let (content, rest) = input.split_at(count);
        let room = self.kept.saturating_sub(self.body.len());
        self.body.extend_from_slice(&content[..count.min(room)]);
        *input = rest;
        left - count as u64
    }

    /// Whether `partial` holds a whole line, without its end.
    fn line(&mut self, input: &mut &[u8]) -> Result<bool, Malformed> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let (piece, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        self.partial.extend_from_slice(piece);
        *input = rest;
        if self.partial.len() > LONGEST_LINE {
            return Err(Malformed);
        }
        if end.is_none() {
            return Ok(false);
        }
        let line = self.partial.strip_suffix(b"\r\n").ok_or(Malformed)?.len();
        self.partial.truncate(line);
        Ok(true)
    }

    /// What the line in `partial` means; whether it was the last one.
    fn between_chunks(&mut self) -> Result<bool, Malformed> {
        let line = std::mem::take(&mut self.partial);
        self.phase = match self.phase {
            Phase::ChunkSize => match chunk_size(&line)? {
                0 => Phase::Trailer,
                size => Phase::Chunk(size),
            },
            Phase::ChunkEnd if line.is_empty() => Phase::ChunkSize,
            Phase::Trailer if line.is_empty() => return Ok(true),
            Phase::Trailer => Phase::Trailer,
            Phase::ChunkEnd | Phase::Head | Phase::Length(_) | Phase::Chunk(_) | Phase::Rest => return Err(Malformed),
        };
        Ok(false)
    }
}

/// What the headers say about what follows.
struct Head {
    length: Option<u64>,
    chunked: bool,
    last: bool,
}

impl Head {
    fn of(headers: &[Header<'_>], version: u8) -> Result<Self, Malformed> {
        let mut this = Self { length: None, chunked: false, last: version == 0 };
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = number(header.value, 10)?;
                if this.length.is_some_and(|before| before != length) {
                    return Err(Malformed);
                }
                this.length = Some(length);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                this.chunked = header.value.eq_ignore_ascii_case(b"chunked");
                if !this.chunked {
                    return Err(Malformed);
                }
            } else if header.name.eq_ignore_ascii_case("connection") {
                this.last = match &header.value.to_ascii_lowercase()[..] {
                    b"close" => true,
                    b"keep-alive" => false,
                    _other => this.last,
                };
            }
        }
        if this.chunked && this.length.is_some() { Err(Malformed) } else { Ok(this) }
    }

    fn body(&self, status: u16) -> Phase {
        match self.length {
            _ if [SWITCHING, NO_CONTENT, NOT_MODIFIED].contains(&status) => Phase::Length(0),
            _ if self.chunked => Phase::ChunkSize,
            Some(length) => Phase::Length(length),
            None => Phase::Rest,
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
    number(size.trim_ascii_end(), 16)
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let digits = !text.is_empty() && text.chars().all(|char| char.is_digit(radix));
    if digits { u64::from_str_radix(text, radix).map_err(|_| Malformed) } else { Err(Malformed) }
}

const SWITCHING: u16 = 101;
const NO_CONTENT: u16 = 204;
const NOT_MODIFIED: u16 = 304;

const MOST_HEADERS: usize = 100;

/// Nobody sends more in a head.
const LONGEST_HEAD: usize = 64 << 10;

/// A chunk's size with its extensions, a trailer's field.
const LONGEST_LINE: usize = 8 << 10;
