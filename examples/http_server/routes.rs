//! Which answer each path gives to which method. Pure.

use crate::{
    request::{Method, Request, number},
    status::Status,
};

/// To a request, once its body is here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Hello,
    Cluster,
    Pid,
    /// After so many milliseconds.
    Sleep(u64),
    Bytes(u64),
    Echo,
    /// And then the process ends with this code.
    Exit(u8),
    WrongNumber(&'static Numbered),
    WrongMethod(Allowed),
    /// In the words of the status.
    Plain(Status),
}

/// A path that ends with a number.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) path: &'static str,
    pub(crate) limit: u64,
    answer: fn(u64) -> Answer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Allowed {
    GetAndHead,
    Post,
}

impl Answer {
    #[inline]
    pub(crate) fn to(request: &Request<'_>) -> Answer {
        let answer = match Answer::at(request.path) {
            _any if request.method == Method::Unknown => return Answer::Plain(Status::NotImplemented),
            Ok(answer) => answer,
            Err(refusal) => return refusal,
        };
        match (answer, request.method) {
            (Answer::Echo, Method::Post) => Answer::Echo,
            (Answer::Echo, _) => Answer::WrongMethod(Allowed::Post),
            (_, Method::Get | Method::Head) => answer,
            (_, Method::Post | Method::Other | Method::Unknown) => Answer::WrongMethod(Allowed::GetAndHead),
        }
    }

    /// Whether the request did what its client wanted.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, Answer::WrongNumber(_) | Answer::WrongMethod(_) | Answer::Plain(_))
    }

    /// By a client that asks rightly; an error is the answer to everybody.
    fn at(path: &str) -> Result<Answer, Answer> {
        match path {
            "/" => return Ok(Answer::Hello),
            "/cluster" => return Ok(Answer::Cluster),
            "/pid" => return Ok(Answer::Pid),
            "/echo" => return Ok(Answer::Echo),
            _with_a_number => {}
        }
        let (path, value) = path.rsplit_once('/').unwrap_or_default();
        let numbered = NUMBERED.iter().find(|numbered| numbered.path == path);
        let numbered = numbered.ok_or(Answer::Plain(Status::NotFound))?;
        match number(value.as_bytes()) {
            Some(number) if number <= numbered.limit => Ok((numbered.answer)(number)),
            _other => Err(Answer::WrongNumber(numbered)),
        }
    }
}

static NUMBERED: [Numbered; 3] = [
    // Long enough for every test of hung workers, and the worker is not lost for ever.
    Numbered { path: "/sleep", limit: 60_000, answer: Answer::Sleep },
    Numbered { path: "/bytes", limit: 64 << 20, answer: Answer::Bytes },
    Numbered { path: "/exit", limit: u8::MAX as u64, answer: |code| Answer::Exit(code as u8) },
];
