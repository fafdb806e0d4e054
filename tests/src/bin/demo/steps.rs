//! What is done, and what must hold: each step ends with a line, or the demo with what did not hold.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dynode::cli::transfer::{self, Finished, Item, Pace, Progress, Source, Tally, Trouble};
use dynode::cli::{import, units, verify};
use dynode_client::{Bucket, Client, Quorum, Topic};
use owo_colors::OwoColorize;
use serde_json::Value;
use tests::processes::cluster::node_id;
use tests::processes::{Cluster, wait_until_equal};

use crate::files::Files;
use crate::report::{Figures, RATIO_MAX, shown};

const BUCKET: &str = "demo";
const NODES: usize = 3;

/// The node that is killed: not the one that the commands at the end ask.
const VICTIM: usize = 1;

/// "Within seconds"; a slow machine under load gets more before the demo calls it a failure.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);

/// Deletes, at most: enough to see that nothing is left of them.
const DELETES_MAX: usize = 1000;

const PACE: Pace = Pace { jobs: 32, timeout: Duration::from_secs(5), retry_for: Duration::from_secs(60) };

/// Runs all of it.
pub(crate) async fn run(files: &Files, data: &Path, partitions: u32) -> Result<(), String> {
    let mut cluster = Cluster::new(data, NODES, partitions)?;
    introduce(files, &cluster, data);
    cluster.start_all().await?;
    let client = cluster.client().await?;
    let bucket = client.bucket(BUCKET).map_err(|e| e.to_string())?;
    shown(&format!(
        "{NODES} nodes are up, {partitions} partitions, every write synced to disk before it is acknowledged"
    ));

    let (written, killed_after, missed) = write(&bucket, files, &mut cluster).await?;
    let (first, _) = read_back(&bucket, files, "with that node dead").await?;
    let (restart, whole, moved) = bring_back(&mut cluster).await?;
    let (second, twins) = read_back(&bucket, files, "again").await?;
    let mut read = first;
    read.add(second);
    let (deleted, forgotten) = delete(&bucket, &client, files, &cluster).await?;

    let missed_files = written.done - killed_after;
    let figures =
        Figures { written, read, killed_after, restart, whole, missed_files, missed, moved, deleted, forgotten, twins };
    anstream::println!("\n{}", figures.table());
    show_ring(&cluster)?;
    cluster.stop_all().await?;
    if !figures.is_lean() {
        return Err(format!("sync moved {:.2} times what was missed; at most {RATIO_MAX} is right", figures.ratio()));
    }
    Ok(())
}

fn introduce(files: &Files, cluster: &Cluster, data: &Path) {
    anstream::println!("\n{}  three nodes, real files, a kill -9, everything read back\n", "dynode".bold());
    let names: Vec<String> = cluster.nodes.iter().map(|node| format!("{} {}", node.name, node.addr)).collect();
    anstream::println!("  nodes  {}", names.join("   "));
    anstream::println!("  data   {}", data.display());
    let cut = if files.cut { ", cut there: --max-bytes" } else { "" };
    let large = match files.too_large {
        0 => String::new(),
        n => format!(", {} too large left out", units::count(n)),
    };
    let (count, bytes) = (units::counted(files.items.len() as u64, "file"), units::bytes(files.bytes));
    anstream::println!("  files  {count}, {bytes}{large}{cut}, of {}\n", files.dir.display());
}

/// All files as a source.
fn source_of(items: &[Item]) -> Source {
    let (sender, source) = transfer::source();
    let items = items.to_vec();
    tokio::spawn(async move {
        for item in items {
            if sender.send(Ok(item)).await.is_err() {
                break;
            }
        }
    });
    source
}

/// Imports all files, and kills a node half-way. Also how many files were acknowledged before that, and how many bytes
/// since.
async fn write(bucket: &Bucket, files: &Files, cluster: &mut Cluster) -> Result<(Tally, u64, u64), String> {
    let options = import::Options { pace: PACE, w: Quorum::Majority, strict: false, skip_large: false };
    let mut progress = Progress::new("writing");
    progress.expect(files.bytes);
    let (mut bytes, mut killed_after, mut missed) = (0, None, 0);
    let written = import::import(bucket, source_of(&files.items), options, |finished| {
        progress.take(finished);
        bytes += finished.bytes;
        match killed_after {
            Some(_) => missed += finished.bytes,
            None if bytes >= files.bytes / 2 => {
                cluster.kill(VICTIM);
                killed_after = Some(progress.files());
                progress.say(&format!("{} {} killed with SIGKILL", "!".red().bold(), cluster.nodes[VICTIM].name));
            }
            None => {}
        }
    })
    .await;
    progress.end();
    must_be_whole(&written, files, "written")?;
    let killed_after = killed_after.unwrap_or(0);
    shown(&format!(
        "{} written; {} was killed with SIGKILL after {}; 0 errors",
        units::counted(written.done, "file"),
        cluster.nodes[VICTIM].name,
        units::count(killed_after)
    ));
    Ok((written, killed_after, missed))
}

