//! The tests of examples/http_server. They are a program of their own, for cargo does not build an example that has
//! tests as a program, too, and other tests start it.
#![allow(dead_code, reason = "only `main` of the example uses all of it")]

#[path = "../examples/http_server/answer.rs"]
mod answer;
#[path = "../examples/http_server/body.rs"]
mod body;
#[path = "../examples/http_server/date.rs"]
mod date;
#[path = "../examples/http_server/greeting.rs"]
mod greeting;
#[path = "../examples/http_server/options.rs"]
mod options;
#[path = "../examples/http_server/request.rs"]
mod request;
#[path = "../examples/http_server/routes.rs"]
mod routes;
#[path = "../examples/http_server/service.rs"]
mod service;
#[path = "../examples/http_server/session.rs"]
mod session;
#[path = "../examples/http_server/status.rs"]
mod status;
#[path = "../examples/support/mod.rs"]
mod support;
#[cfg(test)]
#[path = "../examples/http_server/tests/mod.rs"]
mod tests;
#[path = "../examples/support/tls.rs"]
mod tls;
