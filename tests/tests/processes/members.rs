//! Members come and go by an operator's word, on real processes.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use dynode::cli::transfer::persist;
use dynode::config::File;
use dynode_client::wire::{Decoder, Get, Message};
use dynode_client::{Client, Quorum, Topic};
use serde_json::Value;
use tests::processes::{Cluster, binary, free_ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::hostile::{frame, greeted};
use super::{folder, run, text};

/// "Within seconds", on a machine that runs other tests at the same time.
const WITHIN: Duration = Duration::from_secs(60);

/// A guest that was started by hand. Killed when dropped.
struct Guest(std::process::Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guest {
    /// Starts one as an operator would, by flags: it comes to the first node.
    fn start(cluster: &Cluster, name: &str, addr: &str) -> Result<Guest, String> {
        let dir = cluster.nodes[0].dir.with_file_name(name);
        std::fs::create_dir_all(&dir).map_err(text)?;
        let log = OpenOptions::new().create(true).append(true).open(dir.join("log")).map_err(text)?;
        let guest = Command::new(binary()?)
            .args(["start", "--name", name, "--listen", addr, "--join", &cluster.nodes[0].addr])
            .arg("--data")
            .arg(dir.join("data"))
            .arg("--secret")
            .arg(cluster.nodes[1].config())
            .stderr(log)
            .spawn();
        guest.map(Guest).map_err(text)
    }
}

/// Reads a key at just this node, with a strict quorum: its values, one after the other.
async fn read_at(addr: &str, key: &str) -> Result<Bytes, String> {
    let (bucket, key) = (Bytes::from_static(b"b"), Bytes::copy_from_slice(key.as_bytes()));
    let get = Get { bucket, key, r: Quorum::Majority, strict: true, timeout_ms: 10_000, at_least: None };
    let mut stream = greeted(addr).await?;
    stream.write_all(&frame(&get.into())).await.map_err(text)?;
    let mut said = BytesMut::new();
    loop {
        match Decoder::new().decode(&mut said).map_err(text)? {
            Some(answer) if matches!(answer.message, Message::Found(_)) => return Ok(answer.body),
            Some(other) => return Err(format!("{other:?}")),
            None if stream.read_buf(&mut said).await.map_err(text)? == 0 => return Err("closed".into()),
            None => {}
        }
    }
}

/// Waits until something is so: what `look` says then.
async fn wait_until<T>(mut look: impl AsyncFnMut() -> Result<T, String>) -> Result<T, String> {
    let began = Instant::now();
    loop {
        match look().await {
            Err(_) if began.elapsed() < WITHIN => tokio::time::sleep(Duration::from_millis(100)).await,
            said => return said,
        }
    }
}

/// Runs a command against a node: what it printed, or what it said was wrong.
fn dynode(node: &str, args: &[&str]) -> Result<Value, String> {
    let done = Command::new(binary()?).args(args).args(["--json", "--node", node]).stdin(Stdio::null()).output();
    let done = done.map_err(text)?;
    match done.status.success() {
        true => serde_json::from_slice(&done.stdout).map_err(|e| format!("{args:?}: {e}")),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// Waits until all these nodes show the same layout of this epoch.
fn wait_until_agreed(nodes: &[String], epoch: u64) -> Result<Value, String> {
    let began = Instant::now();
    loop {
        let rings: Vec<Value> = nodes.iter().map(|node| dynode(node, &["ring"]).unwrap_or_default()).collect();
        if rings[0]["epoch"] == epoch && rings.iter().all(|ring| *ring == rings[0]) {
            return Ok(rings[0].clone());
        }
        if began.elapsed() > WITHIN {
            let epochs: Vec<&Value> = rings.iter().map(|ring| &ring["epoch"]).collect();
            return Err(format!("no agreement on epoch {epoch}: {epochs:?}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_guest_joins_and_a_member_leaves_and_all_have_one_layout() {
    run(async {
        let dir = folder();
        let mut cluster = Cluster::new(dir.path(), 5, 16)?;
        cluster.start_all().await?;
        let mut nodes: Vec<String> = cluster.nodes.iter().map(|node| node.addr.clone()).collect();
        dynode(&nodes[0], &["import", env!("CARGO_MANIFEST_DIR"), "--bucket", "files", "--skip-large"])
            .or_else(|why| if why.is_empty() { Ok(Value::Null) } else { Err(why) })?;

        let addr = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let refused = dynode(&nodes[0], &["join", &addr]).unwrap_err();
        assert!(refused.contains("no guest answers"), "{refused}");
        let _guest = Guest::start(&cluster, "guest", &addr)?;
        let began = Instant::now();
        while let Err(why) = dynode(&nodes[3], &["join", &addr]) {
            assert!(began.elapsed() < WITHIN, "{why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let plan = dynode(&nodes[3], &["plan"])?;
        assert_eq!(plan["copies"], plan["least_copies"], "{plan}");
        // Another node has heard of the staged change, or does so soon.
        let began = Instant::now();
        while let Err(why) = dynode(&nodes[4], &["commit", "--yes", "--wait"]) {
            assert!(began.elapsed() < WITHIN, "{why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        nodes.push(addr);
        let ring = wait_until_agreed(&nodes, 2)?;
        assert!(ring.to_string().contains("guest"), "{ring}");

        // Any node takes an operator's word, the one that leaves and the new one among them.
        dynode(&nodes[5], &["leave", "n1"])?;
        dynode(&nodes[5], &["commit", "--yes", "--wait"])?;
        // It was waited for: what it had is with the owners, and has left.
        let former = cluster.nodes[1].status().await?;
        assert_eq!(former["transfers"]["held"], serde_json::json!([]), "{former}");
        assert!(former["transfers"]["leaves"].as_u64() > Some(0), "{former}");
        let transfers = dynode(&nodes[0], &["transfers"])?;
        assert_eq!(transfers["settled"], true, "{transfers}");
        let of = |name: &str| transfers["nodes"].as_array().into_iter().flatten().find(|node| node["name"] == name);
        assert!(of("n0").is_some_and(|node| node["whole"] == node["comes"]), "{transfers}");
        assert!(of("n1").is_some_and(|node| node["member"] == false), "{transfers}");
        wait_until_agreed(&nodes, 3)?; // the former member knows, too
        let former = cluster.nodes[1].status().await?;
        assert_eq!((&former["changes"]["standing"], &former["partitions_owned"]), (&"former member".into(), &0.into()));

        // What is stored goes before what is configured, also for who was killed.
        cluster.kill(2);
        cluster.start(2)?;
        cluster.wait_until_up(2).await?;
        let status = cluster.nodes[2].status().await?;
        assert_eq!(status["epoch"], 3);
        Ok(())
    });
}

/// Scenario 21: what only a removed node had comes back with it, and nothing else does.
#[test]
fn scenario_21_a_removed_node_that_returns_owns_nothing_and_hands_over_what_only_it_has() {
    run(async {
        let dir = folder();
        let mut cluster = Cluster::new(dir.path(), 4, 16)?;
        cluster.start_all().await?;
        let nodes: Vec<String> = cluster.nodes.iter().map(|node| node.addr.clone()).collect();
        cluster.client().await?.bucket("b").map_err(text)?.put("k", "before").await.map_err(text)?;
        (0..3).for_each(|others| cluster.kill(others));
        let alone = Client::connect([&nodes[3]]).await.map_err(text)?.bucket("b").map_err(text)?;
        let keys: Vec<String> = (0..6).map(|number| format!("only-{number}")).collect();
        for key in &keys {
            let put = || {
                let put = alone.put(key, "only here").w(Quorum::One);
                async move { put.timeout(Duration::from_secs(3)).await }
            };
            persist(WITHIN, put).await.0.map_err(text)?;
        }
        cluster.kill(3);
        for others in 0..3 {
            cluster.start(others)?;
        }
        for others in 0..3 {
            cluster.wait_until_up(others).await?;
        }
        // Not before the others take it for down.
        let began = Instant::now();
        while let Err(why) = dynode(&nodes[0], &["remove", "n3"]) {
            assert!(why.contains("is not down") && began.elapsed() < WITHIN, "{why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        dynode(&nodes[0], &["commit", "--yes", "--wait"])?;
        let bucket = Client::connect(&nodes[..3]).await.map_err(text)?.bucket("b").map_err(text)?;
        for key in &keys {
            let read = bucket.get(key).r(Quorum::All).await.map_err(text)?;
            assert!(read.siblings().is_empty(), "{key} is there already, so the test proves nothing");
        }

        cluster.start(3)?;
        cluster.wait_until_answers(3).await?;
        let began = Instant::now();
        loop {
            let status = cluster.nodes[3].status().await?;
            assert!(began.elapsed() < WITHIN, "{status}");
            let is_former = status["changes"]["standing"] == "former member";
            let says_so = cluster.nodes[3].whole_log().contains("all that it had is with the owners");
            // Nothing is held either before it knows that the partitions have other owners for good.
            if is_former && says_so && status["transfers"]["held"].as_array().is_some_and(Vec::is_empty) {
                assert_eq!(status["partitions_owned"], 0, "{status}");
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster.stop(3).await?;
        for key in &keys {
            let read = bucket.get(key).r(Quorum::All).strict(true).await.map_err(text)?;
            assert_eq!(read.siblings().len(), 1, "{key}");
        }
        Ok(())
    });
}

/// `auto`: a guest needs no word, and gets its share; who was a member once needs one.
#[test]
fn with_auto_on_a_guest_becomes_a_member_by_itself_and_a_former_member_does_not() {
    run(async {
        let dir = folder();
        let mut cluster = Cluster::new(dir.path(), 3, 16)?;
        for node in &cluster.nodes {
            let file = File::read(&node.config()).map_err(text)?;
            File { auto: true, ..file }.write(&node.config()).map_err(text)?;
        }
        cluster.start_all().await?;
        let mut nodes: Vec<String> = cluster.nodes.iter().map(|node| node.addr.clone()).collect();
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let keys: Vec<String> = (0..40).map(|number| format!("before-{number}")).collect();
        for key in &keys {
            bucket.put(key, key.clone()).await.map_err(text)?;
        }

        let ports = free_ports(2)?;
        let [addr, later] = [ports[0], ports[1]].map(|port| format!("127.0.0.1:{port}"));
        let guest = Guest::start(&cluster, "guest", &addr)?;
        nodes.push(addr.clone());
        wait_until_agreed(&nodes, 2)?;
        // It has its share, and the others have no more than theirs.
        let first = nodes[0].clone();
        let is_settled = async || match dynode(&first, &["transfers"])? {
            transfers if transfers["settled"] == true => Ok(transfers),
            transfers => Err(format!("not settled: {transfers}")),
        };
        let transfers = wait_until(is_settled).await?;
        for node in &nodes {
            let status = dynode_client::inspect(node, Topic::Status, WITHIN).await.map_err(text)?;
            let status: Value = serde_json::from_slice(&status).map_err(text)?;
            let share = status["partitions_owned"].as_u64();
            assert!((11..=13).contains(&share.unwrap_or(0)), "12, give or take one: {status}");
            assert_eq!(status["transfers"]["held"], serde_json::json!([]), "{status}");
        }
        let of = |name: &str| transfers["nodes"].as_array().into_iter().flatten().find(|node| node["name"] == name);
        let comes = of("guest").and_then(|node| node["comes"].as_u64()).unwrap_or(0);
        assert!(comes >= 11 && of("guest").is_some_and(|node| node["whole"] == comes), "{transfers}");
        for key in &keys {
            assert_eq!(read_at(&addr, key).await?, key, "at the new member");
        }

        // It leaves by an operator's word, and comes back: as a former member, which the others hear of.
        dynode(&nodes[0], &["leave", "guest"])?;
        dynode(&nodes[0], &["commit", "--yes", "--wait"])?;
        drop(guest);
        let _former = Guest::start(&cluster, "guest", &addr)?;
        wait_until_agreed(&nodes, 3)?;
        // By when one that is new has come in by itself, the former member would have, too.
        let _new = Guest::start(&cluster, "later", &later)?;
        nodes.push(later);
        let ring = wait_until_agreed(&nodes, 4)?;
        let names: Vec<&str> =
            ring["members"].as_array().into_iter().flatten().filter_map(|m| m["name"].as_str()).collect();
        assert_eq!(names.len(), 4, "{ring}");
        assert!(names.contains(&"later") && !names.contains(&"guest"), "{ring}");
        wait_until(is_settled).await?;
        for node in &nodes {
            // Several members have seen it come, and each wanted it in.
            let staged = dynode(node, &["plan"]);
            assert!(staged.as_ref().is_err_and(|why| why.contains("nothing is staged")), "{staged:?}");
        }
        Ok(())
    });
}