/// Reads all files back at quorum and compares them. Also how many keys have equal siblings.
async fn read_back(bucket: &Bucket, files: &Files, when: &str) -> Result<(Tally, u64), String> {
    let options = verify::Options { pace: PACE, r: Quorum::Majority, strict: true, skip_large: false };
    let mut progress = Progress::new("reading");
    progress.expect(files.bytes);
    let read = verify::verify(bucket, source_of(&files.items), options, |finished| progress.take(finished)).await;
    progress.end();
    must_be_whole(&read, files, "read back")?;
    let count = units::counted(read.done, "file");
    shown(&format!("{count} read back at strict quorum {when}: every byte equal"));
    let twins = read.notes.get(verify::TWINS).copied().unwrap_or(0);
    Ok((read, twins))
}

fn must_be_whole(tally: &Tally, files: &Files, what: &str) -> Result<(), String> {
    if tally.failed() == 0 && tally.done == files.items.len() as u64 {
        return Ok(());
    }
    Err(format!("not every file was {what}:\n{}", tally.render(what)))
}

/// Starts the dead node and waits until all owners are equal. How long each took, and the bytes that syncs moved.
async fn bring_back(cluster: &mut Cluster) -> Result<(Duration, Duration, u64), String> {
    let mut before = 0;
    for node in cluster.nodes.iter().filter(|node| node.pid().is_some()) {
        before += synced_bytes(&node.status().await?);
    }
    let began = Instant::now();
    cluster.start(VICTIM)?;
    cluster.wait_until_up(VICTIM).await?;
    let restart = began.elapsed();
    let whole = wait_until_equal(&cluster.nodes, WHOLE_WITHIN).await?;
    let mut after = 0;
    for node in &cluster.nodes {
        after += synced_bytes(&node.status().await?);
    }
    shown(&format!(
        "{} started again, and whole after {}: on all nodes every owner's copy has the same clock, keys and content",
        cluster.nodes[VICTIM].name,
        units::time(whole)
    ));
    Ok((restart, whole, after - before))
}

fn synced_bytes(status: &Value) -> u64 {
    status["counters"]["sync_bytes_in"].as_u64().unwrap_or(0)
}

/// Deletes some keys, and waits until nothing of them is left on any node. How many, and how long it took.
async fn delete(bucket: &Bucket, client: &Client, files: &Files, cluster: &Cluster) -> Result<(u64, Duration), String> {
    let step = files.items.len().div_ceil(DELETES_MAX).max(2);
    let doomed: Vec<Item> = files.items.iter().step_by(step).cloned().collect();
    let deleting = bucket.clone();
    let work = move |item: Item| {
        let bucket = deleting.clone();
        async move {
            let began = Instant::now();
            let delete = || {
                let delete = bucket.delete(&item.key);
                async move { delete.timeout(PACE.timeout).await }
            };
            let (answer, retries) = transfer::persist(PACE.retry_for, delete).await;
            let outcome = answer.map(|_| ()).map_err(|e| Trouble::request(&item.key, &e)).into();
            Finished { bytes: 0, latency: began.elapsed(), retries, note: None, outcome }
        }
    };
    let tally = transfer::carry(source_of(&doomed), PACE, |_| 0, work, |_| {}).await;
    if tally.failed() > 0 {
        return Err(format!("not every file was deleted:\n{}", tally.render("deleted")));
    }
    let began = Instant::now();
    let left = (files.items.len() - doomed.len()) as u64;
    let forgotten = loop {
        match remains(cluster, left).await? {
            None => break began.elapsed(),
            Some(what) if began.elapsed() > FORGOTTEN_WITHIN => {
                return Err(format!("deleted files leave traces: {what}"));
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    for node in &cluster.nodes {
        for item in &doomed {
            let id = node_id(client, &node.name);
            let topic = Topic::LocalKey { bucket: BUCKET.into(), key: item.key.clone() };
            let report = client.inspect(id, topic).await.map_err(|e| e.to_string())?;
            let report: Value = serde_json::from_slice(&report).map_err(|e| e.to_string())?;
            if report["values"].as_array().is_none_or(|values| !values.is_empty()) {
                return Err(format!("{} still holds {}, which was deleted", node.name, units::key(&item.key)));
            }
        }
    }
    let count = units::counted(doomed.len() as u64, "file");
    shown(&format!("{count} deleted; {} later nothing of them is left on any node", units::time(forgotten)));
    Ok((doomed.len() as u64, forgotten))
}

/// What nodes hold beyond `objects` records; `None` when nothing.
async fn remains(cluster: &Cluster, objects: u64) -> Result<Option<String>, String> {
    for node in &cluster.nodes {
        let report = node.report(Topic::Storage).await?;
        let records = |space: &str| report["spaces"][space]["records"].as_u64().unwrap_or(u64::MAX);
        if records("objects") != objects || records("index") != 0 {
            let (found, index) = (records("objects"), records("index"));
            return Ok(Some(format!("{} has {found} objects of {objects}, and {index} index entries", node.name)));
        }
    }
    Ok(None)
}

/// As a person would look at it.
fn show_ring(cluster: &Cluster) -> Result<(), String> {
    for command in ["status", "ring"] {
        let shown = Command::new(cluster.binary()).args([command, "--node", &cluster.nodes[0].addr]).output();
        let shown = shown.map_err(|e| e.to_string())?;
        if !shown.status.success() {
            return Err(format!("dynode {command}: {}", String::from_utf8_lossy(&shown.stderr)));
        }
        anstream::println!("{}\n{}", format!("$ dynode {command}").dimmed(), String::from_utf8_lossy(&shown.stdout));
    }
    Ok(())
}
