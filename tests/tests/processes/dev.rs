//! `dynode dev`, and the commands, as people and programs use them.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tests::processes::binary;

use super::folder;

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

/// `dynode dev --json`, and its lines. Killed when dropped; its nodes then end by themselves.
struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start(data: &Path, base_port: u16) -> Dev {
        let mut child = Command::new(binary().unwrap())
            .args(["dev", "--json", "--data"])
            .arg(data)
            .args(["--base-port", &base_port.to_string(), "--partitions", "16"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Dev { child, lines }
    }

    /// The next event of this name. Each line is an event; `dev` itself bounds how long it waits.
    fn event(&mut self, name: &str) -> Value {
        for line in &mut self.lines {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == name {
                return event;
            }
        }
        panic!("`dynode dev` ended without `{name}`");
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(u64::from(self.child.id())), signal).unwrap();
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that was started by hand. Killed when dropped.
struct ByHand(Child);

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pid(pid: u64) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn pid_of(ready: &Value, node: usize) -> Pid {
    pid(ready["nodes"][node]["pid"].as_u64().unwrap())
}

/// The first of the ports of three nodes, all of them free.
fn base_port() -> u16 {
    let mut random = rand::rng();
    loop {
        let base = random.random_range(12_000..30_000_u16);
        if (base..base + 23).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

fn dynode(arguments: &[&str]) -> Output {
    Command::new(binary().unwrap()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WITHIN, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn dev_starts_survives_a_dead_node_stops_and_continues() {
    let (folder, base) = (folder(), base_port());
    let data = folder.path().join("cluster");
    let addr = format!("127.0.0.1:{base}");
    let node = ["--node", addr.as_str()];
    let mut dev = Dev::start(&data, base);
    let ready = dev.event("ready");
    assert_eq!(ready["new"], true);
    assert_eq!(ready["nodes"][2]["addr"], format!("127.0.0.1:{}", base + 20));
    let put = dynode(&[&["put", "fruit", "apple", "green"], &node[..]].concat());
    assert_eq!((code(&put), put.stdout.as_slice()), (0, &b""[..]), "{}", said(&put));

    // The same data again, while it runs.
    let second = dynode(&["dev", "--data", data.to_str().unwrap()]);
    assert!(code(&second) == 1 && said(&second).contains("runs already"), "{}", said(&second));

    // A node dies; it is started by hand; `dev` notices both.
    kill_process(pid_of(&ready, 1), Signal::KILL).unwrap();
    assert_eq!(dev.event("died")["node"], "n1");
    let get = dynode(&[&["get", "fruit", "apple"], &node[..]].concat());
    assert_eq!((code(&get), get.stdout.as_slice()), (0, &b"green"[..]), "{}", said(&get));
    let config = data.join("n1/dynode.toml");
    let by_hand =
        Command::new(binary().unwrap()).arg("start").arg("--config").arg(&config).stderr(Stdio::null()).spawn();
    let by_hand = ByHand(by_hand.unwrap());
    assert_eq!(dev.event("back")["pid"], u64::from(by_hand.0.id()));

    // Ctrl-C stops what it has started, and only that.
    dev.signal(Signal::INT);
    let runs_on = dev.event("runs_on");
    assert_eq!((&runs_on["node"], &runs_on["pid"]), (&"n1".into(), &u64::from(by_hand.0.id()).into()));
    assert_eq!(dev.event("end")["clean"], true);
    assert_eq!(dev.ended(), Some(0));
    assert!(test_kill_process(pid(u64::from(by_hand.0.id()))).is_ok());
    kill_process(pid(u64::from(by_hand.0.id())), Signal::TERM).unwrap();
    let mut by_hand = by_hand;
    assert!(by_hand.0.wait().unwrap().success());

    // Other flags than what is there are refused; the same go on, with the same data.
    let other = dynode(&["dev", "--data", data.to_str().unwrap(), "--nodes", "5"]);
    assert!(code(&other) == 1 && said(&other).contains("--nodes says 5"), "{}", said(&other));
    let mut dev = Dev::start(&data, base);
    assert_eq!(dev.event("ready")["new"], false);
    let get = dynode(&[&["get", "fruit", "apple"], &node[..]].concat());
    assert_eq!((code(&get), get.stdout.as_slice()), (0, &b"green"[..]), "{}", said(&get));
    dev.signal(Signal::TERM);
    assert_eq!(dev.event("end")["clean"], true);
    assert_eq!(dev.ended(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn when_dev_is_killed_its_nodes_end_too() {
    let (folder, base) = (folder(), base_port());
    let mut dev = Dev::start(&folder.path().join("cluster"), base);
    let ready = dev.event("ready");
    dev.signal(Signal::KILL);
    assert_eq!(dev.ended(), None);
    for node in 0..3 {
        let port = base + 10 * node;
        until("a node outlives `dynode dev`", || TcpListener::bind(("127.0.0.1", port)).is_ok());
        let pid_file = ready["nodes"][usize::from(node)]["pid_file"].as_str().unwrap();
        until("a node did not stop cleanly", || !Path::new(pid_file).exists());
    }
}

#[test]
fn commands_print_and_exit_as_their_help_says() {
    let (folder, base) = (folder(), base_port());
    let mut dev = Dev::start(&folder.path().join("cluster"), base);
    dev.event("ready");
    let addr = format!("127.0.0.1:{base}");
    let ask = |arguments: &[&str]| dynode(&[arguments, &["--node", addr.as_str()]].concat());
    let json = |arguments: &[&str]| -> Value {
        let output = ask(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", said(&output)))
    };

    // One key: nothing there, a value, siblings, one again, none again.
    let missing = ask(&["get", "b", "k"]);
    assert_eq!(code(&missing), 1);
    assert!(missing.stdout.is_empty() && said(&missing).contains("not found"));
    assert_eq!(code(&ask(&["put", "b", "k", "one"])), 0);
    assert_eq!(ask(&["get", "b", "k"]).stdout, b"one");
    assert_eq!(code(&ask(&["put", "b", "k", "two"])), 0);
    let siblings = ask(&["get", "b", "k"]);
    assert_eq!(code(&siblings), 3);
    assert!(siblings.stdout.is_empty() && said(&siblings).contains("2 siblings"), "{}", said(&siblings));
    let both = json(&["get", "b", "k"]);
    assert_eq!(both["siblings"].as_array().unwrap().len(), 2);
    assert_eq!(code(&ask(&["put", "b", "k", "three", "--context", both["context"].as_str().unwrap()])), 0);
    assert_eq!(ask(&["get", "b", "k", "--r", "all"]).stdout, b"three");
    assert_eq!(code(&ask(&["put", "b", "k", "four", "--overwrite", "--w", "all"])), 0);
    assert_eq!(ask(&["get", "b", "k"]).stdout, b"four");
    assert_eq!(code(&ask(&["delete", "b", "k"])), 0);
    assert_eq!(code(&ask(&["get", "b", "k"])), 1);
    // Of another key.
    let foreign = ask(&["put", "b", "x", "v", "--context", both["context"].as_str().unwrap()]);
    assert!(code(&foreign) == 1 && said(&foreign).contains("context"), "{}", said(&foreign));

    // A folder.
    let files = folder.path().join("files");
    std::fs::create_dir_all(files.join("a/b")).unwrap();
    for (name, bytes) in [("a/1", 10_usize), ("a/b/2", 100_000), ("3", 0), ("4 ü", 8 << 20)] {
        std::fs::write(files.join(name), vec![b'x'; bytes]).unwrap();
    }
    let dir = files.to_str().unwrap();
    assert_eq!(json(&["import", dir])["files"], 4);
    assert_eq!(json(&["import", dir])["errors"], 0);
    let verified = json(&["verify", dir, "--r", "all"]);
    assert_eq!((&verified["files"], &verified["errors"]), (&4.into(), &0.into()));
    assert_eq!(ask(&["list", "files"]).stdout, "3\n4 ü\na/1\na/b/2\n".as_bytes());
    assert_eq!(json(&["list", "files", "--prefix", "a/", "--limit", "1"])["keys"][0], "a/1");
    let out = folder.path().join("out");
    assert_eq!(code(&ask(&["export", out.to_str().unwrap()])), 0);
    assert_eq!(std::fs::read(out.join("a/b/2")).unwrap().len(), 100_000);
    // What differs, is missing, or is too large is named.
    std::fs::write(files.join("a/1"), b"yyyyyyyyyy").unwrap();
    std::fs::write(files.join("new"), b"z").unwrap();
    std::fs::write(files.join("large"), vec![0; (8 << 20) + 1]).unwrap();
    let different = ask(&["verify", dir]);
    assert_eq!(code(&different), 1);
    let different = json(&["verify", dir]);
    for kind in ["different", "missing", "too_large"] {
        assert_eq!(different["errors_by_kind"][kind], 1, "{different}");
    }
    assert_eq!(code(&ask(&["import", dir])), 1);
    assert_eq!(code(&ask(&["import", dir, "--skip-large"])), 0);
    assert_eq!(code(&ask(&["verify", dir, "--skip-large"])), 0);

    // The cluster.
    let status = json(&["status"]);
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3);
    assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "up"));
    let ring = json(&["ring", "--key", "files/3"]);
    assert_eq!(ring["owners"].as_array().unwrap().len(), 16);
    assert_eq!(ring["key"]["owners"].as_array().unwrap().len(), 3);
    let svg = folder.path().join("ring.svg");
    assert_eq!(code(&ask(&["ring", "--svg", svg.to_str().unwrap()])), 0);
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    assert_eq!(json(&["local"])["copies"].as_array().unwrap().len(), 16);
    assert_eq!(json(&["members"])["members"].as_array().unwrap().len(), 3);

    // Nobody there.
    let nobody = dynode(&["status", "--node", "127.0.0.1:1"]);
    assert!(code(&nobody) == 1 && said(&nobody).contains("dynode dev"), "{}", said(&nobody));
    assert_eq!(code(&dynode(&["status", "--no-such-flag"])), 2);
    assert!(said(&dynode(&["start", "--data", "x", "--join", "127.0.0.1:1"])).contains("can be reached"));
    dev.signal(Signal::INT);
    assert_eq!(dev.ended(), Some(0));
}
