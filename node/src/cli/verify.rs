//! `verify`: every file of a folder is read back and compared, byte for byte.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use dynode_client::wire::limits::VALUE_BYTES_MAX;
use dynode_client::{Bucket, Quorum, Siblings};

use super::import::{note_left_out, open, report, unfit};
use super::output::Done;
use super::target::{ReadArgs, TargetArgs};
use super::transfer::{self, Finished, Item, Pace, Progress, Source, Tally, Trouble};
use super::units;

/// Siblings that all have the bytes of the file: a write whose outcome was unknown was made again.
pub const TWINS: &str = "equal_siblings_of_a_repeated_write";

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Named and counted as errors: files that are missing in the bucket, different there, or have siblings that are not all \
    equal to them. Keys that are only in the bucket are not looked at.")]
pub struct VerifyArgs {
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
    read: ReadArgs,
}

/// How files are verified.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How much at once.
    pub pace: Pace,
    /// Copies to ask.
    pub r: Quorum,
    /// Count owners only.
    pub strict: bool,
    /// Leave out files that are too large.
    pub skip_large: bool,
}

pub(super) async fn run(target: &TargetArgs, args: VerifyArgs) -> Done {
    let walk = open(&args.dir)?;
    let bucket = target.connect().await?.bucket(args.bucket.into_vec())?;
    let ReadArgs { r, strict } = args.read;
    let options = Options { pace: args.pace, r, strict, skip_large: args.skip_large };
    let mut progress = Progress::new("verifying");
    progress.expect_files_of(&args.dir, VALUE_BYTES_MAX as u64);
    let (sender, source) = transfer::source();
    let walking = std::thread::spawn(move || transfer::walk_into(walk, &sender));
    let mut tally = verify(&bucket, source, options, |finished| progress.take(finished)).await;
    progress.end();
    note_left_out(&mut tally, walking);
    report(target, &tally, "equal")
}

/// Reads back every file of a source.
pub async fn verify(bucket: &Bucket, source: Source, options: Options, each: impl FnMut(&Finished)) -> Tally {
    let bucket = bucket.clone();
    let work = move |item: Item| compare_file(bucket.clone(), item, options);
    // The file and the value are both held.
    transfer::carry(source, options.pace, |item| 2 * item.bytes.min(VALUE_BYTES_MAX as u64), work, each).await
}

async fn compare_file(bucket: Bucket, item: Item, options: Options) -> Finished {
    if let Some(finished) = unfit(&item, options.skip_large) {
        return finished;
    }
    let file = match transfer::read_file(item.path, VALUE_BYTES_MAX).await {
        Ok(file) => file,
        Err(e) => return Finished::failed(Trouble::new("file", &item.key, e.to_string())),
    };
    let began = Instant::now();
    let Options { pace, r, strict, .. } = options;
    let get = || {
        let get = bucket.get(&item.key);
        async move { get.r(r).strict(strict).timeout(pace.timeout).await }
    };
    let (answer, retries) = transfer::persist(pace.retry_for, get).await;
    let latency = began.elapsed();
    let (note, outcome) = match answer {
        Ok(read) => compare(&item.key, &file, &read.into_siblings()),
        Err(e) => (None, Err(Trouble::request(&item.key, &e))),
    };
    Finished { bytes: file.len() as u64, latency, retries, note, outcome: outcome.into() }
}

fn compare(key: &[u8], file: &Bytes, found: &Siblings) -> (Option<&'static str>, Result<(), Trouble>) {
    match found {
        Siblings::None => (None, Err(Trouble::new("missing", key, "not in the bucket"))),
        Siblings::One(value) if value == file => (None, Ok(())),
        Siblings::One(value) => (None, Err(Trouble::new("different", key, difference(file, value)))),
        Siblings::Many(values) if values.iter().all(|value| value == file) => (Some(TWINS), Ok(())),
        Siblings::Many(values) => {
            let equal = values.iter().filter(|value| *value == file).count();
            let detail = format!("{} siblings, {equal} of them equal to the file", values.len());
            (None, Err(Trouble::new("siblings", key, detail)))
        }
    }
}

/// Where two values part.
fn difference(file: &[u8], value: &[u8]) -> String {
    let at = file.iter().zip(value).position(|(a, b)| a != b).unwrap_or(file.len().min(value.len()));
    let [file, value] = [file, value].map(|b| units::count(b.len() as u64));
    format!("the file has {file} bytes, the value {value}; they differ from byte {} on", units::count(at as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let file = Bytes::from("abc");
        let kind = |found: Siblings| match compare(b"k", &file, &found) {
            (note, Ok(())) => note.unwrap_or("equal"),
            (_, Err(trouble)) => trouble.kind,
        };
        let many = |values: &[&'static str]| Siblings::Many(values.iter().map(|v| Bytes::from(*v)).collect());
        assert_eq!(kind(Siblings::None), "missing");
        assert_eq!(kind(Siblings::One("abc".into())), "equal");
        assert_eq!(kind(Siblings::One("abd".into())), "different");
        assert_eq!(kind(many(&["abc", "abd"])), "siblings");
        assert_eq!(kind(many(&["abc", "abc"])), TWINS);
    }

    #[test]
    fn a_difference_says_where() {
        assert!(difference(b"abc", b"abd").ends_with("byte 2 on"));
        assert!(difference(b"abc", b"ab").ends_with("the value 2; they differ from byte 2 on"));
    }
}
