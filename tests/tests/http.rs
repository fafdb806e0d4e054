//! HTTP to real nodes: the README's examples, word for word, and what is said while nodes are away.
//!
//! It needs `curl` (Debian: `curl`); without it, it says on stderr that it was left out.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "processes and clocks are real here")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dynode::config::File;
use serde_json::Value;
use tests::processes::{Cluster, free_ports};

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

/// Where the README says that the first node of `dynode dev` is.
const README_URL: &str = "http://127.0.0.1:7101";

/// Three nodes with HTTP, and their URLs; `None` when there is no curl.
fn cluster(dir: &Path) -> Option<(Cluster, Vec<String>)> {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        // Not `eprintln`: that is shown of failed tests only.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: there is no curl (Debian: apt-get install curl)");
        return None;
    }
    let cluster = Cluster::new(dir, 3, 16).unwrap();
    let ports = free_ports(3).unwrap();
    for (node, port) in cluster.nodes.iter().zip(&ports) {
        let mut file = File::read(&node.config()).unwrap();
        file.http = Some(format!("127.0.0.1:{port}"));
        file.write(&node.config()).unwrap();
    }
    Some((cluster, ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect()))
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dynode-test-").tempdir().unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// The status and the body.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output =
        Command::new("curl").args(["-sS", "-m", "30", "-w", "\n%{http_code}"]).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_string())
}

fn json(arguments: &[&str]) -> Value {
    let (_, body) = curl(arguments);
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
}

#[test]
fn the_readme_says_what_happens() {
    let dir = folder();
    let Some((mut cluster, urls)) = cluster(dir.path()) else { return };
    run(cluster.start_all()).unwrap();
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let section = readme.split("## Use it with curl").nth(1).expect("the section").split("\n## ").next().unwrap();
    let block = section.split("```console\n").nth(1).expect("the examples").split("```").next().unwrap();
    assert!(block.contains(README_URL));
    let mut script = "set -euo pipefail\n".to_string();
    let mut expected: Vec<String> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => {
                // Its answer ends in a line of its own, as in a terminal.
                script.push_str(&format!("{command}\necho; echo '--end'\n").replace(README_URL, &urls[0]));
                expected.push(String::new());
            }
            None => expected.last_mut().unwrap().push_str(line.trim()),
        }
    }
    assert!(expected.len() > 8);
    let shell = Command::new("bash").args(["-c", &script.replace("curl ", "curl -sS ")]).output().unwrap();
    let said = String::from_utf8(shell.stdout).unwrap();
    assert!(shell.status.success(), "{said}\n{}", String::from_utf8_lossy(&shell.stderr));
    let answers: Vec<&str> = said.split("--end\n").map(str::trim).collect();
    for (at, expected) in expected.iter().enumerate() {
        assert!(fits(answers[at], expected), "command {}: {} instead of {expected}", at + 1, answers[at]);
    }
}

/// `…` stands for anything.
fn fits(said: &str, expected: &str) -> bool {
    let Some((first, others)) = expected.split_once('…') else { return said == expected };
    let (between, last) = others.rsplit_once('…').map_or((None, others), |(between, last)| (Some(between), last));
    let Some(mut rest) = said.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    between.into_iter().flat_map(|between| between.split('…')).all(|piece| match rest.find(piece) {
        Some(found) => {
            rest = &rest[found + piece.len()..];
            true
        }
        None => false,
    })
}

