//! Connections that ask nothing when their worker leaves: whoever asks within the grace is answered, and the others are
//! closed in order.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{Outcome, Row, figure};
use crate::{
    Attempt,
    figure::Figure,
    generator::Generator,
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "idle-keep-alive",
    what: "64 connections that were answered before and ask again at some time after SIGHUP or SIGTERM, 64 that never ask; 2 workers",
    bar: "0 unanswered within the grace, 0 reset",
    within: Duration::from_secs(100),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    let ways = User::all().into_iter().flat_map(|user| [(user, Signal::SIGHUP), (user, Signal::SIGTERM)]);
    Ok(ways
        .map(|(user, signal)| figure(&ROW, &user.name(&format!("{}, {signal}", ROW.name)), one(user, signal)))
        .collect())
}

fn one(user: User, signal: Signal) -> Attempt<Outcome> {
    let (mut fates, mut closed, mut wrongs) = (Fates::default(), 0, Vec::new());
    let times = amount(5, 1);
    for _ in 0..times {
        let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", 2, &["--settle", "50"])?;
        let address = server.address()?;
        let silent = CLIENTS.to_string();
        let silent = Generator::with(address, &["--idle", &silent])?;
        let clients = (0..CLIENTS).map(|_| Client::start(address)).collect::<Attempt<Vec<Client>>>()?;
        server.process.signal(signal)?;
        let begun = Instant::now();
        for (at, client) in (0..).zip(clients) {
            let due = (GRACE + GRACE / 2) * at / CLIENTS;
            thread::sleep((begun + due).saturating_duration_since(Instant::now()));
            client.ask_again(begun, &mut fates)?;
        }
        if signal == Signal::SIGHUP {
            server.until("rollout_ended")?;
            wrongs.extend(server.stop()?);
        } else {
            wrongs.extend(server.has_stopped()?);
        }
        let report = silent.finish()?;
        wrongs.extend(report.wrongs());
        closed += report.idle.closed_while_idle;
    }
    let Fates { answered, closed_before, raced, failed } = fates;
    let all = u64::from(CLIENTS) * times as u64;
    if failed > 0 || closed < all {
        wrongs.push(format!("{failed} unanswered, {closed} of {all} silent ones closed"));
    }
    let mut measured = format!("{failed} unanswered; {answered} answered, {closed_before} closed by the grace, ");
    measured += &format!("{raced} asked meanwhile; {closed} silent ones closed");
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

#[derive(Default)]
struct Fates {
    answered: u64,
    /// By the server, before they have asked again.
    closed_before: u64,
    /// Asked after the grace, and met the end of the connection.
    raced: u64,
    failed: u64,
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// One that was answered.
    fn start(address: SocketAddr) -> Attempt<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        let mut client = Self(BufReader::new(stream));
        if client.ask() { Ok(client) } else { Err("not even the first request was answered".into()) }
    }

    fn ask_again(mut self, begun: Instant, fates: &mut Fates) -> Attempt<()> {
        self.0.get_ref().set_nonblocking(true)?;
        let is_open = self.0.get_ref().peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.0.get_ref().set_nonblocking(false)?;
        if !is_open {
            fates.closed_before += 1;
            // That the worker had this time is promised.
            fates.failed += u64::from(begun.elapsed() < GRACE);
        } else {
            let asked = begun.elapsed();
            match self.ask() {
                true => fates.answered += 1,
                false if asked > GRACE => fates.raced += 1,
                false => fates.failed += 1,
            }
        }
        Ok(())
    }

    /// Whether there was a whole answer.
    fn ask(&mut self) -> bool {
        self.0.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && self.answer().is_ok()
    }

    fn answer(&mut self) -> Attempt<()> {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err("no answer".into());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        Ok(self.0.read_exact(&mut vec![0; length])?)
    }
}

const CLIENTS: u32 = 64;

/// The default of `Serve::drain_grace`.
const GRACE: Duration = Duration::from_secs(1);

const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
