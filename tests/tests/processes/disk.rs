//! A disk that is full, or nearly: the node says so, the cluster goes on, and the node is whole when there is room again.

use std::fs::{self, File as Disk};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dynode::config::File;
use serde_json::Value;

use super::{EQUAL_WITHIN, Load, all_there, folder, run, text};
use tests::processes::{Cluster, wait_until_equal};

const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// A small file system in memory, gone when this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None`, with a line that says so, where this user may not mount.
    fn mount(place: &Path, mib: usize) -> Option<Small> {
        fs::create_dir_all(place).ok()?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Small(place.into())),
            _ => {
                eprintln!("SKIPPED: file systems cannot be mounted here (not root, or no tmpfs)");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Fills it, but for so many MiB.
    fn fill(&self, leave_mib: usize) -> Result<(), String> {
        let mut filler = Disk::create(self.filler()).map_err(text)?;
        let mib = vec![7; 1 << 20];
        let mut written = 0u64;
        while filler.write_all(&mib).is_ok() {
            written += 1 << 20;
        }
        filler.set_len(written.saturating_sub((leave_mib as u64) << 20)).map_err(text)
    }

    fn empty(&self) -> Result<(), String> {
        fs::remove_file(self.filler()).map_err(text)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn set_free_min(cluster: &Cluster, node: usize, mib: u32) -> Result<(), String> {
    let place = cluster.nodes[node].config();
    let mut file = File::read(&place).map_err(text)?;
    file.disk.free_mib_min = Some(mib);
    file.write(&place).map_err(text)
}

/// Waits until a node's status is as wanted.
async fn status_is(
    cluster: &Cluster,
    node: usize,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value, String> {
    let began = Instant::now();
    loop {
        let status = cluster.nodes[node].status().await.unwrap_or_default();
        if wanted(&status) {
            return Ok(status);
        }
        if began.elapsed() > SEEN_WITHIN {
            return Err(format!("{what}: {status}; log: {}", cluster.nodes[node].end_of_log()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_full_disk_fences_its_node_and_nobody_else() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 16)?;
        let Some(small) = Small::mount(&cluster.nodes[1].dir.join("data"), 160) else { return Ok(()) };
        set_free_min(&cluster, 1, 0)?;
        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 8000);
        load.more(200).await?;
        small.fill(0)?;
        let status = status_is(&cluster, 1, "not fenced", |status| status["state"] == "fenced").await?;
        let why = status["why"].as_str().unwrap_or_default();
        if !why.contains("No space left") {
            return Err(format!("not clear: {why}"));
        }
        // The others go on, and do not count it.
        load.more(300).await?;
        status_is(&cluster, 0, "a fenced peer counts as up", |status| {
            status["peers"].as_array().is_some_and(|peers| peers.iter().any(|p| p["name"] == "n1" && p["up"] == false))
        })
        .await?;
        small.empty()?;
        status_is(&cluster, 1, "still fenced", |status| status["state"] == "up").await?;
        load.more(200).await?;
        let written = load.end().await?;
        wait_until_equal(&cluster.nodes, EQUAL_WITHIN).await?;
        all_there(&bucket, &written).await?;
        cluster.stop_all().await
    });
}

#[test]
fn a_nearly_full_disk_takes_no_new_values_and_serves_on() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 16)?;
        let Some(small) = Small::mount(&cluster.nodes[1].dir.join("data"), 400) else { return Ok(()) };
        set_free_min(&cluster, 1, 50)?;
        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 300);
        load.more(200).await?;
        small.fill(30)?;
        let refused = |status: &Value| status["damage"]["writes_refused"].is_string();
        let status = status_is(&cluster, 1, "values are still taken", refused).await?;
        if status["state"] != "up" || !status.to_string().contains("50 MiB are kept") {
            return Err(status.to_string());
        }
        // Through the node itself too: others take them.
        let near = dynode_client::Client::connect([&cluster.nodes[1].addr]).await.map_err(text)?;
        let near = near.bucket("b").map_err(text)?;
        near.put("near", "v").await.map_err(text)?;
        if near.get("near").await.map_err(text)?.into_siblings().is_empty() {
            return Err("what was put is not there".into());
        }
        load.more(300).await?;
        small.empty()?;
        status_is(&cluster, 1, "values are refused for ever", |status| {
            status["state"] == "up" && status["damage"]["writes_refused"].is_null()
        })
        .await?;
        let written = load.end().await?;
        wait_until_equal(&cluster.nodes, EQUAL_WITHIN).await?;
        all_there(&bucket, &written).await?;
        cluster.stop_all().await
    });
}
