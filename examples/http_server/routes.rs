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
        let method = request.method;
        let to_get = |answer| match method {
            Method::Get | Method::Head => answer,
            Method::Post | Method::Other | Method::Unknown => Answer::WrongMethod(Allowed::GetAndHead),
        };
        match request.path {
            _any if method == Method::Unknown => Answer::Plain(Status::NotImplemented),
            "/" => to_get(Answer::Hello),
            "/cluster" => to_get(Answer::Cluster),
            "/pid" => to_get(Answer::Pid),
            "/echo" if method == Method::Post => Answer::Echo,
            "/echo" => Answer::WrongMethod(Allowed::Post),
            path => match Answer::with_number(path) {
                Ok(answer) => to_get(answer),
                Err(refusal) => refusal,
            },
        }
    }

    /// The content of the request would be of no use.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, Answer::WrongNumber(_) | Answer::WrongMethod(_) | Answer::Plain(_))
    }

    /// An error is the answer to every method.
    #[inline(never)]
    fn with_number(path: &str) -> Result<Answer, Answer> {
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
