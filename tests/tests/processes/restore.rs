//! Data directories that were put back from backups, all at once: the nodes come up, and no dot is given twice.

use std::path::Path;
use std::process::Command;

use dynode_client::Bucket;

use super::{folder, run, text};
use tests::processes::Cluster;

const KEYS: usize = 40;

fn key(number: usize) -> String {
    format!("k{number}")
}

/// As `docs/operations.md` has it.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let done = Command::new("cp").arg("-a").args([from, to]).status().map_err(text)?;
    if done.success() { Ok(()) } else { Err(format!("cp of {}: {done}", from.display())) }
}

async fn values(bucket: &Bucket, key: &str) -> Result<Vec<String>, String> {
    let read = bucket.get(key).await.map_err(|e| format!("{key}: {e}"))?;
    let mut values: Vec<String> =
        read.siblings().into_vec().iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    values.sort();
    Ok(values)
}

/// A client that still holds contexts from after the backup writes over them. They name dots that the nodes, put back, know
/// nothing of: were those given to new writes, these would be gone.
#[test]
fn a_cluster_put_back_from_backups_gives_no_dot_twice() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 8)?;
        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let mut before = Vec::new();
        for n in 0..KEYS {
            before.push(bucket.put(key(n), "before").await.map_err(text)?.context().clone());
        }
        cluster.stop_all().await?;
        for node in &cluster.nodes {
            copy(&node.dir.join("data"), &node.dir.join("backup"))?;
        }

        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        let mut after = Vec::new();
        for (n, seen) in before.iter().enumerate() {
            after.push(bucket.put(key(n), "after").over(seen).await.map_err(text)?.context().clone());
        }
        cluster.stop_all().await?;
        for node in &cluster.nodes {
            std::fs::remove_dir_all(node.dir.join("data")).map_err(text)?;
            copy(&node.dir.join("backup"), &node.dir.join("data"))?;
        }

        cluster.start_all().await?;
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        for (n, seen) in before.iter().enumerate() {
            let found = values(&bucket, &key(n)).await?;
            if found != ["before"] {
                return Err(format!("{} is {found:?} after it was put back", key(n)));
            }
            bucket.put(key(n), "fresh").over(seen).await.map_err(text)?;
        }
        for (n, seen) in after.iter().enumerate() {
            bucket.put(key(n), "late").over(seen).await.map_err(text)?;
            let found = values(&bucket, &key(n)).await?;
            if found != ["fresh", "late"] {
                return Err(format!("{} is {found:?}: a write of an old context has taken a new one away", key(n)));
            }
        }
        for node in &cluster.nodes {
            if !node.whole_log().contains("put back") {
                return Err(format!("{} does not say that its data were put back", node.name));
            }
        }
        // Once, and not at every start.
        cluster.stop_all().await?;
        cluster.start_all().await?;
        for node in &cluster.nodes {
            let said = node.whole_log().matches("put back").count();
            if said != 1 {
                return Err(format!("{} says {said} times that its data were put back", node.name));
            }
        }
        cluster.stop_all().await
    });
}
