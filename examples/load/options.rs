//! The command line.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    thread::available_parallelism,
    time::Duration,
};

use clap::Parser;

use crate::plan::{Expect, Plan, Target};

#[derive(Parser)]
#[command(version, about = "HTTP/1 load that counts every failure", long_about = None)]
pub(crate) struct Options {
    /// What to ask: HOST:PORT, http://HOST[:PORT][/PATH], or unix:PATH
    pub(crate) target: String,
    /// Connections that carry the load [default: 64, or none with --idle alone]
    #[arg(long, short, value_name = "N")]
    connections: Option<usize>,
    /// Open loop: so many requests per second, at fixed times; latencies count from these times
    #[arg(long, short, value_name = "R")]
    rate: Option<f64>,
    /// Ask for so long [default: 10, unless --requests says when to end]
    #[arg(long, short, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Ask so often
    #[arg(long, short = 'n', value_name = "N")]
    requests: Option<u64>,
    /// A new connection for each request
    #[arg(long, conflicts_with = "pipeline")]
    new: bool,
    /// Requests that a connection has on its way at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    pipeline: usize,
    /// Beside these, so many connections that ask nothing and are kept for all of the duration
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "requests")]
    idle: usize,
    /// They ask that often
    #[arg(long, value_name = "MS", requires = "idle")]
    ping: Option<u64>,
    /// The path to ask for, if the target is not a URL
    #[arg(long, default_value = "/")]
    path: String,
    /// The status of a right answer [default: 200 to 299]
    #[arg(long, value_name = "STATUS")]
    expect_status: Option<u16>,
    /// The body of a right answer, a newline at its end aside; repeatable, one of them is enough
    #[arg(long, value_name = "TEXT")]
    expect_body: Vec<String>,
    /// Count how often each body came
    #[arg(long)]
    count_bodies: bool,
    /// Time to connect, and to be answered
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    timeout: u64,
    /// Worker processes [default: the CPUs that this process may use, but not more than connections]
    #[arg(long, short, value_name = "N")]
    workers: Option<usize>,
    /// Local address to connect from; repeatable, used in turn
    #[arg(long, value_name = "IP")]
    source: Vec<IpAddr>,
    /// Exit with 1 if more than this has failed
    #[arg(long, value_name = "N")]
    pub(crate) max_errors: Option<u64>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn plan(&self) -> Result<Plan, Box<dyn Error>> {
        let (target, host, path) = self.target()?;
        let connections = self.connections.unwrap_or(if self.idle > 0 && self.rate.is_none() { 0 } else { 64 });
        if connections == 0 && (self.idle == 0 || self.rate.is_some()) {
            return Err("--connections 0 with nothing else to do: nobody would ask".into());
        }
        if self.pipeline == 0 || self.timeout == 0 || self.workers == Some(0) || self.ping == Some(0) {
            return Err("--pipeline, --timeout, --workers and --ping must be at least 1".into());
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err("--rate must be above 0".into());
        }
        let cpus = || available_parallelism().map_or(1, usize::from);
        let endless = self.duration.is_none() && self.requests.is_none();
        Ok(Plan {
            target,
            request: self.request(&host, &path),
            sources: self.source.clone(),
            workers: self.workers.unwrap_or_else(cpus).min(connections.max(self.idle)),
            connections,
            idle: self.idle,
            ping: self.ping.map(Duration::from_millis),
            rate: self.rate,
            requests: self.requests,
            duration: if endless { Some(DURATION) } else { self.duration },
            single: self.new,
            pipeline: self.pipeline,
            timeout: Duration::from_millis(self.timeout),
            expect: Expect { status: self.expect_status, bodies: self.expect_body.clone() },
            count_bodies: self.count_bodies,
        })
    }

    /// Where, and what it is called in requests, and the path.
    fn target(&self) -> Result<(Target, String, String), Box<dyn Error>> {
        if let Some(path) = self.target.strip_prefix("unix:") {
            return Ok((Target::Unix(path.into()), "localhost".to_owned(), self.path.clone()));
        }
        if self.target.starts_with("https:") {
            return Err("https: this program speaks no TLS".into());
        }
        let (host, path) = match self.target.strip_prefix("http://") {
            Some(url) => match url.split_once('/') {
                Some((host, path)) => (host, format!("/{path}")),
                None => (url, self.path.clone()),
            },
            None => (&*self.target, self.path.clone()),
        };
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(&path) || !path.starts_with('/') || !is_plain(host) {
            return Err(format!("{}: a path begins with / and has no spaces", self.target).into());
        }
        Ok((Target::Tcp(resolved(host)?), host.to_owned(), path))
    }

    fn request(&self, host: &str, path: &str) -> Vec<u8> {
        let close = if self.new { "Connection: close\r\n" } else { "" };
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n").into_bytes()
    }
}

/// The first IPv4 address of a name, or else its first one.
fn resolved(host: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let addresses = if has_port { host.to_socket_addrs() } else { (host, 80).to_socket_addrs() };
    let addresses: Vec<SocketAddr> = addresses.map_err(|error| format!("{host}: {error}"))?.collect();
    let ipv4 = addresses.iter().find(|address| address.is_ipv4());
    ipv4.or(addresses.first()).copied().ok_or_else(|| format!("{host} has no address").into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "expected seconds".to_owned())?;
    Duration::try_from_secs_f64(number).ok().filter(|time| !time.is_zero()).ok_or("expected more than 0".to_owned())
}

const DURATION: Duration = Duration::from_secs(10);
