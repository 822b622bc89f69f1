//! may_minihttp: `may PORT WORKERS`.

use std::io;

use may_minihttp::{HttpServer, HttpService, Request, Response};

#[derive(Clone)]
struct Hello;

impl HttpService for Hello {
    fn call(&mut self, _request: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.header("Content-Type: text/plain").body(bench_peers::BODY);
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let [port, workers] = bench_peers::arguments();
    may::config().set_workers(workers.into());
    let server = HttpServer(Hello).start(("127.0.0.1", port))?;
    server.join().map_err(|_panic| io::Error::other("the server has panicked"))
}
