//! The body of one request: where it ends, and its content without the framing (RFC 9112, 6 and 7.1). Pure.
//!
//! Everything in it is bounded: the content, and in chunked bodies the digits of a size, and what comes beside sizes
//! and content: extensions, which mean nothing here, and trailer fields, which are checked and dropped.

use crate::{request::Length, status::Status};

#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
    /// Bytes of content so far.
    length: usize,
    /// What came so far, if it is of use.
    kept: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are to come.
    Fixed(usize),
    Chunked(Chunks),
}

impl Body {
    pub(crate) fn new(length: Length, keep: bool) -> Self {
        let (framing, expected) = match length {
            Length::Fixed(length) => (Framing::Fixed(length), length.min(AT_ONCE)),
            Length::Chunked => (Framing::Chunked(Chunks::new()), 0),
        };
        Self { framing, length: 0, kept: keep.then(|| Vec::with_capacity(expected)) }
    }

    /// Returns how many bytes of `input` belong to the body, and whether that is all of it.
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<(usize, bool), Status> {
        let mut chunks = match &mut self.framing {
            Framing::Fixed(left) => {
                let (here, _) = input.split_at(input.len().min(*left));
                *left -= here.len();
                let is_all = *left == 0;
                self.add(here)?;
                return Ok((here.len(), is_all));
            }
            Framing::Chunked(chunks) => *chunks,
        };
        let mut used = 0;
        while chunks.step != Step::End && used < input.len() {
            let rest = &input[used..];
            if chunks.step == Step::Data {
                let (here, _) = rest.split_at(rest.len().min(chunks.left));
                self.add(here)?;
                chunks.took(here.len());
                used += here.len();
            } else {
                chunks.read(rest[0], MAX_BODY - self.length)?;
                used += 1;
            }
        }
        self.framing = Framing::Chunked(chunks);
        Ok((used, chunks.step == Step::End))
    }

    /// Empty unless it was to be kept.
    pub(crate) fn content(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    fn add(&mut self, content: &[u8]) -> Result<(), Status> {
        self.length += content.len();
        if self.length > MAX_BODY {
            return Err(Status::ContentTooLarge);
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(content);
        }
        Ok(())
    }
}

/// Where a chunked body has got to.
#[derive(Clone, Copy, Debug)]
struct Chunks {
    step: Step,
    /// Of the size that is being read, then of its chunk.
    left: usize,
    digits: u8,
    /// Bytes of extensions and trailer fields so far.
    beside: usize,
}

/// What is to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Size,
    /// Between the size and the semicolon.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer field or the empty line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

impl Chunks {
    fn new() -> Self {
        Self { step: Step::Size, left: 0, digits: 0, beside: 0 }
    }

    fn took(&mut self, content: usize) {
        self.left -= content;
        if self.left == 0 {
            self.step = Step::DataCr;
        }
    }

    /// One byte that is not content; `room`: so much content may still come.
    fn read(&mut self, byte: u8, room: usize) -> Result<(), Status> {
        self.step = match (self.step, byte) {
            (Step::Size, b'\r') if self.digits > 0 => Step::SizeLf,
            (Step::Size, b' ' | b'\t') if self.digits > 0 => self.beside(Step::Space)?,
            (Step::Size, b';') if self.digits > 0 => self.beside(Step::Extension)?,
            (Step::Size, digit) => self.digit(digit)?,
            (Step::Space, b' ' | b'\t') => self.beside(Step::Space)?,
            (Step::Space, b';') => self.beside(Step::Extension)?,
            (Step::Extension, b'\r') => Step::SizeLf,
            (Step::Extension, byte) if is_text(byte) => self.beside(Step::Extension)?,
            (Step::SizeLf, b'\n') if self.left > room => return Err(Status::ContentTooLarge),
            (Step::SizeLf, b'\n') => self.sized(),
            (Step::DataCr, b'\r') => Step::DataLf,
            (Step::DataLf, b'\n') => Step::Size,
            (Step::Trailer, b'\r') => Step::LastLf,
            (Step::Trailer | Step::TrailerName, byte) if is_token(byte) => self.beside(Step::TrailerName)?,
            (Step::TrailerName, b':') => self.beside(Step::TrailerValue)?,
            (Step::TrailerValue, b'\r') => Step::TrailerLf,
            (Step::TrailerValue, byte) if is_text(byte) => self.beside(Step::TrailerValue)?,
            (Step::TrailerLf, b'\n') => Step::Trailer,
            (Step::LastLf, b'\n') => Step::End,
            _malformed => return Err(Status::BadRequest),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<Step, Status> {
        let value = char::from(byte).to_digit(16).ok_or(Status::BadRequest)?;
        if self.digits == MAX_DIGITS {
            return Err(Status::BadRequest);
        }
        self.digits += 1;
        // A size that does not fit is larger than any that is allowed.
        self.left = self.left.checked_mul(16).map_or(usize::MAX, |left| left | value as usize);
        Ok(Step::Size)
    }

    fn sized(&mut self) -> Step {
        self.digits = 0;
        if self.left == 0 { Step::Trailer } else { Step::Data }
    }

    fn beside(&mut self, next: Step) -> Result<Step, Status> {
        self.beside += 1;
        if self.beside > MAX_BESIDE { Err(Status::HeadTooLarge) } else { Ok(next) }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Of content, in bytes: what a connection may make the worker hold.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Extensions and trailers of one body; as much as a head, and nobody sends any.
const MAX_BESIDE: usize = 16 << 10;

/// Of a chunk's size, leading zeros included: 64 bits.
const MAX_DIGITS: u8 = 16;

/// Of a length that is only announced, that much memory is taken before the content comes.
const AT_ONCE: usize = 64 << 10;
