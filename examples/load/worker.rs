//! The worker function: waits until all are ready, makes its share of the load, and tells the master what it counts.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use mio_cluster::{
    Error, Worker, WorkerEvent,
    mio::{Events, Interest, Poll, Token, unix::SourceFd},
};
use nix::sys::{
    time::TimeSpec,
    timer::Expiration,
    timerfd::{ClockId, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use crate::{generator::Generator, plan::Plan};

pub(crate) fn work(mut worker: Worker, plan: &Plan) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    poll.registry().register(&mut worker, WORKER, Interest::READABLE)?;
    while !is_told_to_go(&mut worker) {
        if worker.is_draining() {
            return Ok(());
        }
        worker.poll(&mut poll, &mut events, None)?;
    }
    let begin = Instant::now();
    let mut clock = Clock::new(&poll)?;
    let mut generator = Generator::new(plan, plan.share(worker.slot().index()), poll.registry().try_clone()?, begin)?;
    let end = plan.duration.map(|duration| begin + duration);
    let mut report = begin + FIRST_REPORT;
    loop {
        let now = Instant::now();
        if worker.is_draining() || end.is_some_and(|end| now >= end) {
            generator.stop(end.map_or(now, |end| end.min(now)));
        }
        generator.turn(now);
        if generator.is_over() {
            break;
        }
        if now >= report {
            tell(&worker, &mut generator)?;
            report = now + REPORT;
        }
        clock.set(generator.next_arrival())?;
        let next = [generator.next(), end.filter(|end| *end > now)].into_iter().flatten().fold(report, Instant::min);
        worker.poll(&mut poll, &mut events, Some(next.saturating_duration_since(Instant::now())))?;
        for event in events.iter().filter(|event| event.token() < CLOCK) {
            generator.event(event);
        }
        while worker.next_event().is_some() {}
    }
    // What was refused before has room now. An error is an exit code, by which the master knows that it lacks something.
    worker.flush()?;
    worker.send(generator.into_tally().encode())?;
    worker.flush()?;
    // That it ends is no death.
    worker.disconnect()?;
    Ok(())
}

fn is_told_to_go(worker: &mut Worker) -> bool {
    std::iter::from_fn(|| worker.next_event()).any(|event| matches!(event, WorkerEvent::Message(_)))
}

/// If the master is too busy now, it hears it next time.
fn tell(worker: &Worker, generator: &mut Generator<'_>) -> Result<(), Error> {
    match worker.send(generator.tally.encode()) {
        Ok(()) => {
            generator.tally.clear();
            Ok(())
        }
        Err(error) if error.is_would_block() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Wakes the loop when the next request is due: the time-out of a poll has only milliseconds.
struct Clock {
    timer: TimerFd,
    set: Option<Instant>,
}

impl Clock {
    fn new(poll: &Poll) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), CLOCK, Interest::READABLE)?;
        Ok(Self { timer, set: None })
    }

    fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        if at.is_some() && at != self.set {
            let left = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            // 0 would turn it off.
            let left = Expiration::OneShot(TimeSpec::from_duration(left.max(Duration::from_nanos(1))));
            self.timer.set(left, TimerSetTimeFlags::empty())?;
        }
        self.set = at;
        Ok(())
    }
}

/// Slots have the tokens below these.
const WORKER: Token = Token(usize::MAX);
const CLOCK: Token = Token(usize::MAX - 1);

const FIRST_REPORT: Duration = Duration::from_millis(50);
const REPORT: Duration = Duration::from_millis(250);
