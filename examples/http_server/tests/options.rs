use clap::Parser;

use crate::options::Options;

/// Bad usage ends with 2 and names what is wrong; what a later version can do is told from a typing error.
#[test]
fn bad_usage_is_told() {
    let told = |arguments: &[&str]| {
        let arguments = ["http_server"].iter().chain(arguments);
        let error = Options::try_parse_from(arguments).err().expect("bad usage");
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    assert!(told(&["--nope"]).contains("--nope"));
    assert!(told(&["--workers", "many"]).contains("many"));
    assert!(told(&["--max-connections", "0"]).contains("zero"));
    assert!(told(&["--single", "--pin"]).contains("--pin"));
    for later in ["least-loaded", "cpu", "source-ip"] {
        assert!(told(&["--balance", later]).contains("not available in this version"));
    }
    assert!(told(&["--balance", "fair"]).contains("expected auto or kernel"));
    let all =
        "--balance kernel --pin --defer-accept --busy-poll 50 --idle-timeout 5 --request-timeout 0 --max-connections 9";
    for good in [all, "--defer-accept=30 --single", "--defer-accept --json"] {
        assert!(Options::try_parse_from(["http_server"].into_iter().chain(good.split(' '))).is_ok(), "{good}");
    }
}
