//! A service that does what its clients say, line by line, and what a client must get for it.

use std::io;

use mio_cluster::{Closed, Deadline, Io, Posted, Service, Turn};

/// | line | answer |
/// |---|---|
/// | `say TEXT` | TEXT and a line's end |
/// | `bytes N` | N bytes, written at once |
/// | `stream N` | N bytes, piece by piece |
/// | `body N`, N bytes | `got N`; consumed piece by piece |
/// | `job TEXT` | TEXT, from another thread |
/// | `own MS` | none: a deadline |
/// | `close`, `linger`, `fail`, `abort` | the end |
///
/// Answers come in the order of the lines; what comes behind one that takes its time is held back.
pub(crate) struct Obedient;

/// What a connection is at.
#[derive(Default)]
pub(crate) struct Orders {
    held: Vec<u8>,
    body: Option<(usize, usize)>,
    stream: usize,
    waits_for_job: bool,
    wants_flushed: bool,
    /// Nothing is to come but the end.
    is_over: bool,
    peer_has_finished: bool,
}

enum How {
    Close,
    Linger,
    Fail,
    Abort,
}

impl Orders {
    fn is_busy(&self) -> bool {
        self.stream > 0 || self.waits_for_job
    }

    /// Obeys what can be obeyed; how much of it that was.
    fn obey_all(&mut self, io: &mut Io<'_>, input: &[u8]) -> usize {
        let mut used = 0;
        while used < input.len() && !self.is_busy() && !self.is_over {
            match self.obey(io, &input[used..]) {
                0 => break,
                count => used += count,
            }
        }
        used
    }

    fn obey(&mut self, io: &mut Io<'_>, input: &[u8]) -> usize {
        if let Some((length, left)) = self.body {
            let used = left.min(input.len());
            self.go_on(io, length, left - used);
            return used;
        }
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return 0 };
        let line = String::from_utf8_lossy(&input[..end]);
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        io.requests(1);
        match (word, rest.parse()) {
            ("say", _) => answer(io, rest),
            ("bytes", Ok(count)) => write(io, count),
            ("stream", Ok(count)) => self.stream(io, count),
            ("body", Ok(length)) => self.go_on(io, length, length),
            ("own", Ok(time)) => io.set_deadline(Some(std::time::Duration::from_millis(time as u64))),
            ("job", _) => self.employ(io, rest),
            ("fail", _) => self.end(io, How::Fail),
            ("linger", _) => self.end(io, How::Linger),
            ("abort", _) => self.end(io, How::Abort),
            ("close", _) | (_, _) => self.end(io, How::Close),
        }
        end + 1
    }

    fn go_on(&mut self, io: &mut Io<'_>, length: usize, left: usize) {
        self.body = (left > 0).then_some((length, left));
        io.set_in_request(left > 0);
        if left == 0 {
            answer(io, &format!("got {length}"));
        }
    }

    fn stream(&mut self, io: &mut Io<'_>, left: usize) {
        let piece = left.min(PIECE);
        write(io, piece);
        self.stream = left - piece;
        if self.stream > 0 {
            io.want_flushed();
            self.wants_flushed = true;
        }
    }

    fn employ(&mut self, io: &mut Io<'_>, text: &str) {
        let text = text.to_owned();
        match io.spawn(move || text) {
            Ok(()) => self.waits_for_job = true,
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                self.end(io, How::Abort);
            }
        }
    }

    fn end(&mut self, io: &mut Io<'_>, how: How) {
        self.is_over = true;
        match how {
            How::Close => io.close(),
            How::Fail => io.fail(io::Error::other("as it was told")),
            How::Linger => io.close_lingering(),
            How::Abort => io.abort(),
        }
    }

    /// What was held back, and the end if there is nothing else.
    fn catch_up(&mut self, io: &mut Io<'_>) {
        let held = std::mem::take(&mut self.held);
        let used = self.obey_all(io, &held);
        self.held = held[used..].to_vec();
        if self.peer_has_finished && !self.is_busy() && !self.is_over {
            self.end(io, How::Close);
        }
    }
}

impl Service for Obedient {
    type Conn = Orders;

    fn opened(&mut self, _io: &mut Io<'_>) -> Orders {
        Orders::default()
    }

    fn received(&mut self, conn: &mut Orders, io: &mut Io<'_>, input: &[u8]) -> usize {
        assert!(!conn.is_over, "input after the end");
        if !conn.is_busy() && conn.held.is_empty() {
            // One by one, so that the loop has to come again.
            match conn.obey(io, input) {
                0 => return 0,
                used => return used,
            }
        }
        conn.held.extend_from_slice(input);
        conn.catch_up(io);
        input.len()
    }

    fn flushed(&mut self, conn: &mut Orders, io: &mut Io<'_>) {
        assert!(std::mem::take(&mut conn.wants_flushed), "nobody has asked");
        let left = conn.stream;
        conn.stream(io, left);
        if !conn.is_busy() {
            conn.catch_up(io);
        }
    }

    fn posted(&mut self, conn: &mut Orders, io: &mut Io<'_>, value: Posted) {
        assert!(!conn.is_over && std::mem::take(&mut conn.waits_for_job), "no job has ended");
        answer(io, &value.downcast::<String>().unwrap());
        conn.catch_up(io);
    }

    fn timed_out(&mut self, conn: &mut Orders, io: &mut Io<'_>, which: Deadline) {
        assert!(!conn.is_over || which == Deadline::Write, "{which:?} after the end");
        if which != Deadline::Own {
            conn.end(io, How::Close);
        }
    }

    fn draining(&mut self, conn: &mut Orders, _io: &mut Io<'_>) {
        assert!(!conn.is_over, "draining after the end");
    }

    fn end_of_input(&mut self, conn: &mut Orders, io: &mut Io<'_>) {
        assert!(!conn.is_over, "the end of the input after the end");
        conn.peer_has_finished = true;
        conn.catch_up(io);
    }

    fn closed(&mut self, conn: Orders, _turn: &mut Turn<'_>, why: Closed) {
        if matches!(why, Closed::ByService) {
            assert!(conn.is_over, "it was not this service");
        }
    }
}

fn answer(io: &mut Io<'_>, text: &str) {
    io.write(text.as_bytes());
    io.write(b"\n");
}

fn write(io: &mut Io<'_>, count: usize) {
    let mut left = count;
    while left > 0 {
        let piece = left.min(DOTS.len());
        io.write(&DOTS[..piece]);
        left -= piece;
    }
}

/// Of a stream.
const PIECE: usize = 4096;

/// Copied: filling memory byte by byte takes its time without optimization.
const DOTS: &[u8] = &[b'.'; 1 << 16];
