//! Rolling restarts to workers that do not work, under load: whoever serves goes on, and the reason is told.

use std::time::Duration;

use super::{Outcome, Row, everybody};
use crate::{
    Attempt,
    figure::Figure,
    folder::Folder,
    generator::{Clients, Generator},
    procfs,
    release::Worth,
    rows::amount,
    server::{Kind, Server},
    user::User,
};

pub(super) const ROW: Row = Row {
    name: "bad-release",
    what: "SIGHUP to workers that fail, never get ready, or die when ready, or to an unreadable release; 2 workers, 64 clients",
    bar: "0 failed, old workers serve, told why",
    within: Duration::from_secs(120),
    is_short: true,
    measure,
};

fn measure() -> Attempt<Vec<Figure>> {
    everybody(&ROW, one)
}

fn one(user: User, clients: Clients) -> Attempt<Outcome> {
    let (folder, times) = (Folder::new()?, amount(3, 1));
    let file = folder.file(FILE).to_string_lossy().into_owned();
    let more = ["--settle", "100", "--ready-timeout", "300", "--release", &file];
    let mut server = Server::start_as(user, Kind::Own, "127.0.0.1:0", WORKERS, &more)?;
    let load = Generator::start(server.address()?, clients, &[])?;
    let mut wrongs = Vec::new();
    for worth in (0..times).flat_map(|_| Worth::BAD) {
        folder.write(FILE, worth.word())?;
        wrongs.extend(roll(&mut server, worth)?);
    }
    // The releases have died, not those who serve.
    server.deaths.clear();
    folder.write(FILE, Worth::Works.word())?;
    server.roll_to_the_end()?;
    let report = load.finish()?;
    wrongs.extend(report.wrongs());
    wrongs.extend(server.stop()?);
    let measured = format!("{}; {} bad releases aborted, a good one done", report.load, times * Worth::BAD.len());
    Ok(Outcome { measured, wrongs, yardstick: "-".to_owned() })
}

/// What is wrong afterwards.
fn roll(server: &mut Server, worth: Worth) -> Attempt<Option<String>> {
    let before = server.workers.clone();
    let end = server.roll()?;
    let told = match worth {
        Worth::Works | Worth::Unreadable => ["\"slot\":null", FILE],
        Worth::Fails => ["\"slot\":0", "code 3"],
        Worth::NeverReady => ["\"slot\":0", "not ready"],
        Worth::DiesWhenReady => ["\"slot\":0", "code 4"],
    };
    let live: Vec<u32> = procfs::children_of(server.master())?.into_iter().map(|child| child.pid).collect();
    let serve = before.iter().all(|worker| live.contains(worker));
    let is_told = end.contains("\"result\":\"aborted\"") && told.iter().all(|text| end.contains(text));
    server.workers = before;
    Ok(if serve && is_told { None } else { Some(format!("{}: {:?} of {live:?}: {end}", worth.word(), server.workers)) })
}

const FILE: &str = "release";
const WORKERS: usize = 2;
