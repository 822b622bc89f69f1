//! How many lines it takes to make a cluster of a server that exists already: counted between pairs of examples.

use std::fs;

/// The plain program, the same program as a cluster, and how many lines may be new in it.
const PAIRS: &[(&str, &str, usize)] = &[("embed_mio_before", "embed_mio", 10), ("axum_before", "axum", 10)];

#[test]
fn a_server_becomes_a_cluster_with_few_added_lines() {
    for &(before, after, most) in PAIRS {
        let (plain, cluster) = (source(before), source(after));
        let added = added(&lines(&plain), &lines(&cluster));
        println!("{after}: {} added lines (at most {most})\n  {}", added.len(), added.join("\n  "));
        assert!(added.len() <= most, "{after} has {} more lines than {before}: {added:#?}", added.len());
        assert!(!added.is_empty(), "{after} is no cluster");
    }
}

#[test]
fn a_changed_line_counts_as_added_and_a_moved_one_too() {
    assert_eq!(added(&["a", "b", "c"], &["a", "x", "c"]), ["x"]);
    assert_eq!(added(&["a", "b", "c"], &["c", "a", "b"]), ["c"]);
    assert_eq!(added(&["a", "b"], &["a", "a", "b", ""]), ["a", ""]);
    assert_eq!(added(&["a", "b", "c"], &["c"]), [] as [&str; 0]);
}

fn source(example: &str) -> String {
    let path = format!("{}/examples/{example}.rs", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All but the module's documentation, which says what the example is for.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with("//!")).collect()
}

/// The lines of `after` that are not in the longest common subsequence with `before`: those that `diff` marks with `>`.
fn added<'a>(before: &[&str], after: &[&'a str]) -> Vec<&'a str> {
    // common[i][j]: how many lines before[i..] and after[j..] have in common.
    let mut common = vec![vec![0; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            let same = before[i] == after[j];
            common[i][j] = if same { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut new) = (0, Vec::new());
    for (j, line) in after.iter().enumerate() {
        while i < before.len() && before[i] != *line && common[i + 1][j] == common[i][j] {
            i += 1;
        }
        if before.get(i) == Some(line) {
            i += 1;
        } else {
            new.push(*line);
        }
    }
    new
}
