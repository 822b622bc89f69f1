//! One connection as its client sees it: a pure state machine. It is told what happens and says what that means.

use std::{collections::VecDeque, time::Instant};

use crate::{
    answer::{Answer, Reader},
    failure::Failure,
};

pub(crate) struct Client {
    phase: Phase,
    reader: Reader,
    /// The requests that are not answered, the oldest first.
    asked: VecDeque<Asked>,
    /// Whether a byte of a request has left.
    has_sent: bool,
    has_answered: bool,
    /// It asks nothing, and whatever comes is welcome.
    listens: bool,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Its latency counts from here: when it was due, or when its client was free to ask.
    pub(crate) wanted: Instant,
    /// Its time to be answered counts from here.
    pub(crate) begun: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// The last answer is there, the server is about to close.
    Parting,
}

/// What the server did to the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    Eof,
    Reset,
}

/// How a connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// After its last answer, or by the client itself.
    InOrder,
    /// By the server, in order and while nothing was asked.
    WhileIdle,
    Failed(Failure),
}

/// Gets each answer with its request and its body.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(Asked, Answer, &[u8]);

impl Client {
    /// One that begins to connect; it keeps so many bytes of each body.
    pub(crate) fn new(kept: usize) -> Self {
        Self {
            phase: Phase::Connecting,
            reader: Reader::keeping(kept),
            asked: VecDeque::new(),
            has_sent: false,
            has_answered: false,
            listens: false,
        }
    }

    /// One that asks nothing; the server may say what it likes.
    pub(crate) fn listening() -> Self {
        Self { listens: true, ..Self::new(0) }
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    /// Takes no more requests.
    pub(crate) fn is_parting(&self) -> bool {
        self.phase == Phase::Parting
    }

    /// How many requests are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    pub(crate) fn oldest(&self) -> Option<Asked> {
        self.asked.front().copied()
    }

    pub(crate) fn established(&mut self) {
        self.phase = Phase::Open;
    }

    pub(crate) fn ask(&mut self, asked: Asked) {
        self.asked.push_back(asked);
    }

    /// Bytes of requests have left.
    pub(crate) fn sent(&mut self) {
        self.has_sent = true;
    }

    pub(crate) fn received(&mut self, mut input: &[u8], seen: Seen<'_>) -> Result<(), End> {
        while !input.is_empty() && !self.listens && self.phase != Phase::Parting {
            // Nothing was asked, so nothing may come.
            if self.asked.is_empty() {
                return Err(End::Failed(Failure::MalformedAnswer));
            }
            match self.reader.read(&mut input) {
                Ok(Some(answer)) => self.answered(answer, seen),
                Ok(None) => {}
                Err(_malformed) => return Err(End::Failed(Failure::MalformedAnswer)),
            }
        }
        Ok(())
    }

    /// The server has cut the connection.
    pub(crate) fn cut(&mut self, how: Cut, seen: Seen<'_>) -> End {
        if how == Cut::Eof && self.phase == Phase::Open {
            if let Some(answer) = self.reader.end() {
                self.answered(Answer { last: true, ..answer }, seen);
            }
        }
        match (self.asked.is_empty(), how) {
            (true, _) if self.phase == Phase::Parting => End::InOrder,
            (true, Cut::Eof) => End::WhileIdle,
            (true, Cut::Reset) => End::Failed(Failure::ResetWhileIdle),
            (false, how) => End::Failed(self.loss(how)),
        }
    }

    /// It took too long.
    pub(crate) fn timed_out(&self) -> End {
        match self.phase {
            Phase::Connecting => End::Failed(Failure::ConnectTimeout),
            Phase::Open => End::Failed(Failure::AnswerTimeout),
            // The client closes first, then.
            Phase::Parting if self.asked.is_empty() => End::InOrder,
            Phase::Parting => End::Failed(Failure::EofOnReuse),
        }
    }

    fn answered(&mut self, answer: Answer, seen: Seen<'_>) {
        if answer.last {
            self.phase = Phase::Parting;
        }
        self.has_answered = true;
        if let Some(asked) = self.asked.pop_front() {
            seen(asked, answer, self.reader.body());
        }
    }

    /// How the requests that are not answered were lost.
    fn loss(&self, how: Cut) -> Failure {
        match how {
            Cut::Eof if self.reader.is_inside() => Failure::EofInsideAnswer,
            Cut::Reset if self.reader.is_inside() => Failure::ResetInsideAnswer,
            Cut::Eof if self.has_answered => Failure::EofOnReuse,
            Cut::Reset if self.has_answered => Failure::ResetOnReuse,
            Cut::Eof => Failure::EofBeforeAnswer,
            Cut::Reset if self.has_sent => Failure::ResetAfterRequest,
            Cut::Reset => Failure::ResetBeforeRequest,
        }
    }
}
