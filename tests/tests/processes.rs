//! Real processes on this machine: killed, stopped, started on wrong data, and fed with rubbish. Each test has its own
//! cluster on free ports of 127.0.0.1, is bounded in time, and leaves nothing running.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "files, processes and clocks are real here")]

#[path = "processes/bucket.rs"]
mod bucket;
#[path = "processes/damage.rs"]
mod damage;
#[path = "processes/dev.rs"]
mod dev;
#[path = "processes/disk.rs"]
mod disk;
#[path = "processes/hostile.rs"]
mod hostile;
#[path = "processes/members.rs"]
mod members;
#[path = "processes/restore.rs"]
mod restore;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dynode::cli::transfer::persist;
use dynode::config::File;
use dynode_client::{Bucket, Client, Error, Quorum};
use tests::processes::{Cluster, differences, wait_until_equal};
use tokio::task::JoinSet;

/// A test that takes longer hangs.
const TEST_TIME_MAX: Duration = Duration::from_secs(180);

/// "Within seconds", on a machine that runs other tests at the same time.
const EQUAL_WITHIN: Duration = Duration::from_secs(60);

const WRITERS: u64 = 16;

/// Runs a test on its own runtime, for a bounded time.
fn run(test: impl Future<Output = Result<(), String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(TEST_TIME_MAX, test).await });
    match done {
        Ok(Ok(())) => {}
        Ok(Err(why)) => panic!("{why}"),
        Err(_) => panic!("not done after {TEST_TIME_MAX:?}"),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dynode-test-").tempdir().unwrap()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Writers that put keys of their own, one after another, until told to end: what they were acknowledged.
struct Load {
    acknowledged: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    writers: JoinSet<Result<Vec<(String, Bytes)>, String>>,
}

impl Load {
    fn start(bucket: &Bucket, value_bytes: usize) -> Load {
        let (acknowledged, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (bucket, acknowledged, end) = (bucket.clone(), acknowledged.clone(), end.clone());
            writers.spawn(async move {
                let mut written = Vec::new();
                while !end.load(SeqCst) {
                    let key = format!("{writer}-{:06}", written.len());
                    let value = Bytes::from(format!("{key}|").repeat(value_bytes / (key.len() + 1) + 1));
                    // Made again after a lost answer: the same bytes replace themselves.
                    let put = || {
                        let put = bucket.put(&key, value.clone()).over_current();
                        async move { put.timeout(Duration::from_secs(3)).await }
                    };
                    let (answer, _) = persist(Duration::from_secs(60), put).await;
                    answer.map_err(|e| format!("{key}: {e}"))?;
                    acknowledged.fetch_add(1, SeqCst);
                    written.push((key, value));
                }
                Ok(written)
            });
        }
        Load { acknowledged, end, writers }
    }

    /// Waits until so many more were acknowledged.
    async fn more(&self, count: u64) -> Result<(), String> {
        let (target, began) = (self.acknowledged.load(SeqCst) + count, Instant::now());
        while self.acknowledged.load(SeqCst) < target {
            if began.elapsed() > Duration::from_secs(60) {
                return Err("writes do not get on".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn end(mut self) -> Result<Vec<(String, Bytes)>, String> {
        self.end.store(true, SeqCst);
        let mut all = Vec::new();
        while let Some(written) = self.writers.join_next().await {
            all.extend(written.map_err(text)??);
        }
        Ok(all)
    }
}

/// Every acknowledged write is there, and nothing else in its place.
async fn all_there(bucket: &Bucket, written: &[(String, Bytes)]) -> Result<(), String> {
    for chunk in written.chunks(64) {
        let mut reads = JoinSet::new();
        for (key, value) in chunk.iter().cloned() {
            let bucket = bucket.clone();
            reads.spawn(async move {
                let read =
                    bucket.get(&key).r(Quorum::Majority).strict(true).await.map_err(|e| format!("{key}: {e}"))?;
                let siblings = read.into_siblings();
                // A write that was made again can be its own sibling: the first answer was lost with the node.
                match !siblings.is_empty() && siblings.iter().all(|found| *found == value) {
                    true => Ok(()),
                    false => Err(format!("{key} was acknowledged and is not as written: {} values", siblings.len())),
                }
            });
        }
        while let Some(read) = reads.join_next().await {
            read.map_err(text)??;
        }
    }
    Ok(())
}

/// Invariants 1 and 3 on real disks: no acknowledged write is lost, and copies converge.
#[test]
fn kill_nine_in_the_middle_of_writes_loses_nothing() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 64)?;
        cluster.start_all().await?;
        let client = cluster.client().await?;
        let bucket = client.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 300);
        load.more(500).await?;
        cluster.kill(1);
        load.more(1000).await?;
        cluster.start(1)?;
        cluster.wait_until_up(1).await?;
        load.more(500).await?;
        // The next one while the first may still be catching up.
        cluster.kill(0);
        load.more(500).await?;
        cluster.start(0)?;
        cluster.wait_until_up(0).await?;
        let written = load.end().await?;
        wait_until_equal(&cluster.nodes, EQUAL_WITHIN).await?;
        all_there(&bucket, &written).await?;
        let again = cluster.client().await?;
        all_there(&again.bucket("b").map_err(text)?, &written).await?;
        cluster.stop_all().await
    });
}

