use clap::Parser;

use crate::Options;

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
    for later in ["least-loaded", "cpu", "source-ip"] {
        assert!(told(&["--balance", later]).contains("not available in this version"));
    }
    assert!(told(&["--balance", "fair"]).contains("expected auto or kernel"));
    assert!(Options::try_parse_from(["http_server", "--balance", "kernel"]).is_ok());
}
