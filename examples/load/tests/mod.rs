//! The parts that know no sockets. What they do on sockets, against servers that misbehave: tests/process.

mod answers;
mod clients;
mod command_line;
mod counts;
mod times;
