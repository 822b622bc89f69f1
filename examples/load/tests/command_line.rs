use std::time::Duration;

use clap::Parser;

use crate::{
    options::Options,
    plan::{Plan, Share, Target},
};

fn plan(line: &str) -> Result<Plan, String> {
    let options = Options::try_parse_from([&["load"], &line.split(' ').collect::<Vec<_>>()[..]].concat());
    options.map_err(|error| error.to_string())?.plan().map_err(|error| error.to_string())
}

fn tcp(address: &str) -> Target {
    Target::Tcp(address.parse().unwrap())
}

#[test]
fn targets() {
    for (line, target, host, path) in [
        ("127.0.0.1:8000", tcp("127.0.0.1:8000"), "127.0.0.1:8000", "/"),
        ("http://127.0.0.1:8000", tcp("127.0.0.1:8000"), "127.0.0.1:8000", "/"),
        ("http://127.0.0.1/a/b?c=d", tcp("127.0.0.1:80"), "127.0.0.1", "/a/b?c=d"),
        ("http://[::1]:81/", tcp("[::1]:81"), "[::1]:81", "/"),
        ("127.0.0.1:8000 --path /a", tcp("127.0.0.1:8000"), "127.0.0.1:8000", "/a"),
        ("unix:/tmp/a --path /a", Target::Unix("/tmp/a".into()), "localhost", "/a"),
    ] {
        let plan = plan(line).unwrap();
        assert_eq!(plan.target, target, "{line}");
        assert_eq!(plan.request, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), "{line}");
    }
    let request = String::from_utf8(plan("127.0.0.1:1 --new").unwrap().request).unwrap();
    assert!(request.ends_with("\r\nConnection: close\r\n\r\n"));
}

#[test]
fn ends() {
    let times = |line| plan(line).map(|plan| (plan.duration, plan.requests)).unwrap();
    let seconds = |count| Some(Duration::from_secs_f64(count));
    assert_eq!(times("127.0.0.1:1"), (seconds(10.0), None));
    assert_eq!(times("127.0.0.1:1 -d 0.5"), (seconds(0.5), None));
    assert_eq!(times("127.0.0.1:1 -d 5s -n 9"), (seconds(5.0), Some(9)));
    assert_eq!(times("127.0.0.1:1 -n 9"), (None, Some(9)));
}

#[test]
fn bad_usage() {
    for (line, why) in [
        ("127.0.0.1:1 --connections 0", "nobody would ask"),
        ("127.0.0.1:1 --idle 5 --connections 0 --rate 5", "nobody would ask"),
        ("127.0.0.1:1 --pipeline 0", "at least 1"),
        ("127.0.0.1:1 --timeout 0", "at least 1"),
        ("127.0.0.1:1 --workers 0", "at least 1"),
        ("127.0.0.1:1 --rate 0", "above 0"),
        ("127.0.0.1:1 --rate inf", "above 0"),
        ("127.0.0.1:1 --duration 0", "more than 0"),
        ("127.0.0.1:1 --new --pipeline 2", "cannot be used"),
        ("127.0.0.1:1 --ping 5", "--idle"),
        ("127.0.0.1:1 --idle 2 -n 3000", "cannot be used"),
        ("127.0.0.1:1 --idle 2 -n 3000 -d 5", "cannot be used"),
        ("https://127.0.0.1:1/", "no TLS"),
        ("127.0.0.1:1 --path a", "begins with /"),
        ("--json", "TARGET"),
    ] {
        let error = plan(line).err().unwrap_or_else(|| panic!("{line} is accepted"));
        assert!(error.contains(why), "{line}: {error}");
    }
}

#[test]
fn workers_have_even_shares() {
    let shares = |line| (0..4).map(|index| plan(line).unwrap().share(index)).collect::<Vec<Share>>();
    let timed = shares("127.0.0.1:1 -c 5 --idle 3 -w 4");
    assert_eq!(timed.iter().map(|share| share.connections).collect::<Vec<_>>(), [2, 1, 1, 1]);
    assert_eq!(timed.iter().map(|share| share.idle).collect::<Vec<_>>(), [1, 1, 1, 0]);
    let counted = shares("127.0.0.1:1 -c 5 -n 11 -w 4");
    assert_eq!(counted.iter().map(|share| share.requests.unwrap()).collect::<Vec<_>>(), [3, 3, 3, 2]);
}

/// Whoever has requests has connections.
#[test]
fn few_connections_are_of_few_workers() {
    assert_eq!(plan("127.0.0.1:1 -c 2 -w 9 -n 7").unwrap().workers, 2);
    let plan = plan("127.0.0.1:1 -c 1 --idle 5 -w 3 --rate 5").unwrap();
    let shares = [0, 1, 2].map(|index| plan.share(index));
    assert_eq!(shares.map(|share| (share.connections, share.idle)), [(1, 2), (0, 2), (0, 1)]);
    assert_eq!((shares[0].place, shares[0].places), (0, 1));
}
