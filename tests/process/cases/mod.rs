//! The cases, by theme.

mod addresses;
mod adoption;
#[cfg(feature = "tokio")]
mod asynchronous;
mod channel;
mod commands;
mod configuration;
mod cpus;
mod custody;
mod descriptors;
mod embedding;
mod endings;
mod examples;
mod forking;
mod forks;
mod hang;
mod harness;
mod leaving;
mod listener;
mod load;
mod master_killed;
mod messages;
mod place;
mod ports;
mod recycling;
mod reload;
mod restarts;
mod roles;
mod rollouts;
mod scaling;
mod scoreboard;
mod serve;
mod shortage;
mod side_by_side;
mod signals;
mod standalone;
mod steering;
mod stop;
mod tls;
mod tutorials;
mod unix;

use crate::harness::Case;

pub(crate) fn all() -> Vec<Case> {
    THEMES.concat()
}

const THEMES: &[&[Case]] = &[
    harness::CASES,
    examples::CASES,
    configuration::CASES,
    ports::CASES,
    restarts::CASES,
    custody::CASES,
    adoption::CASES,
    adoption::loans::CASES,
    hang::CASES,
    steering::CASES,
    listener::CASES,
    load::CASES,
    endings::CASES,
    stop::CASES,
    signals::CASES,
    master_killed::CASES,
    messages::CASES,
    commands::CASES,
    embedding::CASES,
    side_by_side::CASES,
    descriptors::CASES,
    forks::CASES,
    shortage::CASES,
    channel::CASES,
    roles::CASES,
    standalone::CASES,
    scoreboard::CASES,
    serve::CASES,
    cpus::CASES,
    place::CASES,
    tls::CASES,
    tutorials::CASES,
    forking::CASES,
    addresses::CASES,
    unix::CASES,
    unix::files::CASES,
    unix::given::CASES,
    rollouts::CASES,
    rollouts::aborts::CASES,
    rollouts::midway::CASES,
    rollouts::lingering::CASES,
    rollouts::kinds::CASES,
    reload::CASES,
    recycling::CASES,
    scaling::CASES,
    leaving::CASES,
    #[cfg(feature = "tokio")]
    asynchronous::CASES,
    #[cfg(feature = "tokio")]
    rollouts::kinds::TOKIO,
];
