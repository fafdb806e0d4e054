//! Bits that flip on a disk: detected, never served, never spread as a delete, and rebuilt from the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dynode_client::{Bucket, Client, Error, Topic};
use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio::task::JoinHandle;

use super::{Load, all_there, folder, run, text};
use tests::processes::{Cluster, Node, wait_until_equal};

/// A rebuild opens two databases and reads all that is there, on a machine that runs other tests at the same time.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);

/// Flips bits at random places of a file. Says where, for whoever has to find out.
fn flip(file: &Path, count: usize) -> Result<String, String> {
    let mut random = rand::rng();
    let mut bytes = fs::read(file).map_err(text)?;
    let mut places = Vec::new();
    for _ in 0..if bytes.is_empty() { 0 } else { count } {
        let (byte, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        places.push(format!("{byte}.{bit}"));
    }
    fs::write(file, bytes).map_err(text)?;
    Ok(format!("{} at {}", file.display(), places.join(", ")))
}

fn database(node: &Node) -> PathBuf {
    node.dir.join("data").join("db")
}

/// The node's files of a kind, as RocksDB names them.
fn files(node: &Node, kind: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for file in fs::read_dir(database(node)).map_err(text)? {
        let path = file.map_err(text)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(kind) || (!kind.starts_with('.') && name.starts_with(kind)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Reads keys through one node until told to end: a key is never said to be absent, nor another than it is.
fn watch(bucket: Bucket, written: Vec<(String, Bytes)>) -> (Arc<AtomicBool>, JoinHandle<Result<u64, String>>) {
    let end = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&end);
    let answered = AtomicU64::new(0);
    let watching = tokio::spawn(async move {
        for (key, value) in written.iter().cycle() {
            if told.load(SeqCst) {
                break;
            }
            match bucket.get(key).timeout(Duration::from_secs(2)).await {
                Ok(read) => {
                    let siblings = read.into_siblings();
                    if siblings.is_empty() || siblings.iter().any(|found| found != value) {
                        return Err(format!("{key} is said to be what it is not: {} values", siblings.len()));
                    }
                    answered.fetch_add(1, SeqCst);
                }
                // The node may be down, or say that it is not to be relied on: both are true.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        Ok(answered.load(SeqCst))
    });
    (end, watching)
}

/// All nodes answer, all copies are whole and equal, and none is in quarantine.
async fn whole_again(cluster: &Cluster) -> Result<(), String> {
    let until = Instant::now() + WHOLE_WITHIN;
    loop {
        let why = match wait_until_equal(&cluster.nodes, Duration::ZERO).await {
            Ok(_) => {
                let mut held = Vec::new();
                for node in &cluster.nodes {
                    let damage = node.status().await.unwrap_or_default()["damage"].clone();
                    let none = |name: &str| damage[name].as_array().is_some_and(Vec::is_empty);
                    if !(none("rebuilding") && none("shelved") && none("divergent")) {
                        held.push(format!("{}: {damage}", node.name));
                    }
                }
                if held.is_empty() {
                    return Ok(());
                }
                held.join("; ")
            }
            Err(why) => why,
        };
        if Instant::now() > until {
            return Err(format!("not whole after {WHOLE_WITHIN:?}: {why}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Has a node read everything. Its disk may turn out to be damaged meanwhile.
async fn scrub(node: &Node) -> Result<(), String> {
    let until = Instant::now() + WHOLE_WITHIN;
    let passes = |status: &serde_json::Value| status["scrub"]["passes"].as_u64();
    let mut before = None;
    while Instant::now() < until {
        if let Ok(client) = Client::connect([&node.addr]).await
            && let Ok(status) = node.status().await
            && let Some(done) = passes(&status)
        {
            match before {
                Some(asked) if done > asked => return Ok(()),
                // Rebuilt meanwhile: it counts anew.
                Some(asked) if done == asked && status["scrub"]["running"].is_object() => {}
                _ => {
                    if client.begin_scrub(None).await.is_ok() {
                        before = Some(done);
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{} does not end its scrub", node.name))
}

/// Flips bits in files of a kind while the node is down.
fn flipped_bits_of(kind: &'static str, rounds: usize, bits: usize) {
    run(async move {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 16)?;
        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 400);
        load.more(1500).await?;
        // What was written before a restart is in tables afterwards, the rest in the log.
        cluster.kill(1);
        cluster.start(1)?;
        cluster.wait_until_up(1).await?;
        load.more(700).await?;
        let written = load.end().await?;
        let mut said = Vec::new();
        for round in 0..rounds {
            match round % 2 {
                0 => cluster.kill(1),
                _ => drop(cluster.stop(1).await?),
            }
            let found = files(&cluster.nodes[1], kind)?;
            let file = found.choose(&mut rand::rng()).ok_or_else(|| format!("no files {kind}"))?;
            said.push(flip(file, bits)?);
            let bucket = Client::builder().connect([&cluster.nodes[0].addr]).await.map_err(text)?;
            let (end, watching) = watch(bucket.bucket("b").map_err(text)?, written.clone());
            cluster.start(1)?;
            settle(&mut cluster, &written, &said).await?;
            end.store(true, SeqCst);
            let answered = watching.await.map_err(text)??;
            if answered == 0 {
                return Err("nothing was read meanwhile".into());
            }
        }
        let log = fs::read_to_string(cluster.nodes[1].dir.join("dynode.log")).map_err(text)?;
        let noticed = ["the damaged database was replaced", "the write-ahead log is torn"];
        if kind != "OPTIONS" && !noticed.iter().any(|words| log.contains(words)) {
            return Err(format!("nothing was noticed of {}\n{log}", said.join("; ")));
        }
        cluster.stop_all().await
    });
}

async fn settle(cluster: &mut Cluster, written: &[(String, Bytes)], said: &[String]) -> Result<(), String> {
    let what = |why: String, cluster: &Cluster| {
        format!("{why}\nflipped: {}\nlog: {}", said.join("; "), cluster.nodes[1].end_of_log())
    };
    cluster.wait_until_up(1).await.map_err(|e| what(e, cluster))?;
    let (end, watching) = watch(
        Client::connect([&cluster.nodes[1].addr]).await.map_err(text)?.bucket("b").map_err(text)?,
        written.to_vec(),
    );
    scrub(&cluster.nodes[1]).await.map_err(|e| what(e, cluster))?;
    whole_again(cluster).await.map_err(|e| what(e, cluster))?;
    end.store(true, SeqCst);
    watching.await.map_err(text)?.map_err(|e| what(e, cluster))?;
    for node in &cluster.nodes {
        let client = Client::connect([&node.addr]).await.map_err(text)?;
        let there = all_there(&client.bucket("b").map_err(text)?, written).await;
        there.map_err(|e| what(format!("through {}: {e}", node.name), cluster))?;
    }
    Ok(())
}

#[test]
fn flipped_bits_of_tables() {
    flipped_bits_of(".sst", 4, 8);
}

#[test]
fn flipped_bits_of_the_log() {
    flipped_bits_of(".log", 4, 3);
}

#[test]
fn flipped_bits_of_the_manifest() {
    flipped_bits_of("MANIFEST", 3, 1);
}

#[test]
fn flipped_bits_of_the_file_that_names_the_manifest() {
    flipped_bits_of("CURRENT", 2, 1);
}

#[test]
fn flipped_bits_of_the_options() {
    flipped_bits_of("OPTIONS", 1, 20);
}

/// Where nobody else has the data, nothing is discarded and nothing is said to be absent: the node says what is wrong.
#[test]
fn the_only_copy_is_never_discarded() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 400);
        load.more(2000).await?;
        let written = load.end().await?;
        cluster.stop(0).await?;
        cluster.start(0)?;
        cluster.wait_until_up(0).await?;
        cluster.stop(0).await?;
        let mut tables = files(&cluster.nodes[0], ".sst")?;
        tables.sort_by_key(|file| fs::metadata(file).map_or(0, |m| m.len()));
        let largest = tables.pop().ok_or("no tables")?;
        let sound = fs::read(&largest).map_err(text)?;
        let mut wreck = sound.clone();
        wreck.iter_mut().take(sound.len() * 8 / 10).step_by(211).for_each(|b| *b ^= 4);
        fs::write(&largest, &wreck).map_err(text)?;

        cluster.start(0)?;
        let client = loop {
            match Client::connect([&cluster.nodes[0].addr]).await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let bucket = client.bucket("b").map_err(text)?;
        let status = loop {
            for (key, value) in written.iter().take(50) {
                if let Ok(read) = bucket.get(key).timeout(Duration::from_millis(500)).await {
                    let siblings = read.into_siblings();
                    if !siblings.is_empty() && siblings.iter().all(|v| v == value) {
                        continue;
                    }
                    return Err(format!("{key} is said to be what it is not"));
                }
            }
            let status = client.inspect(None, Topic::Status).await;
            let status: serde_json::Value = serde_json::from_slice(&status.unwrap_or_default()).unwrap_or_default();
            if status["state"] == "fenced" {
                break status;
            }
        };
        let why = status["why"].as_str().unwrap_or_default();
        if !(why.contains("no other node") && why.contains("Nothing was changed")) {
            return Err(format!("not clear: {why}"));
        }
        match bucket.get(&written[0].0).timeout(Duration::from_millis(500)).await {
            Err(Error::Unavailable { .. } | Error::TimedOut | Error::QuorumNotMet { .. }) => {}
            other => return Err(format!("a fenced node answers {other:?}")),
        }
        let _ = cluster.stop(0).await?;
        // As it was before: with the table restored, all is there.
        fs::write(&largest, &sound).map_err(text)?;
        cluster.start(0)?;
        cluster.wait_until_up(0).await?;
        all_there(&cluster.client().await?.bucket("b").map_err(text)?, &written).await?;
        cluster.stop_all().await
    });
}
