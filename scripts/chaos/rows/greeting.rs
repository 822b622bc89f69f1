//! Rolling restarts with a new configuration each: after the end of a rollout every newcomer gets the new one, and so
//! does whoever keeps a connection, unless its worker is one that lingers. A configuration that cannot be read changes
//! nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{Outcome, Row, everybody};
use crate::{
    Attempt,
    figure::Figure,
    folder::Folder,
    generator::{Clients, Generator},
    load::{LAST_REQUEST, REQUEST, is_whole},
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "greeting",
    what: "SIGHUP with another greeting each time; 2 workers, 64 clients, and 50 newcomers and 8 kept connections when a rollout has ended",
    bar: "0 failed, all get the new one",
    within: Duration::from_secs(120),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    everybody(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let (folder, count) = (Folder::new()?, amount(20, 2));
    let greetings: Vec<String> = (0..=count).map(|at| format!("greeting {at}")).collect();
    folder.write(FILE, &greetings[0])?;
    let file = folder.file(FILE).to_string_lossy().into_owned();
    let more = ["--settle", "50", "--greeting-file", &file];
    let mut server = Server::start_as(user, Kind::Example, "127.0.0.1:0", WORKERS, &more)?;
    let address = server.address()?;
    let mut words = vec!["--count-bodies"];
    greetings.iter().for_each(|greeting| words.extend(["--expect-body", greeting]));
    let load = Generator::start(address, clients, &words)?;
    let (mut kept, mut wrongs) = (Kept::new(address), Vec::new());
    for greeting in &greetings[1..] {
        folder.write(FILE, greeting)?;
        kept.roll(&mut server)?;
        wrongs.extend(others(address, greeting)?);
        wrongs.extend(kept.judge(greeting, server.workers.len() > WORKERS)?);
    }
    if kept.answers == 0 {
        wrongs.push("no kept connection was answered".to_owned());
    }
    wrongs.extend(unreadable(&mut server, &folder, &greetings[count])?);
    let report = load.finish()?;
    wrongs.extend(report.wrongs());
    wrongs.extend(
        greetings
            .iter()
            .filter(|greeting| !report.bodies.iter().any(|(body, _)| body == *greeting))
            .map(|greeting| format!("nobody has heard {greeting}")),
    );
    wrongs.extend(server.stop()?);
    let newcomers = NEWCOMERS * count;
    let mut measured = format!("{}; {newcomers} newcomers after {count} rollouts, ", report.load);
    measured += &format!("{} answers on kept connections, {} by who lingers", kept.answers, kept.lingering);
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// What newcomers hear that is not this.
fn others(address: SocketAddr, greeting: &str) -> Attempt<Option<String>> {
    let ask = |_| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        stream.write_all(LAST_REQUEST).map(|()| stream)
    };
    let streams = (0..NEWCOMERS).map(ask).collect::<Result<Vec<TcpStream>, _>>()?;
    let mut others = Vec::new();
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.ends_with(&format!("\r\n\r\n{greeting}")) {
            others.push(answer.lines().last().unwrap_or_default().to_owned());
        }
    }
    let example = others.first().cloned();
    Ok(example.map(|heard| format!("{} of {NEWCOMERS} hear {heard:?} instead of {greeting:?}", others.len())))
}

/// Nobody is replaced, and the reason is told.
fn unreadable(server: &mut Server, folder: &Folder, greeting: &str) -> Attempt<Vec<String>> {
    let before = server.workers.clone();
    folder.write(FILE, "")?;
    let end = server.roll()?;
    let is_told = end.contains("\"result\":\"aborted\",\"slot\":null") && end.contains(FILE);
    let mut wrongs: Vec<String> = others(server.address()?, greeting)?.into_iter().collect();
    // Those of the generation before may have ended meanwhile.
    let is_same = server.workers.len() >= WORKERS && server.workers.iter().all(|worker| before.contains(worker));
    if !is_told || !is_same {
        wrongs.push(format!("workers {before:?} before and {:?} after {end}", server.workers));
    }
    Ok(wrongs)
}

/// Clients that keep their connections until they are closed.
struct Kept {
    address: SocketAddr,
    streams: Vec<Option<TcpStream>>,
    /// After the end of a rollout; and by workers of the generation before.
    answers: usize,
    lingering: usize,
}

impl Kept {
    fn new(address: SocketAddr) -> Self {
        Self { address, streams: (0..KEPT).map(|_| None).collect(), answers: 0, lingering: 0 }
    }

    /// They ask all the time.
    fn roll(&mut self, server: &mut Server) -> Attempt<()> {
        self.connect().and_then(|()| self.ask()).map_err(|error| error.to_string())?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.connect().and_then(|()| self.ask()).map_err(|error| error.to_string())?;
                    thread::sleep(Duration::from_millis(1));
                }
                Ok::<(), String>(())
            });
            let rolled = server.roll_to_the_end();
            over.store(true, Ordering::Relaxed);
            clients.join().map_err(|_| "the kept clients panicked")??;
            rolled
        })
    }

    /// What they hear that is not this, on the connections that they have.
    fn judge(&mut self, greeting: &str, somebody_lingers: bool) -> Attempt<Option<String>> {
        let heard = self.ask()?;
        let others: Vec<&String> = heard.iter().filter(|heard| *heard != greeting).collect();
        self.answers += heard.len();
        if somebody_lingers {
            self.lingering += others.len();
            return Ok(None);
        }
        Ok(others.first().map(|heard| format!("{} kept ones hear {heard:?} instead of {greeting:?}", others.len())))
    }

    fn connect(&mut self) -> Attempt<()> {
        for stream in self.streams.iter_mut().filter(|stream| stream.is_none()) {
            let new = TcpStream::connect(self.address)?;
            new.set_read_timeout(Some(ANSWERED_WITHIN))?;
            *stream = Some(new);
        }
        Ok(())
    }

    /// Each that has a connection, which it loses if this was the last answer, or if there is none.
    fn ask(&mut self) -> Attempt<Vec<String>> {
        let mut bodies = Vec::new();
        for place in &mut self.streams {
            let Some(mut stream) = place.take() else { continue };
            let Some(answer) = answer(&mut stream)? else { continue };
            let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
            bodies.push(body.to_owned());
            *place = Some(stream).filter(|_| !format!("{head}\r\n").contains("Connection: close\r\n"));
        }
        Ok(bodies)
    }
}

/// `None`: the connection has ended, which is for the load to judge.
fn answer(stream: &mut TcpStream) -> Attempt<Option<String>> {
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    let mut read = stream.write_all(REQUEST).and_then(|()| stream.read(&mut piece));
    while let Ok(count @ 1..) = read {
        answer.extend_from_slice(&piece[..count]);
        if is_whole(&answer) {
            return Ok(Some(String::from_utf8(answer)?));
        }
        read = stream.read(&mut piece);
    }
    match read {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("a kept connection was not answered".into()),
        Ok(_) | Err(_) if answer.is_empty() => Ok(None),
        Ok(_) | Err(_) => Err("half an answer on a kept connection".into()),
    }
}

const FILE: &str = "greeting";
const WORKERS: usize = 2;
const NEWCOMERS: usize = 50;
const KEPT: usize = 8;
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
