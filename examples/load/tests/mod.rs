//! The parts that know no sockets, and one connection. The whole, against servers that misbehave: tests/process.

mod answers;
mod clients;
mod command_line;
mod connections;
mod counts;
mod times;
