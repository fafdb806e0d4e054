//! Redis' clients on real nodes: the README's examples with `redis-cli`, `redis-benchmark`, and a client of a few lines while
//! nodes are away.
//!
//! The first two need `redis-tools` (Debian); without them they say on stderr that they were left out.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "processes and clocks are real here")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dynode::config::File;
use tests::processes::{Cluster, free_ports};

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(60);

/// Three nodes, and the ports at which they speak Redis' protocol.
fn cluster(dir: &Path) -> (Cluster, Vec<u16>) {
    let cluster = Cluster::new(dir, 3, 16).unwrap();
    let ports = free_ports(3).unwrap();
    for (node, port) in cluster.nodes.iter().zip(&ports) {
        let mut file = File::read(&node.config()).unwrap();
        file.resp = Some(format!("127.0.0.1:{port}"));
        file.write(&node.config()).unwrap();
    }
    (cluster, ports)
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dynode-test-").tempdir().unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// A client that knows numbers, strings and errors.
struct Redis(BufReader<TcpStream>);

impl Redis {
    fn at(port: u16) -> Redis {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.set_nodelay(true).unwrap();
        Redis(BufReader::new(stream))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The answer without its kind; of an error all of it; `nil` for nothing.
    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line = line.trim_end();
        match line.split_at(1) {
            ("$", "-1") => "nil".into(),
            ("$", length) => {
                let mut bytes = vec![0; length.parse::<usize>().unwrap() + 2];
                self.0.read_exact(&mut bytes).unwrap();
                String::from_utf8(bytes[..bytes.len() - 2].to_vec()).unwrap()
            }
            ("+" | ":", said) => said.into(),
            _ => line.into(),
        }
    }
}

#[test]
fn all_nodes_show_the_same_and_miss_those_that_are_away_only_where_they_are_needed() {
    let dir = folder();
    let (mut cluster, ports) = cluster(dir.path());
    run(cluster.start_all()).unwrap();
    let mut nodes: Vec<Redis> = ports.iter().map(|port| Redis::at(*port)).collect();
    for n in 0..60 {
        assert_eq!(nodes[n % 3].ask(&format!("SET k{n} {n} EX 1000")), "OK");
        assert_eq!(nodes[(n + 1) % 3].ask(&format!("GET k{n}")), n.to_string());
        assert_eq!(nodes[(n + 2) % 3].ask(&format!("TTL k{n}")), "1000");
    }
    // One after the other, wherever: each sees those before it.
    for n in 1..=90 {
        assert_eq!(nodes[n % 3].ask("INCR n"), n.to_string());
    }
    assert_eq!(nodes[0].ask("DEL k0"), "1");
    assert_eq!(nodes[1].ask("GET k0"), "nil");
    assert_eq!(nodes[2].ask("DBSIZE"), "60");

    // One away: everything goes on, pipelined too.
    cluster.kill(2);
    for n in 1..=500 {
        nodes[0].send("INCR n");
        nodes[1].send(&format!("SET p{n} {n}"));
    }
    for n in 1..=500 {
        assert_eq!(nodes[0].answer(), (90 + n).to_string());
        assert_eq!(nodes[1].answer(), "OK");
    }
    assert_eq!(nodes[1].ask("GET n"), "590");
    assert_eq!(nodes[0].ask("GET k7"), "7");
    assert_eq!(nodes[1].ask("DBSIZE"), "560");

    // Two away: told so, and never that a key is not there.
    cluster.kill(1);
    for command in ["GET k7", "INCR n", "SCAN 0", "EXISTS k7", "SET k7 x"] {
        let said = nodes[0].ask(command);
        let unknown = command.starts_with("SET") || command.starts_with("INCR");
        assert!(
            said.starts_with("-NOREPLICAS ") || (unknown && said.starts_with("-OUTCOMEUNKNOWN ")),
            "{command}: {said}"
        );
    }
    assert_eq!(nodes[0].ask("PING"), "PONG");

    // Back.
    run(async {
        for i in [1, 2] {
            cluster.start(i).unwrap();
            cluster.wait_until_up(i).await.unwrap();
        }
    });
    let (began, mut two) = (Instant::now(), Redis::at(ports[2]));
    loop {
        let said = two.ask("GET n");
        if let Ok(number) = said.parse::<u32>() {
            // The one whose outcome was unknown may have been done.
            assert!((590..=591).contains(&number), "{said}");
            break;
        }
        assert!(said.starts_with('-') && began.elapsed() < WITHIN, "{said}");
    }
    run(cluster.stop_all()).unwrap();
}

#[test]
fn an_address_that_is_taken_is_an_error_at_the_start() {
    let dir = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let resp = taken.local_addr().unwrap().to_string();
    let listen = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
    let started = Command::new(tests::processes::binary().unwrap())
        .args(["start", "--listen", &listen, "--resp", &resp, "--data"])
        .arg(dir.path().join("n"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&started.stderr).to_string();
    assert!(!started.status.success());
    assert!(said.contains(&resp) && said.contains("choose another `resp`"), "{said}");
}

fn has_tools() -> bool {
    let found = |name| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    let all = found("redis-cli") && found("redis-benchmark");
    if !all {
        // Not `eprintln`: that is shown of failed tests only.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: there is no redis-cli (Debian: apt-get install redis-tools)");
    }
    all
}

#[test]
fn the_readme_says_what_redis_cli_shows() {
    let dir = folder();
    if !has_tools() {
        return;
    }
    let (mut cluster, ports) = cluster(dir.path());
    run(cluster.start_all()).unwrap();
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let section = readme.split("## Use it with Redis' clients").nth(1).expect("the section");
    let block = section.split("```console\n").nth(1).expect("the examples").split("```").next().unwrap();
    let mut examples: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ redis-cli -p 7102 ") {
            Some(command) => examples.push((command.split("  #").next().unwrap().trim().into(), String::new())),
            None => examples.last_mut().unwrap().1.push_str(&format!("{line}\n")),
        }
    }
    assert!(examples.len() > 5);
    for (command, expected) in &examples {
        for protocol in ["-2", "-3"] {
            if protocol == "-3" && !command.to_lowercase().starts_with("get") {
                continue; // once is enough of what changes something
            }
            let script = format!("redis-cli {protocol} --no-raw -p {} {command}", ports[0]);
            let done = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
            let said = String::from_utf8(done.stdout).unwrap();
            assert_eq!(said.trim(), expected.trim(), "{command}");
        }
    }
}

#[test]
fn redis_benchmark_ends_without_an_error() {
    let dir = folder();
    if !has_tools() {
        return;
    }
    let (mut cluster, ports) = cluster(dir.path());
    run(cluster.start_all()).unwrap();
    for (pipeline, requests) in [("1", "2000"), ("16", "8000")] {
        for keys in [&[][..], &["-r", "1000"]] {
            let done = Command::new("redis-benchmark")
                .args(["-p", &ports[0].to_string(), "-t", "set,get,incr,mset", "-P", pipeline, "-n", requests])
                .args(["-c", "20", "--csv"])
                .args(keys)
                .output()
                .unwrap();
            let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            assert!(done.status.success() && !said.to_lowercase().contains("err"), "{said}");
            assert_eq!(["SET", "GET", "INCR", "MSET"].iter().filter(|name| said.contains(*name)).count(), 4, "{said}");
        }
    }
    let (mut zero, mut one) = (Redis::at(ports[0]), Redis::at(ports[1]));
    assert_eq!(zero.ask("INFO replication").lines().next(), Some("# Replication"));
    // All increments of the runs with one key are there.
    assert_eq!(one.ask("GET counter:__rand_int__"), (2000 + 8000).to_string());
    run(cluster.stop_all()).unwrap();
}
