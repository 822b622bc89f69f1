//! The smallest server: two workers, each with its own loop. Try `curl http://127.0.0.1:8000/`, and `kill -9` one of
//! them.
use mio_cluster::{Cluster, Io, Service};
use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    Cluster::new().listen("127.0.0.1:8000").workers(2).main(|worker| worker.serve(Hello))
}

struct Hello;

impl Service for Hello {
    type Conn = ();

    fn opened(&mut self, _io: &mut Io<'_>) {}

    /// Greets after each request's head. A protocol of your own reads its messages here; for HTTP see `http_server`.
    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return 0 };
        let body = format!("Hello from worker {}\n", io.worker().1);
        let last = if io.is_draining() { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{last}\r\n", body.len());
        io.write(head.as_bytes());
        io.write(body.as_bytes());
        if io.is_draining() {
            io.close();
        }
        end + 4
    }
}
