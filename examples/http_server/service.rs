//! The HTTP as the [`Service`] of a worker's loop: a [`Session`] per connection, and the process around it.

use std::{
    fmt::Display,
    process, thread,
    time::{Duration, SystemTime},
};

use mio_cluster::{Closed, Deadline, Io, Service, Turn};

use crate::{
    answer::Host,
    date::Date,
    session::{End, Next, Session},
};

pub(crate) struct Http {
    date: Date,
    greeting: &'static [u8],
}

impl Http {
    pub(crate) fn new(greeting: &'static [u8]) -> Self {
        Self { date: Date::new(), greeting }
    }

    /// Lets the session do something, and then what it wants.
    fn step<T>(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        work: impl FnOnce(&mut Session, &mut Here<'_, '_>) -> (T, Next),
    ) -> T {
        self.date.turn(io.now(), SystemTime::now);
        let (result, next) = work(session, &mut Here { io, date: &self.date, greeting: self.greeting });
        io.set_in_request(session.is_in_body());
        match next {
            Next::Input => {}
            Next::Room => io.want_flushed(),
            Next::End(End::Close | End::Exit(_)) => io.close(),
            Next::End(End::Linger) => io.close_lingering(),
        }
        result
    }
}

impl Service for Http {
    type Conn = Session;

    fn opened(&mut self, _io: &mut Io<'_>) -> Session {
        Session::default()
    }

    fn received(&mut self, session: &mut Session, io: &mut Io<'_>, input: &[u8]) -> usize {
        self.step(io, session, |session, here| session.receive(input, here))
    }

    fn flushed(&mut self, session: &mut Session, io: &mut Io<'_>) {
        self.step(io, session, |session, here| ((), session.fill(here)));
    }

    fn end_of_input(&mut self, session: &mut Session, io: &mut Io<'_>) {
        self.step(io, session, |session, here| ((), session.end_of_input(here)));
    }

    fn timed_out(&mut self, session: &mut Session, io: &mut Io<'_>, which: Deadline) {
        if which == Deadline::Request {
            self.step(io, session, |session, here| ((), session.time_out(here)));
        } else {
            io.close();
        }
    }

    fn closed(&mut self, session: Session, turn: &mut Turn<'_>, _why: Closed) {
        if let Some(code) = session.exit_code() {
            let (_slot, id) = turn.worker();
            end_process(id, code);
        }
    }
}

/// What answers on one connection.
struct Here<'a, 'b> {
    io: &'a mut Io<'b>,
    date: &'a Date,
    greeting: &'static [u8],
}

impl Host for Here<'_, '_> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.io.output()
    }

    fn output_and_date(&mut self) -> (&mut Vec<u8>, &Date) {
        (self.io.output(), self.date)
    }

    fn is_full(&self) -> bool {
        self.io.is_full()
    }

    fn is_draining(&self) -> bool {
        self.io.is_draining()
    }

    fn greeting(&self) -> &'static [u8] {
        self.greeting
    }

    fn worker(&self) -> impl Display {
        let (_slot, id) = self.io.worker();
        id
    }

    fn pid(&self) -> u32 {
        process::id()
    }

    fn count(&mut self) {
        self.io.requests(1);
        // The next one may have begun already, and has its own time.
        self.io.set_in_request(false);
    }

    #[cold]
    fn sleep(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

#[expect(clippy::exit, reason = "what /exit/CODE is for")]
fn end_process(worker: impl Display, code: u8) -> ! {
    log::warn!("worker {worker} exits with code {code}, as a request told it to");
    process::exit(code.into())
}
