//! The worker's listeners: one pollable descriptor each.
//!
//! | file | owns |
//! |---|---|
//! | [`entry`] | what all of them are made of |
//! | [`ip`], [`unix`] | the two public types, which differ in their addresses and connections |
//! | [`pause`] | what happens when descriptors or memory run out |
//! | [`bare`] | sockets that the program took out of their listeners |

pub(super) mod bare;
pub(super) mod entry;
mod ip;
mod pause;
mod unix;

pub use self::{ip::Listener, unix::UnixListener};
