//! Rolling restarts with a new configuration each: after the end of a rollout every newcomer gets the new one. A
//! configuration that cannot be read changes nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{Outcome, Row, everybody};
use crate::{
    Attempt,
    figure::Figure,
    folder::Folder,
    generator::{Clients, Generator},
    load::LAST_REQUEST,
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "greeting",
    what: "SIGHUP with another greeting each time; 2 workers, 64 clients, and 50 newcomers when a rollout has ended",
    bar: "0 failed, all newcomers get the new one",
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
    let (mut newcomers, mut wrongs) = (0, Vec::new());
    for greeting in &greetings[1..] {
        folder.write(FILE, greeting)?;
        server.roll_to_the_end()?;
        newcomers += NEWCOMERS;
        wrongs.extend(others(address, greeting)?);
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
    let measured = format!("{}; {newcomers} newcomers after {count} rollouts", report.load);
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

const FILE: &str = "greeting";
const WORKERS: usize = 2;
const NEWCOMERS: usize = 50;
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
