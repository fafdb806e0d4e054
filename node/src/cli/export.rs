//! `export`: every key of a bucket becomes a file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use dynode_client::wire::limits::VALUE_BYTES_MAX;
use dynode_client::{Bucket, Siblings};

use super::import::report;
use super::output::{Done, EXIT_SIBLINGS, Failure};
use super::target::{ReadArgs, TargetArgs};
use super::transfer::{self, Finished, Item, Pace, Progress, Trouble};
use super::verify::TWINS;

/// `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
    The file of a key is its path from the folder, as `import` has it. Keys that are no such paths (`../x`, `/x`, `a//b`) \
    are counted as errors and written nowhere.")]
pub struct ExportArgs {
    /// The folder: a new or an empty one, unless --overwrite is given
    dir: PathBuf,
    /// The bucket
    #[arg(long, default_value = "files")]
    bucket: OsString,
    /// Only keys that start with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: OsString,
    /// Write into a folder that has files, and replace those of the same names
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) async fn run(target: &TargetArgs, args: ExportArgs) -> Done {
    prepare(&args.dir, args.overwrite)?;
    let bucket = target.connect().await?.bucket(args.bucket.into_vec())?;
    let (sender, source) = transfer::source();
    let (mut keys, dir) = (bucket.keys().prefix(args.prefix.into_vec()), args.dir.clone());
    let listing = tokio::spawn(async move {
        while let Some(key) = keys.next().await? {
            let item = match path_of(&key) {
                Some(path) => Ok(Item { path: dir.join(path), bytes: 0, key }),
                None => Err(Trouble::new("unsafe_name", &key, "is no path within a folder")),
            };
            if sender.send(item).await.is_err() {
                break;
            }
        }
        Ok::<(), dynode_client::Error>(())
    });
    let mut progress = Progress::new("exporting");
    let (read, pace) = (args.read, args.pace);
    let work = move |item: Item| write_file(bucket.clone(), item, read, pace);
    // How long a value is shows when it comes.
    let cost = |_: &Item| VALUE_BYTES_MAX as u64;
    let tally = transfer::carry(source, pace, cost, work, |finished| progress.take(finished)).await;
    progress.end();
    let reported = report(target, &tally, "exported");
    match listing.await {
        Ok(Err(e)) => return Err(e.into()),
        Err(e) => return Err(Failure::new("internal", e.to_string())),
        Ok(Ok(())) => {}
    }
    match tally.errors.len() == 1 && tally.errors.contains_key("siblings") {
        true => Err(Failure::said(EXIT_SIBLINGS)),
        false => reported,
    }
}

fn prepare(dir: &Path, overwrite: bool) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|e| Failure::file(dir, &e))?;
    let mut entries = std::fs::read_dir(dir).map_err(|e| Failure::file(dir, &e))?;
    if !overwrite && entries.next().is_some() {
        let what = format!("{} is not empty", dir.display());
        return Err(Failure::new("file", what).advice("Name a new folder, or replace files with --overwrite."));
    }
    Ok(())
}

/// The path of a key below the folder; `None` for one that would lead out of it, or that is not a plain path.
fn path_of(key: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(key));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // Components hide empty parts and single dots: put together again they must give the same key.
    let same = path.components().collect::<PathBuf>().as_os_str().as_bytes() == key;
    (!key.is_empty() && plain && same && !key.contains(&0)).then(|| path.to_path_buf())
}

async fn write_file(bucket: Bucket, item: Item, read: ReadArgs, pace: Pace) -> Finished {
    let began = Instant::now();
    let ReadArgs { r, strict } = read;
    let get = || {
        let get = bucket.get(&item.key);
        async move { get.r(r).strict(strict).timeout(pace.timeout).await }
    };
    let (answer, retries) = transfer::persist(pace.retry_for, get).await;
    let latency = began.elapsed();
    let (note, value) = match answer.map(dynode_client::Read::into_siblings) {
        Err(e) => return Finished { retries, ..Finished::failed(Trouble::request(&item.key, &e)) },
        // It was listed, and has been deleted since.
        Ok(Siblings::None) => return Finished::left_out("deleted_meanwhile"),
        Ok(Siblings::One(value)) => (None, value),
        Ok(Siblings::Many(mut values)) if values.windows(2).all(|w| w[0] == w[1]) => {
            (Some(TWINS), values.swap_remove(0))
        }
        Ok(Siblings::Many(values)) => {
            let detail = format!("has {} siblings: see `dynode get --siblings`", values.len());
            return Finished { retries, ..Finished::failed(Trouble::new("siblings", &item.key, detail)) };
        }
    };
    let bytes = value.len() as u64;
    let Item { key, path, .. } = item;
    let written = tokio::task::spawn_blocking(move || write_whole(&path, &value));
    let written = written.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
    let outcome = written.map_err(|e| Trouble::new("file", &key, e.to_string())).into();
    Finished { bytes, latency, retries, note, outcome }
}

/// Writes beside the file and then puts it in its place: a file is there whole or not at all.
fn write_whole(path: &Path, value: &Bytes) -> std::io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let beside = dir.join(format!(".dynode-export-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed)));
    let written = std::fs::write(&beside, value).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_written() {
        for good in ["a", "a/b.txt", "a/..b", ".hidden", "a b/ü"] {
            assert_eq!(path_of(good.as_bytes()), Some(PathBuf::from(good)), "{good}");
        }
        for bad in ["", "/a", "../a", "a/../b", "./a", "a/./b", "a//b", "a/", ".", "..", "a\0b"] {
            assert_eq!(path_of(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn files_appear_whole_and_replace_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        write_whole(&path, &Bytes::from("1")).unwrap();
        write_whole(&path, &Bytes::from("2")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"2");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(write_whole(&path.join("d"), &Bytes::new()).is_err(), "a file cannot be a folder");
        assert!(prepare(dir.path(), false).is_err());
        assert!(prepare(dir.path(), true).is_ok());
    }
}
