//! `dynode bucket` on real nodes: a change at one is one everywhere, also where a node was away.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::processes::{Cluster, binary};

use super::{folder, run};

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

fn dynode(addr: &str, arguments: &[&str]) -> Output {
    Command::new(binary().unwrap()).args(arguments).args(["--node", addr]).stdin(Stdio::null()).output().unwrap()
}

fn told(addr: &str, arguments: &[&str]) -> Result<Value, String> {
    let output = dynode(addr, &[&["bucket", "b", "--json"], arguments].concat());
    match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map_err(|e| e.to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

fn until_told(addr: &str, expected: &Value) {
    let began = Instant::now();
    while told(addr, &[]).as_ref() != Ok(expected) {
        assert!(began.elapsed() < WITHIN, "{:?} instead of {expected}", told(addr, &[]));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_bucket_that_is_changed_at_one_node_is_changed_everywhere() {
    let dir = folder();
    let mut cluster = Cluster::new(dir.path(), 3, 16).unwrap();
    run(cluster.start_all());
    let addrs: Vec<String> = cluster.nodes.iter().map(|node| node.addr.clone()).collect();

    let first = told(&addrs[0], &[]).unwrap();
    let defaults = json!({
        "bucket": "b", "kind": "siblings", "n": 3, "r": "quorum", "w": "quorum", "ttl_ms": null, "since_ms": null,
    });
    assert_eq!(first, defaults);
    let lww = told(&addrs[1], &["--kind", "lww", "--r", "one", "--ttl", "1h"]).unwrap();
    assert_eq!(
        (&lww["kind"], &lww["r"], &lww["w"], &lww["ttl_ms"]),
        (&json!("lww"), &json!("one"), &json!("quorum"), &json!(3_600_000))
    );
    addrs.iter().for_each(|addr| until_told(addr, &lww));
    for value in ["one", "two"] {
        assert!(dynode(&addrs[2], &["put", "b", "k", value]).status.success());
    }
    assert_eq!(dynode(&addrs[0], &["get", "b", "k", "--r", "all"]).stdout, b"two");

    // One that was away hears of it; all of them remember.
    cluster.kill(2);
    let later = told(&addrs[0], &["--ttl", "none", "--w", "all"]).unwrap();
    assert_eq!((&later["kind"], &later["w"], &later["ttl_ms"]), (&json!("lww"), &json!("all"), &Value::Null));
    cluster.start(2).unwrap();
    run(cluster.wait_until_up(2));
    until_told(&addrs[2], &later);
    run(cluster.stop_all());
    run(cluster.start_all());
    addrs.iter().for_each(|addr| assert_eq!(told(addr, &[]), Ok(later.clone())));

    // For people; and what cannot be is named, and changes nothing.
    let shown = String::from_utf8(dynode(&addrs[0], &["bucket", "b"]).stdout).unwrap();
    assert!(["lww", "copies", "one", "all", "none"].iter().all(|word| shown.contains(word)), "{shown}");
    for (arguments, code, says) in [
        (["--n", "5"], 1, "as many copies as the layout"),
        (["--w", "4"], 1, "4 of 3"),
        (["--ttl", "0s"], 2, "0s"),
        (["--kind", "last"], 2, "siblings"),
        (["--ttl", "soon"], 2, "soon"),
    ] {
        let output = dynode(&addrs[0], &[&["bucket", "b"], &arguments[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(says), "{arguments:?}: {said}");
    }
    assert_eq!(told(&addrs[0], &[]), Ok(later));
    run(cluster.stop_all());
}
