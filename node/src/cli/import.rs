//! `import`: every file of a folder becomes a key.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use dynode_client::wire::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use dynode_client::{Bucket, Quorum};

use super::output::{Done, EXIT_FAILED, Failure, print, print_json};
use super::target::{TargetArgs, WriteArgs};
use super::transfer::{self, Finished, Item, Pace, Progress, Source, Tally, Trouble, Walk};
use super::units;

/// `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
    The key of a file is its path from the folder, with `/`. Links are not followed. What a key held before is replaced, so \
    that importing again changes nothing. A value has at most 8 MiB.")]
pub struct ImportArgs {
    /// The folder
    dir: PathBuf,
    /// The bucket
    #[arg(long, default_value = "files")]
    bucket: OsString,
    /// Leave out files over 8 MiB instead of failing for them
    #[arg(long)]
    skip_large: bool,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    write: WriteArgs,
}

/// How files are imported.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How much at once.
    pub pace: Pace,
    /// Acknowledgements to wait for.
    pub w: Quorum,
    /// Count owners only.
    pub strict: bool,
    /// Leave out files that are too large.
    pub skip_large: bool,
}

pub(super) async fn run(target: &TargetArgs, args: ImportArgs) -> Done {
    let walk = open(&args.dir)?;
    let bucket = target.connect().await?.bucket(args.bucket.into_vec())?;
    let WriteArgs { w, strict } = args.write;
    let options = Options { pace: args.pace, w, strict, skip_large: args.skip_large };
    let mut progress = Progress::new("importing");
    progress.expect_files_of(&args.dir, VALUE_BYTES_MAX as u64);
    let (sender, source) = transfer::source();
    let walking = std::thread::spawn(move || transfer::walk_into(walk, &sender));
    let mut tally = import(&bucket, source, options, |finished| progress.take(finished)).await;
    progress.end();
    note_left_out(&mut tally, walking);
    report(target, &tally, "imported")
}

/// Opens the folder that the user named.
pub(super) fn open(dir: &Path) -> Result<Walk, Failure> {
    Walk::new(dir).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotADirectory => {
            let what = format!("{} is not a folder", dir.display());
            Failure::new("file", what).advice(format!("One file: dynode put BUCKET KEY @{}", dir.display()))
        }
        _ => Failure::file(dir, &e),
    })
}

/// Adds what the walk passed over.
pub(super) fn note_left_out(tally: &mut Tally, walking: std::thread::JoinHandle<u64>) {
    if let Ok(left_out @ 1..) = walking.join() {
        tally.notes.insert("not_regular_files_left_out", left_out);
    }
}

/// The summary, and whether all went well.
pub(super) fn report(target: &TargetArgs, tally: &Tally, verb: &str) -> Done {
    match target.json {
        true => print_json(&tally.as_json())?,
        false => print(&tally.render(verb))?,
    }
    if tally.failed() > 0 { Err(Failure::said(EXIT_FAILED)) } else { Ok(()) }
}

/// Writes every file of a source. A write whose outcome is unknown is made again. Should the first turn up later, on a node
/// that was away with it, the key has two siblings with the same bytes.
pub async fn import(bucket: &Bucket, source: Source, options: Options, each: impl FnMut(&Finished)) -> Tally {
    let bucket = bucket.clone();
    let work = move |item: Item| put_file(bucket.clone(), item, options);
    transfer::carry(source, options.pace, |item| item.bytes.min(VALUE_BYTES_MAX as u64), work, each).await
}

async fn put_file(bucket: Bucket, item: Item, options: Options) -> Finished {
    if let Some(finished) = unfit(&item, options.skip_large) {
        return finished;
    }
    let value = match transfer::read_file(item.path, VALUE_BYTES_MAX).await {
        Ok(value) => value,
        Err(e) => return Finished::failed(Trouble::new("file", &item.key, e.to_string())),
    };
    let began = Instant::now();
    let Options { pace, w, strict, .. } = options;
    let mut is_first = true;
    let put = || {
        let is_again = !std::mem::replace(&mut is_first, false);
        let (get, put) = (bucket.get(&item.key).timeout(pace.timeout), bucket.put(&item.key, value.clone()));
        let put = put.w(w).strict(strict).timeout(pace.timeout);
        async move {
            // A write without an answer may be anywhere: where it is seen, it is replaced instead of becoming a sibling.
            match if is_again { get.await.ok() } else { None } {
                Some(seen) => put.over(seen.context()).await,
                None => put.over_current().await,
            }
        }
    };
    let (answer, retries) = transfer::persist(pace.retry_for, put).await;
    let outcome = answer.map(|_| ()).map_err(|e| Trouble::request(&item.key, &e)).into();
    Finished { bytes: value.len() as u64, latency: began.elapsed(), retries, note: None, outcome }
}

/// What cannot be a key or a value, and what is said of it.
pub(super) fn unfit(item: &Item, skip_large: bool) -> Option<Finished> {
    let (bytes, max) = (item.bytes, VALUE_BYTES_MAX as u64);
    if bytes > max && skip_large {
        return Some(Finished::left_out("too_large_left_out"));
    }
    if bytes > max {
        let detail = format!("{} bytes, and a value has at most {}", units::count(bytes), units::bytes(max));
        return Some(Finished::failed(Trouble::new("too_large", &item.key, detail)));
    }
    if item.key.len() > KEY_BYTES_MAX {
        let detail = format!("a path of {} bytes, and a key has at most {KEY_BYTES_MAX}", item.key.len());
        return Some(Finished::failed(Trouble::new("key_too_long", &item.key, detail)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::transfer::Outcome;
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_before_anything_is_read() {
        let item = |key: &str, bytes| Item { key: key.to_string().into(), path: "p".into(), bytes };
        assert!(unfit(&item("a", VALUE_BYTES_MAX as u64), false).is_none());
        let large = item("a", VALUE_BYTES_MAX as u64 + 1);
        let kind = |finished: Option<Finished>| match finished.unwrap().outcome {
            Outcome::Failed(trouble) => trouble.kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(unfit(&large, false)), "too_large");
        assert_eq!(unfit(&large, true).unwrap().note, Some("too_large_left_out"));
        let long = item(&"k".repeat(KEY_BYTES_MAX + 1), 1);
        assert_eq!(kind(unfit(&long, true)), "key_too_long");
    }

    #[test]
    fn a_file_in_place_of_a_folder_is_answered_with_advice() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).unwrap_err().to_string().contains("dynode put"));
    }
}
