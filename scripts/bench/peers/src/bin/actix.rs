//! actix-web: `actix PORT WORKERS`.

use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, http::header::ContentType, web};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let [port, workers] = bench_peers::arguments();
    let hello = || async { HttpResponse::Ok().content_type(ContentType::plaintext()).body(bench_peers::BODY) };
    let app = move || App::new().route("/", web::get().to(hello));
    let server = HttpServer::new(app).workers(workers.into());
    // The defaults of 5 seconds would close idle connections while they are counted.
    let patience = Duration::from_secs(bench_peers::PATIENCE.into());
    let server = server.keep_alive(patience).client_request_timeout(Duration::ZERO);
    server.bind(("127.0.0.1", port))?.run().await
}