/// All nodes at once, so that every copy comes from its own disk.
#[test]
fn kill_nine_of_all_nodes_loses_nothing() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 64)?;
        cluster.start_all().await?;
        let client = cluster.client().await?;
        let bucket = client.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 300);
        load.more(1000).await?;
        (0..3).for_each(|i| cluster.kill(i));
        cluster.start_all().await?;
        load.more(500).await?;
        let written = load.end().await?;
        wait_until_equal(&cluster.nodes, EQUAL_WITHIN).await?;
        all_there(&bucket, &written).await?;
        cluster.stop_all().await
    });
}

#[test]
fn a_graceful_stop_under_load_loses_nothing_and_ends_cleanly() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 64)?;
        cluster.start_all().await?;
        let client = cluster.client().await?;
        let bucket = client.bucket("b").map_err(text)?;
        let load = Load::start(&bucket, 2000);
        load.more(500).await?;
        for i in [2, 0] {
            let status = cluster.stop(i).await?;
            if !status.success() {
                return Err(format!("stopped with {status}: {}", cluster.nodes[i].end_of_log()));
            }
            if cluster.nodes[i].dir.join("dynode.pid").exists() {
                return Err("a stopped node leaves its pid file".into());
            }
            load.more(500).await?;
            cluster.start(i)?;
            cluster.wait_until_up(i).await?;
            load.more(200).await?;
        }
        let written = load.end().await?;
        wait_until_equal(&cluster.nodes, EQUAL_WITHIN).await?;
        all_there(&bucket, &written).await?;
        // Whatever was written is there after a stop of all, and the copies are the same as before.
        cluster.stop_all().await?;
        cluster.start_all().await?;
        all_there(&cluster.client().await?.bucket("b").map_err(text)?, &written).await?;
        let differing = differences(&cluster.nodes).await?;
        if !differing.is_empty() {
            return Err(differing.join("; "));
        }
        cluster.stop_all().await
    });
}

/// Starts a node that must refuse, and gives what it says.
async fn refusal(cluster: &mut Cluster, i: usize) -> Result<String, String> {
    cluster.start(i)?;
    match cluster.wait_until_up(i).await {
        Ok(()) => Err(format!("{} should not have started", cluster.nodes[i].name)),
        Err(why) => Ok(why),
    }
}

#[test]
fn data_of_another_node_or_cluster_are_refused() {
    run(async {
        let (folder, other_folder) = (folder(), folder());
        let mut cluster = Cluster::new(folder.path(), 3, 16)?;
        let mut stranger = Cluster::new(other_folder.path(), 1, 16)?;
        cluster.start_all().await?;
        cluster.stop_all().await?;
        let (own, others) = (cluster.nodes[0].dir.join("data"), cluster.nodes[1].config());
        for config in [others, stranger.nodes[0].config()] {
            let mut file = File::read(&config).map_err(text)?;
            file.data = own.clone();
            file.write(&config).map_err(text)?;
        }
        let said = refusal(&mut cluster, 1).await?;
        if !(said.contains("belong to node `n0`") && said.contains("not to node `n1`")) {
            return Err(format!("not clear: {said}"));
        }
        let said = refusal(&mut stranger, 0).await?;
        if !said.contains("belong to node `n0` of cluster") {
            return Err(format!("not clear: {said}"));
        }
        // And neither has done them any harm.
        cluster.start(0)?;
        cluster.wait_until_up(0).await?;
        cluster.stop_all().await
    });
}

#[test]
fn an_address_in_use_is_named() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        let taken = std::net::TcpListener::bind(&cluster.nodes[0].addr).map_err(text)?;
        let said = refusal(&mut cluster, 0).await?;
        drop(taken);
        match said.contains("cannot listen on") && said.contains(&cluster.nodes[0].addr) {
            true => Ok(()),
            false => Err(format!("not clear: {said}")),
        }
    });
}

#[test]
fn clients_of_another_cluster_are_refused() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        cluster.start_all().await?;
        match Client::builder().cluster([9; 16]).connect([&cluster.nodes[0].addr]).await {
            Err(Error::Refused { detail }) if detail.contains("check the address") => {}
            other => return Err(format!("{other:?}")),
        }
        cluster.stop_all().await
    });
}
