//! The dashboard and the alert rules name only metrics that a node has; requests' ids come back.

use std::collections::BTreeSet;
use std::path::Path;

use crate::served::alone;

/// Metrics that only the real engine, or a node with peers, has: their names stand in `http/metrics.rs`.
const ELSEWHERE: [&str; 3] = ["dynode_rocksdb_", "dynode_peer_", "dynode_fsync_"];

/// The words of a text that begin as our metrics do.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("dynode_") && !word.ends_with('_')).collect()
}

#[test]
fn what_dashboards_and_alerts_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let served = alone();
    served.ask("GET /kv/b/k", b"");
    let metrics = served.ask("GET /metrics", b"").text();
    let there: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .chain(metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()))
        .collect();
    let source = read("node/src/http/metrics.rs");
    for file in ["grafana.json", "alerts.yml", "README.md"] {
        let text = read(&format!("docs/observability/{file}"));
        let named = named(&text);
        assert!(named.len() > 8, "{file}: {named:?}");
        for name in named {
            let short = name.trim_start_matches("dynode_");
            let short = ["_bucket", "_sum", "_count"].iter().find_map(|end| short.strip_suffix(end)).unwrap_or(short);
            let is_elsewhere = ELSEWHERE.iter().any(|start| name.starts_with(start));
            let is_there = there.contains(name) || (is_elsewhere && source.contains(&format!("\"{short}\"")));
            assert!(is_there, "{file} names {name}, which no node has");
        }
    }
    serde_json::from_str::<serde_json::Value>(&read("docs/observability/grafana.json")).unwrap();
}

#[test]
fn every_answer_has_the_id_of_its_request() {
    let served = alone();
    assert_eq!(served.ask("GET /kv/b/k\nX-Request-Id: 7c4e", b"").header("x-request-id"), Some("7c4e"));
    let made = |head: &str| served.ask(head, b"").header("x-request-id").map(str::len);
    assert_eq!(made("GET /kv/b/k"), Some(16));
    assert_eq!(made(&format!("GET /metrics\nX-Request-Id: {}", "x".repeat(300))), Some(16), "too long to be one");
}
