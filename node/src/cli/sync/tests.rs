//! What `sync` shows of nodes that lack something, are down, or have not compared yet.

use super::*;

fn member(name: &str) -> Member {
    Member { id: NodeId(1), name: name.into(), addr: "h:1".into(), zone: "z".into(), weight: 1 }
}

fn peer(name: &str, up: bool, compared: Option<f64>, lacks: (u64, u64, Option<f64>), peer_lacks: u64) -> Value {
    json!({
        "name": name, "up": up, "in_common": 256, "compared_seconds": compared,
        "lacks": { "writes": lacks.0, "partitions": lacks.1, "for_seconds": lacks.2 },
        "peer_lacks": { "writes": peer_lacks, "partitions": 1 },
    })
}

fn plain(told: &[Told], partitions: bool) -> String {
    anstream::adapter::strip_str(&as_text(told, partitions)).to_string()
}

#[test]
fn who_lacks_what_of_whom() {
    let report = json!({
        "peers": [peer("n1", true, Some(0.44), (12_345, 17, Some(8.0)), 0), peer("n2", false, Some(75.0), (0, 0, None), 40)],
        "pulls": [{ "partition": 3, "source": "n1", "kind": "scan" }, { "partition": 4, "source": "n1", "kind": "delta" }],
        "partitions": [{ "partition": 3, "peer": "n1", "lacks": 12_000, "peer_lacks": 0, "for_seconds": 8.0 }],
        "partitions_not_told": 1, "waiting": 2, "scans_served": 0, "deltas_served": 1, "held": 0,
    });
    let told = [(member("n0"), Ok(report)), (member("n2"), Err("refused".into()))];
    let expected = "\
12,345 writes on their way

node  of              compared          lacks  in partitions  for  pulling
n0    n1             0.4 s ago  12,345 writes      17 of 256  8 s  1 scan, 1 delta
n0    n2  down, 1 min 15 s ago        nothing       0 of 256

no answer: n2: refused (of one peer's writes alone it may lack 40)
n0: 2 partitions wait to be pulled, 1 long delta is taken from it

node  of  partition   lacks  has more  for
n0    n1          3  12,000         0  8 s
and 1 pair more
";
    assert_eq!(plain(&told, true), expected, "as it is now:\n{}", plain(&told, true));
}

#[test]
fn a_quiet_cluster_says_so() {
    let report = json!({ "peers": [peer("n1", true, Some(0.2), (0, 0, None), 0)] });
    let text = plain(&[(member("n0"), Ok(report))], true);
    assert!(text.starts_with("nobody lacks anything") && text.ends_with("no two copies are apart\n"), "{text}");
}

#[test]
fn compared_means_since_it_was_asked_for() {
    let at = |compared, up| Ok(json!({ "peers": [peer("n1", up, compared, (0, 0, None), 0)] }));
    let since = Duration::from_millis(300);
    assert!(is_compared(&at(Some(0.2), true), since));
    assert!(!is_compared(&at(Some(0.4), true), since), "that was before");
    assert!(!is_compared(&at(None, true), since));
    assert!(is_compared(&at(Some(9.0), false), since), "it cannot be");
    assert!(is_compared(&Err("refused".into()), since));
}
