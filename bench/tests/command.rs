//! The program as people run it, against a stand-in for a node: what it prints, writes and exits with.

use std::path::Path;
use std::process::{Command, Output};

use dynode_client::fake::{Fault, Server};
use dynode_client::wire::ErrorCode;
use serde_json::Value;

struct Stand {
    server: Server,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Stand {
    fn new() -> Stand {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let server = runtime.block_on(Server::start());
        Stand { server, dir: tempfile::tempdir().expect("a directory"), _runtime: runtime }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// `{n}` in the line is the node, `{d}/` the directory.
    fn bench(&self, line: &str) -> Output {
        let line = line.replace("{n}", &self.server.addr()).replace("{d}", &self.dir.path().to_string_lossy());
        let program = Command::new(env!("CARGO_BIN_EXE_dynode-bench")).args(line.split(' ')).output();
        program.expect("the program runs")
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn well(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

#[test]
fn load_run_and_compare() {
    let stand = Stand::new();
    let text = well(&stand.bench("load --node {n} --records 200 --value-size 50"));
    assert!(text.contains("load, 200 records, 50-byte values"), "{text}");
    assert!(text.contains("200 operations") && text.contains("no errors"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");

    for (workload, operations) in [("a", ["read", "update"]), ("d", ["read", "insert"])] {
        let line =
            format!("run --workload {workload} --node {{n}} --records 200 --operations 2000 --json {{d}}/a.json");
        let text = well(&stand.bench(&line));
        assert!(operations.iter().all(|op| text.contains(op)), "{text}");
    }
    let line = "run --workload f --node {n} --records 200 --operations 500 --threads 2 --json - --hdr {d}/f.hdr";
    let output = stand.bench(line);
    let report: Value = serde_json::from_str(&well(&output)).expect("JSON alone on stdout");
    assert!(stderr(&output).contains("YCSB F"), "the table goes to stderr");
    assert_eq!(report["operations"], 500);
    assert_eq!(report["config"]["threads"], 2);
    let of = |op: &str| {
        let all = report["latencies"].as_array().expect("a list");
        all.iter().find(|l| l["op"] == op).map(|l| l["count"].as_u64().unwrap_or(0)).unwrap_or(0)
    };
    assert_eq!(of("read"), 500);
    assert_eq!(of("read-modify-write"), of("update"));
    let log = std::fs::read_to_string(stand.path("f.hdr")).expect("a log");
    assert!(log.contains("#[StartTime:") && log.contains("Tag=read-modify-write,"), "{log}");

    let text = well(&stand.bench("compare {d}/a.json {d}/a.json --fail-over 1%"));
    assert!(text.contains("same") && !text.contains("worse"), "{text}");
    let mut slower = json(stand.path("a.json"));
    slower["rate"] = 0.001.into();
    std::fs::write(stand.path("b.json"), slower.to_string()).expect("a file");
    let output = stand.bench("compare {d}/a.json {d}/b.json --fail-over 10%");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("worse than allowed: all rate"), "{}", stderr(&output));
    assert_eq!(well(&stand.bench("compare {d}/a.json {d}/b.json")).matches("worse").count(), 1);
}

#[test]
fn puts_and_gets_in_closed_and_open_loop() {
    let stand = Stand::new();
    well(&stand.bench("load --node {n} --records 100"));
    let text = well(&stand.bench("put --node {n} --operations 1000 --value-size 128"));
    assert!(text.contains("put of fresh keys, 128-byte values"), "{text}");
    let line = "get --node {n} --records 100 --operations 500 --rate 5k/s --arrivals poisson --json {d}/g.json";
    let text = well(&stand.bench(line));
    assert!(text.contains("open loop at 5,000/s as Poisson arrivals"), "{text}");
    let report = json(stand.path("g.json"));
    assert_eq!(report["operations"], 500);
    assert!(report["generator"]["lag_p99_ns"].is_u64());
}

#[test]
fn errors_are_counted_and_make_the_exit_code() {
    let stand = Stand::new();
    stand.server.always("Put", Fault::Fail(ErrorCode::TooManySiblings));
    let output = stand.bench("put --node {n} --operations 20 --in-flight 2");
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("put too_many_siblings") && text.contains("20 errors"), "{text}");
    assert!(text.contains("an error: too_many_siblings: too many siblings"), "{text}");
    well(&stand.bench("put --node {n} --operations 20 --in-flight 2 --allow-errors"));
    let output = stand.bench("get --node {n} --operations 20");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("get not_found"), "{}", stdout(&output));
}

#[test]
fn an_audit_passes_and_its_journal_is_checked_again() {
    let stand = Stand::new();
    let line =
        "audit --node {n} --duration 60s --writes 500 --keys 5 --writers 8 --journal {d}/j.jsonl --json {d}/v.json";
    let text = well(&stand.bench(line));
    assert!(text.contains("passed: every acknowledged write is there or was replaced"), "{text}");
    let verdict = json(stand.path("v.json"));
    assert!(verdict["acknowledged"] == 500, "{verdict}");
    well(&stand.bench("audit --node {n} --check {d}/j.jsonl"));

    // Somebody overwrites a key: the check of the same journal must now fail, and say which.
    let run = verdict["run"].as_str().expect("a name").to_string();
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    client.block_on(async {
        let client = dynode_client::Client::connect([stand.server.addr()]).await.expect("a connection");
        let bucket = client.bucket("bench").expect("a bucket");
        bucket.put(format!("audit-{run}-3"), "oops").over_current().await.expect("a write");
    });
    let output = stand.bench("audit --node {n} --check {d}/j.jsonl --settle 0s");
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("FAILED") && text.contains(&format!("lost: audit-{run}-3: write ")), "{text}");
    assert!(text.contains("not a value of an audit: `oops`"), "{text}");
}

#[test]
fn a_store_that_says_done_and_forgets_fails_the_audit() {
    let stand = Stand::new();
    let done = dynode_client::wire::PutDone { context: vec![].into(), acks: dynode_client::Acks::default() };
    // One acknowledgement of a write that was never made.
    stand.server.next("Put", [Fault::Say(Box::new(done.into()))]);
    let output = stand.bench("audit --node {n} --duration 60s --writes 50 --keys 3 --writers 1 --settle 0s");
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("lost:"), "{}", stdout(&output));
}

#[test]
fn what_cannot_be_done_is_said_with_exit_code_2() {
    let stand = Stand::new();
    for (line, word) in [
        ("get --node 127.0.0.1:1 --timeout 500ms", "cannot reach the cluster"),
        ("get --node {n} --operations 1 --json /nowhere/at/all.json", "cannot write /nowhere/at/all.json"),
        ("compare {d}/none.json {d}/none.json", "cannot read"),
        ("audit --node {n} --check {d}/none.jsonl", "cannot read"),
        ("get --node {n} --duration 3x", "is not a duration"),
    ] {
        let output = stand.bench(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(stderr(&output).contains(word), "{line}: {}", stderr(&output));
    }
}
