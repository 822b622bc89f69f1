//! Guides: how to do what takes more than one type. Their code is compiled and run as tests.

#[doc = include_str!("docs/forking.md")]
pub mod forking {}

#[doc = include_str!("docs/from_node.md")]
pub mod from_node {}

#[doc = include_str!("docs/messages.md")]
pub mod messages {}

#[doc = include_str!("docs/nothing_lost.md")]
pub mod nothing_lost {}

#[doc = include_str!("docs/serving.md")]
pub mod serving {}

#[doc = include_str!("docs/signals.md")]
pub mod signals {}

#[doc = include_str!("docs/testing.md")]
pub mod testing {}
