//! What each path answers. Pure but for [`Host`], which the worker and the tests implement.

use std::{borrow::Cow, fmt::Display, time::Duration};

use crate::{
    request::{Request, number},
    status::Status,
};

/// What the answers need to know about the process that gives them.
pub(crate) trait Host {
    fn worker(&self) -> impl Display;
    fn pid(&self) -> u32;
    fn is_draining(&self) -> bool;
    /// A request is answered.
    fn count(&self);
    /// Blocks the thread, and with it every connection of this worker: that is what `/sleep` is for.
    fn sleep(&self, time: Duration);
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) body: Body,
    /// End the process with this code once the answer is written.
    pub(crate) exit: Option<u8>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Text(Cow<'static, str>),
    Filler(u64),
}

enum Route {
    Hello,
    Cluster,
    Pid,
    Sleep(Duration),
    Bytes(u64),
    Exit(u8),
}

impl Answer {
    pub(crate) fn to(request: &Request<'_>, host: &impl Host) -> Answer {
        let route = match Route::find(request.path) {
            Ok(route) => route,
            Err(refusal) => return refusal,
        };
        if !matches!(request.method, "GET" | "HEAD") {
            return Answer::refusal(Status::MethodNotAllowed);
        }
        match route {
            Route::Hello => Answer::ok("Hello, World!"),
            Route::Cluster => Answer::ok(format!("Running on worker with id ==> {}", host.worker())),
            Route::Pid => Answer::ok(host.pid().to_string()),
            Route::Sleep(time) => {
                host.sleep(time);
                Answer::ok(format!("slept {} ms", time.as_millis()))
            }
            Route::Bytes(count) => Answer { status: Status::Ok, body: Body::Filler(count), exit: None },
            Route::Exit(code) => Answer { exit: Some(code), ..Answer::ok(format!("exiting with code {code}")) },
        }
    }

    pub(crate) fn refusal(status: Status) -> Answer {
        let (_code, reason) = status.line().split_at(4);
        Answer { status, body: Body::Text(reason.into()), exit: None }
    }

    fn ok(text: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status: Status::Ok, body: Body::Text(text.into()), exit: None }
    }
}

impl Route {
    fn find(path: &str) -> Result<Route, Answer> {
        match path {
            "/" => return Ok(Route::Hello),
            "/cluster" => return Ok(Route::Cluster),
            "/pid" => return Ok(Route::Pid),
            _with_a_number => {}
        }
        let (name, value) = path.rsplit_once('/').unwrap_or_default();
        let up_to = |limit: u64| match number(value.as_bytes()) {
            Some(number) if number <= limit => Ok(number),
            _other => {
                let text = format!("{name}/N takes N from 0 to {limit}");
                Err(Answer { body: Body::Text(text.into()), ..Answer::refusal(Status::BadRequest) })
            }
        };
        match name {
            "/sleep" => up_to(MAX_SLEEP_MS).map(|ms| Route::Sleep(Duration::from_millis(ms))),
            "/bytes" => up_to(MAX_BYTES).map(Route::Bytes),
            "/exit" => up_to(u8::MAX.into()).map(|code| Route::Exit(code as u8)),
            _unknown => Err(Answer::refusal(Status::NotFound)),
        }
    }
}

/// Long enough for every test of hung workers, and the worker is not lost for ever.
const MAX_SLEEP_MS: u64 = 60_000;

const MAX_BYTES: u64 = 64 << 20;
