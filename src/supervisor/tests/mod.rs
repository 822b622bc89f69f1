//! Tests of the supervisor.
//!
//! `rig` drives one supervisor and shows everything that goes in and comes out to `referee`, which knows the rules of
//! the design and nothing of the supervisor's code. On it stand the tables (`by_hand` and what uses it) and `world`, a
//! simulated kernel with workers of every kind, through which `walks` takes thousands of random walks.

mod addresses;
mod by_hand;
mod doors;
mod ends;
mod first_starts;
mod handed_over;
mod hangs;
mod input;
mod leaving;
mod loans;
mod pace;
mod recycling;
mod referee;
mod requests;
mod rig;
mod rollouts;
mod scaling;
mod scene;
mod signals;
mod states;
mod steps;
mod walks;
mod watch;
mod world;
