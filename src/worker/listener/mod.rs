//! The worker's listeners: one pollable descriptor each.
//!
//! | file | owns |
//! |---|---|
//! | [`entry`] | what all of them are made of |
//! | [`lookout`] | what makes the program's loop turn: their own sockets and those that are lent to them |
//! | [`look`] | one look into the queue of a socket |
//! | [`ip`], [`unix`] | the two public types, which differ in their addresses and connections |
//! | [`pause`] | what happens when descriptors or memory run out |
//! | [`bare`] | sockets that the program took out of their listeners |

pub(super) mod bare;
pub(super) mod entry;
mod ip;
mod look;
pub(super) mod lookout;
mod pause;
#[cfg(test)]
mod tests;
mod unix;

pub use self::{ip::Listener, unix::UnixListener};