#[test]
fn nodes_that_are_away_are_told_of_and_missed_only_where_they_are_needed() {
    let dir = folder();
    let Some((mut cluster, urls)) = cluster(dir.path()) else { return };
    run(cluster.start_all()).unwrap();
    let keys: Vec<String> = (0..40).map(|n| format!("k{n:02}")).collect();
    for (n, key) in keys.iter().enumerate() {
        let url = format!("{}/kv/b/{key}", urls[n % 3]);
        assert_eq!(curl(&["-X", "PUT", &url, "-d", "v"]).0, 204);
    }
    let listing = format!("{}/kv/b", urls[0]);
    let ready = format!("{}/health/ready", urls[0]);
    assert_eq!(curl(&[&ready]), (200, r#"{"state":"up"}"#.into()));

    // One away: everything is there, and complete.
    cluster.kill(2);
    let page = json(&[&listing]);
    assert_eq!((&page["keys"], &page["complete"]), (&serde_json::json!(keys), &true.into()));
    assert_eq!(curl(&[&format!("{}/kv/b/k07", urls[1])]), (200, "v".into()));
    assert!(curl(&[&format!("{}/health/live", urls[2])]).0 == 0, "it is gone");

    // Two away: a quorum is missed, and told with its counts.
    cluster.kill(1);
    let refused = json(&[&format!("{}/kv/b/k07?timeout=2s", urls[0])]);
    assert_eq!(
        (&refused["error"], &refused["needed"], &refused["received"]),
        (&"quorum_not_met".into(), &2.into(), &1.into())
    );
    let (status, body) = curl(&["-X", "PUT", &format!("{}/kv/b/new?timeout=2s", urls[0]), "-d", "v"]);
    assert!(matches!(status, 503 | 504) && body.contains("\"needed\":2"), "{status} {body}");
    let one = format!("{}/kv/b/one?w=one&strict=true", urls[0]);
    assert_eq!(curl(&["-X", "PUT", &one, "-d", "v"]).0, 204);
    assert_eq!(curl(&[&format!("{}/kv/b/k07?r=one", urls[0])]), (200, "v".into()));
    let page = json(&[&listing]);
    assert_eq!(page["complete"], false);
    assert_eq!(page["incomplete_partitions"].as_array().unwrap().len(), 16);
    assert!(keys.iter().all(|key| page["keys"].as_array().unwrap().contains(&key.as_str().into())));
    let status = json(&[&format!("{}/cluster/status", urls[0])]);
    let states: Vec<&Value> = status["nodes"].as_array().unwrap().iter().map(|node| &node["state"]).collect();
    assert_eq!(states, ["up", "unreachable", "unreachable"]);

    // Back: complete again.
    run(async {
        cluster.start(1).unwrap();
        cluster.start(2).unwrap();
        cluster.wait_until_up(1).await.unwrap();
        cluster.wait_until_up(2).await.unwrap();
    });
    let began = Instant::now();
    loop {
        let page = json(&[&listing]);
        let found = page["keys"].as_array().cloned().unwrap_or_default();
        if page["complete"] == true && found.contains(&"one".into()) {
            assert!(keys.iter().all(|key| found.contains(&key.as_str().into())), "{page}");
            break;
        }
        assert!(began.elapsed() < WITHIN, "{page}");
        std::thread::sleep(Duration::from_millis(50));
    }
    run(cluster.stop_all()).unwrap();
}

/// Whoever waits for a node's word that it is ready is not refused in the moment after it.
#[test]
fn a_node_that_says_it_is_ready_takes_writes() {
    let dir = folder();
    let Some((mut cluster, urls)) = cluster(dir.path()) else { return };
    let until_ready = |url: &String| {
        let (url, began) = (format!("{url}/health/ready"), Instant::now());
        // Nobody listens yet at first.
        let asked = || Command::new("curl").args(["-s", "-m", "30", "-f", &url]).output().unwrap();
        while !asked().status.success() {
            assert!(began.elapsed() < WITHIN, "{:?}", curl(&[&url]));
        }
    };
    let write = |url: &String| curl(&["-X", "PUT", &format!("{url}/kv/b/k?w=quorum&strict=true"), "-d", "v"]);
    let (ready, began) = (format!("{}/health/ready", urls[0]), Instant::now());
    cluster.start(0).unwrap();
    let (status, said) = loop {
        match curl(&[&ready]) {
            (0, _) => assert!(began.elapsed() < WITHIN), // nobody listens yet
            answer => break answer,
        }
    };
    // Two of three owners are missing, which it says for ten seconds.
    let is_starting = status == 503 && said.contains("starting") && said.contains("owners of partition");
    assert!(is_starting || began.elapsed() >= Duration::from_secs(10), "{said}");
    (1..3).for_each(|i| cluster.start(i).unwrap());
    for url in &urls {
        until_ready(url);
        assert_eq!(write(url).0, 204, "{:?}", json(&[&format!("{url}/cluster/status")]));
    }
    for (i, url) in urls.iter().enumerate() {
        cluster.kill(i);
        cluster.start(i).unwrap();
        until_ready(url);
        let (status, said) = write(url);
        assert_eq!(status, 204, "{said}");
    }
}

#[test]
fn a_read_that_must_have_seen_a_write_never_says_less() {
    let dir = folder();
    let Some((mut cluster, urls)) = cluster(dir.path()) else { return };
    run(cluster.start_all()).unwrap();
    cluster.kill(2);
    let (answer, write) = (dir.path().join("head"), format!("{}/kv/b/k", urls[0]));
    assert_eq!(curl(&["-X", "PUT", &write, "-d", "v", "-D", answer.to_str().unwrap()]).0, 204);
    let head = std::fs::read_to_string(&answer).unwrap();
    let context = head.lines().find_map(|line| line.strip_prefix("x-dynode-context: ")).unwrap().to_string();

    // The third has not heard of it, and cannot: one that has is gone, the other one stands still.
    cluster.kill(0);
    cluster.pause(1).unwrap();
    cluster.start(2).unwrap();
    let (began, ready) = (Instant::now(), format!("{}/health/ready", urls[2]));
    while curl(&[&ready]).0 != 200 {
        assert!(began.elapsed() < WITHIN);
        std::thread::sleep(Duration::from_millis(50));
    }
    let read = format!("{}/kv/b/k?r=one&timeout=1s", urls[2]);
    assert_eq!(curl(&[&read]).0, 404, "it lags");
    let seen = format!("X-Dynode-At-Least: {context}");
    let (status, body) = curl(&[&read, "-H", &seen]);
    assert!(status == 503 && body.contains("not_seen_yet"), "{status} {body}");

    cluster.go_on(1).unwrap();
    let began = Instant::now();
    loop {
        match curl(&[&read, "-H", &seen]) {
            (200, body) => break assert_eq!(body, "v"),
            (status, body) => assert_eq!(status, 503, "{body}"),
        }
        assert!(began.elapsed() < WITHIN);
    }
    run(cluster.stop(1)).unwrap();
    run(cluster.stop(2)).unwrap();
}

#[test]
fn an_address_that_is_taken_is_an_error_at_the_start() {
    let dir = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap().to_string();
    let listen = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
    let data = dir.path().join("n");
    let started = Command::new(tests::processes::binary().unwrap())
        .args(["start", "--listen", &listen, "--http", &http, "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&started.stderr).to_string();
    assert!(!started.status.success());
    assert!(said.contains(&http) && said.contains("choose another `http`"), "{said}");
}

/// What a request is called by goes with it to every copy that takes part, and their logs say so.
#[test]
fn a_request_is_known_by_its_name_in_the_logs_of_all_who_take_part() {
    let dir = folder();
    let Some((mut cluster, urls)) = cluster(dir.path()) else { return };
    cluster.log_filter = Some("info,dynode::request=debug".into());
    run(cluster.start_all()).unwrap();
    let url = format!("{}/kv/b/k?w=all&strict=true", urls[0]);
    let until = Instant::now() + WITHIN;
    while curl(&["-X", "PUT", &url, "-d", "first"]).0 != 204 {
        assert!(Instant::now() < until, "the cluster does not take writes of all owners");
    }
    let (status, body) = curl(&["-X", "PUT", &url, "-H", "X-Request-Id: call-me-7c4e", "-d", "second"]);
    assert_eq!(status, 204, "{body}");
    let parts = |node: &tests::processes::Node| -> Vec<String> {
        let log = std::fs::read_to_string(node.dir.join("dynode.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("id=call-me-7c4e") && line.contains("outcome=\"done\""));
        lines.map(|line| line.split("what=").nth(1).unwrap().split('"').nth(1).unwrap().to_string()).collect()
    };
    // All have acknowledged before the answer, and log before they do.
    let mut all: Vec<String> = cluster.nodes.iter().flat_map(parts).collect();
    all.sort();
    assert_eq!(all, ["Put", "Replicate", "Replicate"]);
    for node in &cluster.nodes {
        assert_eq!(parts(node).len(), 1, "{}", node.name);
    }
}
