//! Members come and go by an operator's word, on real processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dynode::cli::transfer::persist;
use dynode_client::{Client, Quorum};
use serde_json::Value;
use tests::processes::{Cluster, binary, free_ports};

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
        let log = std::fs::File::create(dir.path().join("guest.log")).map_err(text)?;
        let guest = Command::new(binary()?)
            .args(["start", "--name", "guest", "--listen", &addr, "--join", &nodes[0]])
            .arg("--data")
            .arg(dir.path().join("guest"))
            .arg("--secret")
            .arg(cluster.nodes[1].config())
            .stderr(log)
            .spawn();
        let _guest = Guest(guest.map_err(text)?);
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
            if is_former && status["transfers"]["held"].as_array().is_some_and(Vec::is_empty) {
                assert_eq!(status["partitions_owned"], 0, "{status}");
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(cluster.nodes[3].whole_log().contains("all that it had is with the owners"));
        cluster.stop(3).await?;
        for key in &keys {
            let read = bucket.get(key).r(Quorum::All).strict(true).await.map_err(text)?;
            assert_eq!(read.siblings().len(), 1, "{key}");
        }
        Ok(())
    });
}
