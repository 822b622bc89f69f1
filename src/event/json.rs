//! Events as JSON lines, for scripts that drive a server.

use std::fmt::{self, Display, Write};

use super::{Address, Cause, Event, ExitStatus, Message, RolloutResult, Shutdown, WorkerRef};

impl Event {
    /// One JSON object without a line end, such as
    /// `{"event":"listening","slot":0,"id":1,"pid":4242,"address":"127.0.0.1:8000"}`.
    ///
    /// Field order is fixed; times are in milliseconds; of messages it tells the size, not the content; an exit has a
    /// `code` or a `signal`, the other is `null` (both are if the status is unknown).
    pub fn to_json(&self) -> String {
        let mut line = Object::new(self.name());
        match self {
            Event::Fork(worker)
            | Event::Online(worker)
            | Event::Ready(worker)
            | Event::Writable(worker)
            | Event::Disconnect(worker) => line.worker(worker),
            Event::Listening { worker, address } => line.worker(worker).text("address", &address.to_string()),
            Event::Message { worker, message } => line.worker(worker).message(message),
            Event::Exit { worker, status, cause, uptime } => {
                line.worker(worker).status(*status).text("cause", cause.word()).raw("uptime_ms", uptime.as_millis())
            }
            Event::ForkFailed { slot, id, error } => {
                line.raw("slot", slot).raw("id", id).text("error", &format!("{error:?}"))
            }
            Event::Backoff { slot, delay, deaths } => {
                line.raw("slot", slot).raw("delay_ms", delay.as_millis()).raw("deaths", deaths)
            }
            Event::Reply { request, result: Ok(message) } => line.raw("request", request).message(message),
            Event::Reply { request, result: Err(error) } => {
                line.raw("request", request).text("error", &format!("{error:?}"))
            }
            Event::AllReady { pid, addresses, workers } => {
                line.raw("pid", pid).addresses(addresses).raw("workers", workers)
            }
            Event::Hung { worker, since: time } | Event::Recovered { worker, after: time } => {
                line.worker(worker).raw("for_ms", time.as_millis())
            }
            Event::RolloutStarted(id) => line.raw("id", id),
            Event::RolloutEnded { id, result } => line.raw("id", id).text("result", result.word()).reason(result),
            Event::Stranger { address } => line.text("address", &address.to_string()),
            Event::Stopping(how) => line.text("how", how.word()),
        };
        line.close()
    }

    fn name(&self) -> &'static str {
        match self {
            Event::Fork(_) => "fork",
            Event::ForkFailed { .. } => "fork_failed",
            Event::Online(_) => "online",
            Event::Listening { .. } => "listening",
            Event::Ready(_) => "ready",
            Event::Message { .. } => "message",
            Event::Reply { .. } => "reply",
            Event::Writable(_) => "writable",
            Event::AllReady { .. } => "all_ready",
            Event::Disconnect(_) => "disconnect",
            Event::Exit { .. } => "exit",
            Event::Backoff { .. } => "backoff",
            Event::Hung { .. } => "hung",
            Event::Recovered { .. } => "recovered",
            Event::RolloutStarted(_) => "rollout_started",
            Event::RolloutEnded { .. } => "rollout_ended",
            Event::Stranger { .. } => "stranger",
            Event::Stopping(_) => "stopping",
        }
    }
}

impl Cause {
    fn word(self) -> &'static str {
        match self {
            Cause::Own => "own",
            Cause::Asked => "asked",
            Cause::Rollout => "rollout",
            Cause::Scaled => "scaled",
            Cause::Recycled => "recycled",
            Cause::Hung => "hung",
            Cause::NotReady => "not_ready",
            Cause::Killed => "killed",
        }
    }
}

impl Shutdown {
    fn word(self) -> &'static str {
        match self {
            Shutdown::Drain => "drain",
            Shutdown::Now => "now",
        }
    }
}

/// An object under construction: always valid up to the closing brace.
struct Object(String);

impl Object {
    fn new(event: &str) -> Self {
        let mut object = Self(String::from("{"));
        object.text("event", event);
        object
    }

    fn raw(&mut self, key: &str, value: impl Display) -> &mut Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        write!(self.0, "{comma}\"{key}\":{value}").expect("writing to a String cannot fail");
        self
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(key, Quoted(value))
    }

    fn number_or_null(&mut self, key: &str, value: Option<i32>) -> &mut Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self.raw(key, "null"),
        }
    }

    fn worker(&mut self, worker: &WorkerRef) -> &mut Self {
        self.raw("slot", worker.slot).raw("id", worker.id).raw("pid", worker.pid)
    }

    fn status(&mut self, status: ExitStatus) -> &mut Self {
        let signal = status.signal().map(|signal| signal.as_raw());
        self.number_or_null("code", status.code()).number_or_null("signal", signal)
    }

    fn addresses(&mut self, addresses: &[Address]) -> &mut Self {
        let addresses: Vec<String> = addresses.iter().map(|address| Quoted(&address.to_string()).to_string()).collect();
        self.raw("addresses", format_args!("[{}]", addresses.join(",")))
    }

    fn reason(&mut self, result: &RolloutResult) -> &mut Self {
        let RolloutResult::Aborted { slot, why } = result else { return self };
        match slot {
            Some(slot) => self.raw("slot", slot),
            None => self.raw("slot", "null"),
        };
        self.text("why", &format!("{why:?}"))
    }

    fn message(&mut self, message: &Message) -> &mut Self {
        self.raw("bytes", message.bytes.len()).raw("fds", message.fds.len())
    }

    fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                control if u32::from(control) < 0x20 => write!(f, "\\u{:04x}", u32::from(control))?,
                plain => f.write_char(plain)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::*;
    use crate::{
        error::{Error, Kind},
        id::{Slot, WorkerId},
    };

    const WORKER: WorkerRef = WorkerRef { slot: Slot::ZERO, id: WorkerId::FIRST, pid: 4242 };

    #[test]
    fn the_lines_are_those_of_the_convention() {
        let address = Address::new("http".into(), SocketAddr::from(([127, 0, 0, 1], 8000)));
        let listening = Event::Listening { worker: WORKER, address: address.clone() };
        assert_eq!(
            listening.to_json(),
            r#"{"event":"listening","slot":0,"id":1,"pid":4242,"address":"127.0.0.1:8000"}"#
        );
        let status = ExitStatus::from_wait_status(9);
        let exit = Event::Exit { worker: WORKER, status, cause: Cause::Own, uptime: Duration::from_micros(1_234_567) };
        assert_eq!(
            exit.to_json(),
            r#"{"event":"exit","slot":0,"id":1,"pid":4242,"code":null,"signal":9,"cause":"own","uptime_ms":1234}"#
        );
        let stranger = Event::Stranger { address: address.clone() };
        assert_eq!(stranger.to_json(), r#"{"event":"stranger","address":"127.0.0.1:8000"}"#);
        let all = Event::AllReady { pid: 7, addresses: vec![address], workers: 2 };
        assert_eq!(all.to_json(), r#"{"event":"all_ready","pid":7,"addresses":["127.0.0.1:8000"],"workers":2}"#);
    }

    #[test]
    fn text_is_escaped() {
        let error = Error::new(Kind::System, "a \"b\"\\\n");
        let event = Event::ForkFailed { slot: Slot::ZERO, id: WorkerId::FIRST, error };
        assert_eq!(event.to_json(), r#"{"event":"fork_failed","slot":0,"id":1,"error":"a \"b\"\\\u000a"}"#);
    }
}
