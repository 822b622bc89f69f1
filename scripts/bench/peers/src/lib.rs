//! What the peers have in common.

/// The answer to `GET /`, as `examples/http_server` gives it.
pub const BODY: &str = "Hello, World!";

/// Seconds that a connection may be idle: what nginx and `examples/http_server` allow.
pub const PATIENCE: u16 = 75;

/// The port and the number of workers.
pub fn arguments() -> [u16; 2] {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(|word| word.parse()).collect::<Result<Vec<u16>, _>>().as_deref() {
        Ok(&[port, workers]) => [port, workers],
        _unusable => panic!("wanted: PORT WORKERS"),
    }
}
