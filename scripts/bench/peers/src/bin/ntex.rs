//! ntex on tokio: `ntex PORT WORKERS`.

use ntex::{
    SharedCfg,
    http::HttpServiceConfig,
    time::Seconds,
    web::{self, App, HttpResponse, HttpServer},
};

#[ntex::main]
async fn main() -> std::io::Result<()> {
    let [port, workers] = bench_peers::arguments();
    let hello = || async { HttpResponse::Ok().content_type("text/plain").body(bench_peers::BODY) };
    let app = async move || App::new().route("/", web::get().to(hello));
    // The defaults of some seconds would close idle connections while they are counted.
    let patience = Seconds(bench_peers::PATIENCE);
    let patient = HttpServiceConfig::new().set_keepalive_timeout(patience).set_client_timeout(Seconds::ZERO);
    let server = HttpServer::new(app).workers(workers.into()).config(SharedCfg::new("bench").add(patient));
    server.bind(("127.0.0.1", port))?.run().await
}
